"""Loads as a latency plus bytes over a bandwidth: for models that nobody has measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import mib_to_bytes
from vramlab.engine.effects import Target
from vramlab.simulation.service_times import SpecTimes


@dataclass(frozen=True)
class Link:
    """A way onto the device: a load takes ``latency_s + bytes / bytes_per_s``."""

    latency_s: float
    bytes_per_s: float

    def load_s(self, size_bytes: int) -> float:
        """Time of a load of `size_bytes`, alone on the link."""
        return self.latency_s + size_bytes / self.bytes_per_s


def fit_link(frame: pd.DataFrame, inventory: Inventory, target: Target = Target.GPU) -> Link:
    """The link that a profile's loads were seen to have.

    The line through the models' median load times over their sizes is Theil and Sen's (the median of the
    slopes of all pairs), which a few odd models do not bend; its latency is never below 0.

    Raises
    ------
    InputError
        If fewer than two models of different sizes were measured.
    """
    from scipy.stats import theilslopes  # takes longer to load than many a command to run

    rows = frame[(frame.what == "load") & (frame.target == target.value) & (frame.beside == "")]
    medians_s = rows[rows.model.isin(list(inventory))].groupby("model").seconds.median()
    sizes = np.array([mib_to_bytes(inventory[str(name)].vram_size_mb) for name in medians_s.index])
    if len(set(sizes.tolist())) < 2:
        raise InputError("profile", "load", f"{len(medians_s)} models", "loads of two models of unlike size")
    slope, intercept, *_ = theilslopes(medians_s.to_numpy(), sizes)
    return Link(max(float(intercept), 0.0), 1 / max(float(slope), 1e-15))


class LinkTimes(SpecTimes):
    """As the inventory says, but GPU loads take what the link needs for the weights."""

    def __init__(self, config: VramConfig, inventory: Inventory, link: Link) -> None:
        super().__init__(config, inventory)
        self._gpu_load_s = {
            name: link.load_s(mib_to_bytes(spec.vram_size_mb)) for name, spec in inventory.items()
        }
