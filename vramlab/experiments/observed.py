"""A profile from a run: what loads and runs took, and what models held, while they were served."""

from __future__ import annotations

import pandas as pd

from vramlab.config.schema import Inventory, ModelSpec
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.live.machine_load import OthersLoad
from vramlab.live.measurements import median_times
from vramlab.runs.run_folder import RunFolder
from vramlab.runs.samples import Sample, samples_frame

_KEPT = ("device", "onnxruntime", "python", "system", "cpu_count", "device_cores", "backend", "other_cores")


def observed_profile(run: RunFolder) -> tuple[Inventory, pd.DataFrame, list[str]]:
    """Return a corrected inventory from a run's journal.

    Times are those of a busy machine: what else ran is in them. They are per batch size, and without the
    pauses that ``vramlab profile`` measures.

    Returns
    -------
    inventory : dict of str to ModelSpec
        The run's, with medians of what was seen; footprints only grow.
    samples : DataFrame
        As :mod:`vramlab.runs.samples` describes.
    notes : list of str
        Footprints that were too small, and whether other programs were busy.
    """
    samples, sizes = _effects(run)
    notes: list[str] = []
    inventory = {
        name: _corrected(name, spec, [s for s in samples if s.model == name], sizes.get(name), notes)
        for name, spec in run.inventory.items()
    }
    others = OthersLoad.noted(run.environment)
    if others.busy:
        notes.append(f"all times, which are too long: {others.said('recorded')}")
    machine = {key: run.environment[key] for key in _KEPT if key in run.environment}
    return inventory, samples_frame(samples, machine), notes


def _effects(run: RunFolder) -> tuple[list[Sample], dict[str, int]]:
    """Return durations of all effects that ended well, and the largest size each model was seen to take."""
    items: dict[int | str, int] = {}
    samples: list[Sample] = []
    sizes: dict[str, int] = {}
    for line in run.journal:
        if line.event == "arrival":
            items[line.task] = (line.detail or {}).get("items", 1)
        if line.event != "end" or line.model is None or line.what is None or line.duration_s is None:
            continue
        what, _, target = line.what.partition(" on ")
        if what not in ("load", "infer", "unload"):
            continue
        count = items.get(line.task, 1) if what == "infer" else 1
        samples.append(Sample(line.model, target or Target.GPU.value, what, count, line.duration_s))
        if what == "load" and target == Target.GPU.value and line.size_bytes:
            sizes[line.model] = max(line.size_bytes, sizes.get(line.model, 0))
    return samples, sizes


def _corrected(
    name: str, spec: ModelSpec, samples: list[Sample], seen_bytes: int | None, notes: list[str]
) -> ModelSpec:
    changes = median_times(spec, samples)
    if seen_bytes is not None and seen_bytes > spec.footprint_bytes:
        seen_mb = round(bytes_to_mib(seen_bytes), 3)
        reserved_mb = bytes_to_mib(spec.footprint_bytes)
        changes["vram_size_mb"] = round(seen_mb - spec.workspace_mb, 3)
        notes.append(f"{name}: took {seen_mb:.1f} MB, {reserved_mb:.1f} MB were reserved")
    return spec.model_copy(update=changes)
