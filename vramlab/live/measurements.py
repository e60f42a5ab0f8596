"""What a profile has measured, and the inventory that follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from vramlab.config.schema import Inventory, ModelSpec
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.live.footprints import Stage, footprint
from vramlab.live.model_files import check_model_file
from vramlab.runs.samples import Sample, samples_frame

_MS = 1000.0
_LEAST_MS = 0.001
_SLOW_FIRST_RUN = 3.0


@dataclass
class Measurements:
    """All that was measured.

    Parameters
    ----------
    samples : list of Sample
        Times.
    stages : list of Stage
        Memory at each step of a model's life.
    flags : dict of str to list of str
        Per model, what needs a look.
    failed : dict of str to dict of Target to str
        Per model that could not be measured on some target, why. Of that target it has no samples.
    machine : dict
        Device, versions and cores, and how many cores other programs kept busy at the worst.
    specs : dict of str to ModelSpec
        Per model, with what was chosen for it.
    busy : dict of str to float
        Per model that was disturbed, how many cores other programs kept busy.
    """

    samples: list[Sample] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, dict[Target, str]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    specs: Inventory = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """The times, as the simulator reads them."""
        return samples_frame(self.samples, self.machine)

    def memory(self) -> pd.DataFrame:
        """The memory, one row per model, target and step."""
        return pd.DataFrame(self.stages, columns=list(Stage._fields))

    def failures(self) -> list[str]:
        """One line per model that could not be measured."""
        lines = []
        for name, causes in self.failed.items():
            same = len(causes) == len(Target) and len(set(causes.values())) == 1
            said = (
                causes.values()
                if same
                else (f"on the {target.value}: {why}" for target, why in causes.items())
            )
            lines.append(f"{name}: {'; '.join(dict.fromkeys(said))}")
        return lines

    def disturbance(self) -> str:
        """One line on what other programs did meanwhile; empty where the machine was idle."""
        if not self.busy:
            return ""
        return (
            f"other programs kept up to {max(self.busy.values()):.1f} cores busy while "
            f"{', '.join(self.busy)} were measured: their times are too long, and simulated times will be. "
            "Measure again when it is idle"
        )

    def fail(self, name: str, target: Target, error: Exception) -> None:
        """Note why a model could not be measured, and forget the little that was."""
        self.failed.setdefault(name, {})[target] = " ".join(str(error).split())
        self.samples = [s for s in self.samples if (s.model, s.target) != (name, target.value)]
        self.stages = [s for s in self.stages if (s.model, s.target) != (name, target.value)]


def measured(spec: ModelSpec, name: str, found: Measurements, stand_in: bool) -> ModelSpec:
    """A spec with the medians of its model's samples and its footprint; a stand-in's is that of the spec."""
    samples = [sample for sample in found.samples if sample.model == name and not sample.beside]
    changes = median_times(spec, samples)
    stages = [stage for stage in found.stages if (stage.model, stage.target) == (name, Target.GPU.value)]
    if stages and not stand_in:
        true = footprint(stages)
        file_bytes = check_model_file(str(spec.path)).size_bytes if spec.path else 0
        # mapped weights are no private memory of this process, and would be the card's all the same
        size_mb = bytes_to_mib(max(true.resident_bytes, file_bytes))
        changes["vram_size_mb"] = max(_up(size_mb), 0.001)
        changes["workspace_mb"] = _up(bytes_to_mib(true.workspace_bytes))
    return spec.model_copy(update=changes)


def _up(size_mb: float) -> float:
    """Three digits, and no less: a limit below what is needed fails a run."""
    return math.ceil(size_mb * 1000 - 1e-6) / 1000


def median_times(spec: ModelSpec, samples: Sequence[Sample]) -> dict[str, float]:
    """Times of an inventory, in ms, from a model's samples; what was not measured is left out."""
    times = {
        "load_time_ms": median_ms(samples, Target.GPU, "load"),
        "inference_ms": median_ms(samples, Target.GPU, "infer"),
        "cpu_load_time_ms": median_ms(samples, Target.CPU, "load"),
        "cpu_inference_ms": median_ms(samples, Target.CPU, "infer"),
    }
    found = {key: value for key, value in times.items() if value is not None}
    if "load_time_ms" in found:
        warm_up_ms = median_ms(samples, Target.GPU, "warm-up") or 0.0
        found["warm_up_ms"] = 0.0 if warm_up_ms <= _LEAST_MS else warm_up_ms
        found["load_time_ms"] = round(max(found["load_time_ms"] - found["warm_up_ms"], _LEAST_MS), 4)
    if "inference_ms" in found:
        found["inference_ms"] = round(found["inference_ms"] / spec.performance_multiplier, 4)
    return found


def median_ms(samples: Sequence[Sample], target: Target, what: str) -> float | None:
    """Median of single items after the longest measured pause, ms; None where nothing was measured."""
    chosen = [sample for sample in samples if (sample.target, sample.what) == (target.value, what)]
    if not chosen:
        return None
    fewest = min(sample.items for sample in chosen)
    chosen = [sample for sample in chosen if sample.items == fewest]
    longest_s = max(sample.pause_s for sample in chosen)
    seconds = [sample.seconds for sample in chosen if sample.pause_s == longest_s]
    return max(round(float(np.median(seconds)) * _MS / fewest, 4), _LEAST_MS)


def slow_first_runs(name: str, samples: Sequence[Sample]) -> list[str]:
    """Flag first runs that take several times as long as later ones, in words."""
    flags = []
    for target in Target:
        own = [sample for sample in samples if (sample.model, sample.target) == (name, target.value)]
        first = [sample.seconds for sample in own if sample.what == "first infer"]
        later_ms = median_ms(own, target, "infer")
        if first and later_ms and first[0] * _MS > _SLOW_FIRST_RUN * later_ms:
            flags.append(
                f"the first run on the {target.value} takes {first[0] * _MS / later_ms:.0f} times a later one"
            )
    return flags
