"""Service times from a profile's measurements: their medians, or seeded draws.

A run takes longer the longer its model has not run (a machine falls asleep within some tens of milliseconds),
so the profile has runs after pauses of several lengths; between them times are interpolated in a straight
line, and beyond the longest they stay. A run whose session was there from the start counts as one after the
longest pause. Between measured batch sizes, times are interpolated too; more items than the largest measured
batch run in chunks, as a session does it.

The first session that a model gets on the CPU takes as long as a cold load: it is an addition to what the
process holds, while loads on the device follow on unloads, whose memory they find ready.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import inf
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.effects import Infer, Load, Target
from vramlab.simulation.history import History
from vramlab.simulation.service_times import Quantiles, ServiceTimes, SpecTimes

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Sorted samples at points along one axis (items, or seconds of pause)."""

    points: list[float]
    samples: list[Samples]

    def at(self, point: float, quantile: float) -> float:
        """The quantile of the samples there, interpolated between the two points around it; in seconds."""
        points = self.points
        right = bisect_right(points, point)
        if right == 0:
            return _quantile(self.samples[0], quantile)
        if right == len(points):
            return _quantile(self.samples[-1], quantile)
        low, high = points[right - 1], points[right]
        share = (point - low) / (high - low)
        before, after = self.samples[right - 1], self.samples[right]
        return (1 - share) * _quantile(before, quantile) + share * _quantile(after, quantile)


def _quantile(samples: Samples, quantile: float) -> float:
    """Of sorted samples: 0.5 is their median, and uniform quantiles draw each of them equally often."""
    if quantile == 0.5:
        middle = len(samples) // 2
        return float(samples[middle] if len(samples) % 2 else (samples[middle - 1] + samples[middle]) / 2)
    return float(samples[int(quantile * len(samples))])


def _curve(rows: pd.DataFrame, axis: str) -> Curve:
    groups = {cast(float, point): np.sort(group.to_numpy()) for point, group in rows.groupby(axis).seconds}
    return Curve([float(point) for point in groups], list(groups.values()))


class _Runs:
    """Times of one session's runs, by pause and by number of items."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._by_pause = _curve(rows[rows["items"] == rows["items"].min()], "pause_s")
        longest = rows.groupby("items").pause_s.transform("max")
        self._by_items = _curve(rows[rows.pause_s == longest], "items")

    def at(self, items: int, pause_s: float, quantile: float) -> float:
        """The quantile of runs `pause_s` after the session's last, in seconds."""
        by_items, by_pause = self._by_items, self._by_pause
        most = by_items.points[-1]
        whole, rest = divmod(items, most)
        time_s = whole * by_items.at(most, quantile) if whole else 0.0
        if rest:
            time_s += by_items.at(rest, quantile)
        paused_s = by_pause.at(pause_s, quantile)
        return max(time_s - by_pause.at(by_pause.points[-1], quantile) + paused_s, paused_s)


class ProfileTimes(ServiceTimes):
    """Times from measurements; what was not measured is as the inventory says.

    Parameters
    ----------
    frame : DataFrame
        As :func:`vramlab.runs.samples.read_samples` gives it.
    config, inventory
        For what the profile lacks.
    rng : Generator, optional
        Draws samples; without it every time is a median.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        config: VramConfig,
        inventory: Inventory,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._next = Quantiles(rng).next
        self._spec = SpecTimes(config, inventory)
        self._runs: dict[tuple[str, Target], _Runs] = {}
        self._loads: dict[tuple[str, Target], Samples] = {}
        self._cold_loads: dict[tuple[str, Target], Samples] = {}
        self._unloads: dict[str, Samples] = {}
        groups = frame[frame.beside == ""].groupby(["model", "target", "what"])
        for group, rows in groups:
            model, target, what = cast(tuple[str, str, str], group)
            key = (model, Target(target))
            if what == "load":
                self._loads[key] = np.sort(rows.seconds.to_numpy())
            elif what == "cold load":
                self._cold_loads[key] = np.sort(rows.seconds.to_numpy())
            elif what == "unload" and key[1] is Target.GPU:
                self._unloads[model] = np.sort(rows.seconds.to_numpy())
            elif what == "infer":
                self._runs[key] = _Runs(rows)

    def load_s(self, model: str, target: Target) -> float:
        """A measured load, with the first run if that was the setting."""
        samples = self._loads.get((model, target))
        return self._spec.load_s(model, target) if samples is None else _quantile(samples, self._next())

    def _first_load_s(self, model: str, target: Target) -> float:
        """A model's first load: on the CPU a measured cold one."""
        cold = self._cold_loads.get((model, target)) if target is Target.CPU else None
        return self.load_s(model, target) if cold is None else _quantile(cold, self._next())

    def unload_s(self, model: str) -> float:
        """A measured unload."""
        samples = self._unloads.get(model)
        return self._spec.unload_s(model) if samples is None else _quantile(samples, self._next())

    def infer_s(self, model: str, target: Target, items: int) -> float:
        """A measured run after the longest pause."""
        return self.run_s(model, target, items, None)

    def work_s(self, effect: Any, history: History, now_s: float, reporting: bool) -> float:
        """Time of an effect that begins now: of a run after such a pause, of a first load or a later one."""
        kind = type(effect)
        if kind is Infer:
            return self.run_s(effect.model, effect.target, effect.items, history.pause_s(effect, now_s))
        if kind is not Load:
            return self.unload_s(effect.model)
        load_s = self._first_load_s if history.is_first(effect) else self.load_s
        return load_s(effect.model, effect.target)

    def run_s(self, model: str, target: Target, items: int, pause_s: float | None) -> float:
        """A measured run, `pause_s` after this session's last; None if it has neither run nor been loaded."""
        runs = self._runs.get((model, target))
        if runs is None:
            return self._spec.infer_s(model, target, items)
        return runs.at(items, inf if pause_s is None else pause_s, self._next())
