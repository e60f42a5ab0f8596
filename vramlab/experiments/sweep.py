"""Sweeps: one replay per combination of settings, policies, traces and seeds, as a tidy table."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.faults import FaultPlan
from vramlab.config.loading import fingerprint
from vramlab.config.schema import Inventory, VramConfig
from vramlab.experiments.executors import execute
from vramlab.experiments.grids import Grid, Point, check, points, settled
from vramlab.experiments.inputs import check_seed, names_of, resolve_faults, resolve_inputs
from vramlab.experiments.provenance import code_sha256, versions
from vramlab.experiments.replay import Mode, check_mode, flat, replay
from vramlab.experiments.results_store import ResultsStore, Row, frame
from vramlab.experiments.shared_traces import SharedTrace, share
from vramlab.traces.trace import Trace

Traces = Trace | Path | str | Sequence[Trace | Path | str]


@dataclass(frozen=True, eq=False)
class Study:
    """What all runs of a sweep share; each worker gets it once."""

    traces: tuple[SharedTrace, ...]
    config: VramConfig
    inventory: Inventory
    mode: Mode
    faults: FaultPlan = field(default_factory=FaultPlan)


@dataclass(frozen=True, eq=False)
class Sweep:
    """Results of a sweep.

    Parameters
    ----------
    table : DataFrame
        One row per run, in the order of the grid: ``run``, ``trace``, one column per key of the grid,
        ``policy``, ``mode``, ``seed``, ``total_memory_mb`` and the zones' ``zones.NAME.size_mb``, the figures
        of the replay (keys of ``vramlab replay --json``), ``error`` (what ended a failed run, else None) and
        ``run_key`` (hash of what the run was made from).
    manifest : dict
        What the results were made from: configuration, inventory, traces, grid, hashes, versions, seeds.
    """

    table: pd.DataFrame
    manifest: dict[str, Any]

    @property
    def failed(self) -> int:
        """Number of failed runs."""
        return int(self.table["error"].notna().sum())

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))


def sweep(
    trace: Traces,
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    grid: Grid | None = None,
    policies: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    mode: Mode = "simulate",
    jobs: int | None = None,
    dask: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    overrides: Sequence[str] = (),
    begun: Callable[[int, int], object] | None = None,
    done: Callable[[Row], object] | None = None,
) -> Sweep:
    """Replay once per combination of traces, policies, values of the grid, and seeds.

    Parameters
    ----------
    trace : Trace, Path, str, or a sequence of them
        Requests.
    config, models, mode, overrides
        As for :func:`~vramlab.experiments.replay.replay`; the grid's settings come on top.
    grid : mapping of str to sequence, optional
        Values by dotted key; keys joined by ``+`` take the same value together.
    policies : sequence of str
        The axis ``scoring.policy``, the outermost one.
    seeds : sequence of int
        One run each.
    jobs : int or None
        Processes on this machine; None is one per core, 1 is this process.
    dask : str, optional
        Address of a Dask scheduler, whose workers take the place of local processes.
    out : Path or str, optional
        Parquet file to write, with a manifest beside it. While the study goes on, every run that has ended is
        kept beside it too (:mod:`vramlab.experiments.results_store`).
    resume : bool
        Keep the rows of an earlier call with the same `out`, and do what is missing; failed runs are tried
        again.
    begun : callable, optional
        Called before the first run with the number of all runs, and of those that are there already.
    done : callable, optional
        Called with the row of each run as it ends.

    Returns
    -------
    Sweep
        A run that failed is a row with its error.

    Raises
    ------
    InputError
        Before the first run: for bad files, an unknown key (with the nearest right one), a value that goes
        with no combination, and results that cannot be resumed.
    """
    check_mode(mode)
    if not isinstance(seeds, Iterable):
        raise InputError("seeds", "", repr(seeds), f"a list of seeds, as [{seeds!r}]")
    for seed in seeds:
        check_seed(seed)
    policies = names_of(policies)
    resolved = [resolve_inputs(one, config, models, overrides) for one in _several(trace)]
    loaded = [one for one, _, _ in resolved]
    _, settings, inventory = resolved[0]
    faults = resolve_faults(config, overrides=overrides)
    axes: dict[str, Sequence[Any]] = {"scoring.policy": list(policies)} if policies else {}
    axes |= grid or {}
    for key, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sized):
            raise InputError("--grid", key, repr(values), f"a list of values, as [{values!r}]")
        if not len(values):
            raise InputError("--grid", key, "no values", "at least one")
    chosen = points(axes, len(loaded), seeds)
    configs = check(chosen, settings, inventory)
    manifest = _manifest(loaded, settings, inventory, axes, seeds, mode)
    manifest["faults_sha256"] = fingerprint(faults) if faults else None
    keys = {point.number: _run_key(loaded[point.trace], configs[point.settings], point) for point in chosen}
    store = None if out is None else ResultsStore(Path(out), manifest, resume)
    earlier = store.earlier if store else {}
    missing = [point for point in chosen if keys[point.number] not in earlier]
    if begun is not None:
        begun(len(chosen), len(chosen) - len(missing))
    start = time.perf_counter()
    rows: dict[int, Row] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="vramlab-") as folder:
            # a cluster's workers may be elsewhere: they get the bytes, those of this machine map one file
            shared = tuple(share(one, None if dask else Path(folder)) for one in loaded)
            study = Study(shared, settings, inventory, mode, faults)
            for point in chosen:
                kept = earlier.get(keys[point.number])
                if kept is not None:  # the grid may have other keys by now
                    figures = {key: value for key, value in kept.items() if "." not in key}
                    rows[point.number] = (
                        _head(point, study, configs[point.settings]) | figures | {"run": point.number}
                    )
            for ended in execute(run_point, study, missing, jobs, dask):
                point = ended.task
                row = _head(point, study, configs[point.settings])
                row |= {"error": ended.error or None, "run_key": keys[point.number]} | (ended.result or {})
                rows[point.number] = row
                if store:
                    store.add(row)
                if done is not None:
                    done(row)
        found = {
            "runs": len(chosen),
            "failed": sum(bool(row.get("error")) for row in rows.values()),
            "resumed": len(chosen) - len(missing),
            "wall_s": time.perf_counter() - start,
        }
        in_order = [rows[point.number] for point in chosen]
        table = store.finish(in_order, **found) if store else frame(in_order)
    finally:
        if store:
            store.close()
    return Sweep(table, manifest | found)


def run_point(study: Study, point: Point) -> Row:
    """One run, in whatever process: its figures, flat."""
    config = settled(study.config, study.inventory, point.settings)
    trace = study.traces[point.trace].open()
    result = replay(trace, config, study.inventory, study.mode, point.seed, faults=study.faults)
    return flat(result.figures)


def _several(trace: Traces) -> Iterator[Trace | Path | str]:
    if isinstance(trace, Trace | Path | str):
        yield trace
        return
    if not len(trace):
        raise InputError("sweep", "trace", "none", "at least one trace")
    yield from trace


def _head(point: Point, study: Study, config: VramConfig | InputError) -> Row:
    """What a row says of its run before it is made."""
    row: Row = {"run": point.number, "trace": study.traces[point.trace].name}
    row |= {key: value for keys, value in point.settings for key in keys.split("+")}
    base = study.config if isinstance(config, InputError) else config
    named = dict(point.settings).get("scoring.policy", base.scoring.policy)
    row |= {"policy": named, "mode": study.mode, "seed": point.seed}
    sizes = {"total_memory_mb": base.total_memory_mb}
    sizes |= {f"zones.{name}.size_mb": zone.size_mb for name, zone in base.zones.items()}
    return sizes | row if isinstance(config, InputError) else row | sizes


def _run_key(trace: Trace, config: VramConfig | InputError, point: Point) -> str:
    what = repr(point.settings) if isinstance(config, InputError) else fingerprint(config)
    return hashlib.sha256(f"{trace.sha256} {what} {point.seed}".encode()).hexdigest()


def _manifest(
    traces: Sequence[Trace],
    config: VramConfig,
    inventory: Inventory,
    axes: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    mode: Mode,
) -> dict[str, Any]:
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_sha256": code_sha256(),
        "config_sha256": fingerprint(config),
        "models_sha256": fingerprint(inventory),
        "traces": [
            {"source": trace.source, "trace_sha256": trace.sha256, "requests": len(trace)} for trace in traces
        ],
        "mode": mode,
        "seeds": list(seeds),
        "grid": json.loads(json.dumps({key: list(values) for key, values in axes.items()}, default=str)),
        "versions": versions(),
        "config": config.model_dump(mode="json"),
        "models": {
            name: spec.model_dump(mode="json", exclude_defaults=True) for name, spec in inventory.items()
        },
    }
