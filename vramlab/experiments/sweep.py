"""Sweeps: one replay per combination of settings, policies, traces and seeds, as a tidy table."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Sized
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.config.schema import VramConfig
from vramlab.experiments.case import (
    Case,
    ConfigLike,
    Mode,
    ModelsLike,
    TraceLike,
    check_seed,
    names_of,
    resolve_case,
)
from vramlab.experiments.doubts import fits_nowhere
from vramlab.experiments.executors import Ended, execute
from vramlab.experiments.grids import Grid, Point, Settings, check, points, settled
from vramlab.experiments.optimum import costed
from vramlab.experiments.provenance import code_sha256, versions
from vramlab.experiments.replay import flat, run
from vramlab.experiments.results_store import ResultsStore, Row, frame
from vramlab.experiments.shared_traces import SharedCase, share_case, short_name
from vramlab.traces.trace import Trace

Traces = TraceLike | Sequence[TraceLike]


@dataclass(frozen=True)
class Execution:
    """Where a sweep runs and is kept.

    Parameters
    ----------
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
    """

    jobs: int | None = None
    dask: str | None = None
    out: Path | str | None = None
    resume: bool = False


@dataclass(frozen=True, eq=False)
class Sweep:
    """Results of a sweep.

    Parameters
    ----------
    table : DataFrame
        One row per run, in the order of the grid: ``run``, ``trace``, one column per key of the grid,
        ``policy``, ``mode``, ``seed``, ``total_memory_mb`` and the zones' ``zones.NAME.size_mb``, the figures
        of the replay (keys of ``vramlab replay --json``), ``cost_s`` with ``unserved`` and
        ``unserved_cost_s`` (:mod:`vramlab.experiments.optimum`), ``fits_nowhere`` (models of the trace that
        no zone has room for under the setting), ``error`` (what ended a failed run, else None) and
        ``run_key`` (hash of what the run was made from).
    manifest : dict
        What the results were made from: configuration, inventory, traces, grid, hashes, versions, seeds.
    """

    table: pd.DataFrame
    manifest: dict[str, Any]

    def __repr__(self) -> str:
        return f"Sweep({len(self.table):,} runs, {self.failed:,} failed)"

    @property
    def failed(self) -> int:
        """Number of failed runs."""
        return int(self.table["error"].notna().sum())

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))


# Users call it by keyword, so its parameters stand one by one; `swept` takes cases.
def sweep(
    trace: Traces,
    config: ConfigLike = None,
    models: ModelsLike = None,
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
    jobs, dask, out, resume
        See :class:`Execution`.
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
    cases = cases_of(trace, config, models, overrides, mode)
    execution = Execution(jobs, dask, out, resume)
    return swept(cases, axes_of(policies, grid), seeds, execution, begun, done)


def cases_of(
    trace: Traces, config: ConfigLike, models: ModelsLike, overrides: Sequence[str], mode: Mode
) -> list[Case]:
    """Resolve one case per trace; all share configuration and inventory.

    Raises
    ------
    InputError
        Without a trace, and for bad input.
    """
    traces = [trace] if isinstance(trace, Trace | Path | str) else list(trace)
    if not traces:
        raise InputError("sweep", "trace", "none", "at least one trace")
    case = resolve_case(traces[0], config, models, overrides, mode=mode)
    return [case, *(case.on(other) for other in traces[1:])]


def axes_of(policies: Sequence[str], grid: Grid | None) -> dict[str, Sequence[Any]]:
    """Return the axes of a sweep by dotted key, policies outermost.

    Raises
    ------
    InputError
        For an axis that is no list of values, or an empty one.
    """
    axes: dict[str, Sequence[Any]] = {"scoring.policy": names_of(policies)} if len(policies) else {}
    axes |= grid or {}
    for key, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sized):
            raise InputError("--grid", key, repr(values), f"a list of values, as [{values!r}]")
        if not len(values):
            raise InputError("--grid", key, "no values", "at least one")
    return axes


def swept(
    cases: Sequence[Case],
    axes: Mapping[str, Sequence[Any]],
    seeds: Sequence[int] = (0,),
    execution: Execution | None = None,
    begun: Callable[[int, int], object] | None = None,
    done: Callable[[Row], object] | None = None,
) -> Sweep:
    """Replay every case once per combination of the axes' values and seeds.

    Parameters, results and errors are those of :func:`sweep`.
    """
    if not isinstance(seeds, Iterable):
        raise InputError("seeds", "", repr(seeds), f"a list of seeds, as [{seeds!r}]")
    for seed in seeds:
        check_seed(seed)
    execution = execution or Execution()
    chosen = points(axes, len(cases), seeds)
    configs = check(chosen, cases[0].config, cases[0].inventory)
    keys = {point.number: _run_key(cases[point.trace], configs[point.settings], point) for point in chosen}
    manifest = _manifest(cases, axes, seeds)
    store = None
    if execution.out is not None:
        store = ResultsStore(Path(execution.out), manifest, execution.resume)
    with closing(store) if store else nullcontext():
        earlier = store.earlier if store else {}
        missing = [point for point in chosen if keys[point.number] not in earlier]
        if begun is not None:
            begun(len(chosen), len(chosen) - len(missing))
        start = time.perf_counter()
        rows = {
            point.number: _kept(point, cases, configs, earlier[keys[point.number]])
            for point in chosen
            if keys[point.number] in earlier
        }
        with closing(_runs(cases, missing, execution)) as runs:
            for point, result, error in runs:
                row = _head(point, cases[point.trace], configs[point.settings])
                row |= {"error": error or None, "run_key": keys[point.number]} | (result or {})
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
    return Sweep(table, manifest | found)


def _runs(cases: Sequence[Case], missing: Sequence[Point], execution: Execution) -> Generator[Ended]:
    with tempfile.TemporaryDirectory(prefix="vramlab-") as folder:
        # a cluster's workers may be elsewhere: they get the bytes, those of this machine map one file
        place = None if execution.dask else Path(folder)
        shared = tuple(share_case(case, place) for case in cases)
        yield from execute(run_point, shared, missing, execution.jobs, execution.dask)


def run_point(cases: Sequence[SharedCase], point: Point) -> Row:
    """Replay one point of the study, in whatever process; returns its figures, flat."""
    case = cases[point.trace].open()
    config = settled(case.config, case.inventory, point.settings)
    case = replace(case.under(config), seed=point.seed)
    asked = {name: case.inventory[name] for name in case.trace.model_names}
    nowhere = ", ".join(sorted(fits_nowhere(case.config, asked)))
    return flat(costed(case, run(case))) | {"fits_nowhere": nowhere}


def _kept(
    point: Point, cases: Sequence[Case], configs: Mapping[Settings, VramConfig | InputError], kept: Row
) -> Row:
    """Return the row of an earlier call; the grid may have other keys by now."""
    figures = {key: value for key, value in kept.items() if "." not in key}
    head = _head(point, cases[point.trace], configs[point.settings])
    return head | figures | {"run": point.number}


def _head(point: Point, case: Case, config: VramConfig | InputError) -> Row:
    """Return what a row says of its run before it is made."""
    row: Row = {"run": point.number, "trace": short_name(case.trace.source)}
    row |= {key: value for keys, value in point.settings for key in keys.split("+")}
    base = case.config if isinstance(config, InputError) else config
    named = dict(point.settings).get("scoring.policy", base.scoring.policy)
    row |= {"policy": named, "mode": case.mode, "seed": point.seed}
    sizes = {"total_memory_mb": base.total_memory_mb}
    sizes |= {f"zones.{name}.size_mb": zone.size_mb for name, zone in base.zones.items()}
    return sizes | row if isinstance(config, InputError) else row | sizes


def _run_key(case: Case, config: VramConfig | InputError, point: Point) -> str:
    what = repr(point.settings) if isinstance(config, InputError) else fingerprint(config)
    key = f"{case.trace.sha256} {what} {point.seed} {case.times_key}".rstrip()
    return hashlib.sha256(key.encode()).hexdigest()


def _manifest(
    cases: Sequence[Case], axes: Mapping[str, Sequence[Any]], seeds: Sequence[int]
) -> dict[str, Any]:
    case = cases[0]
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_sha256": code_sha256(),
        "config_sha256": fingerprint(case.config),
        "models_sha256": fingerprint(case.inventory),
        "traces": [
            {"source": one.trace.source, "trace_sha256": one.trace.sha256, "requests": len(one.trace)}
            for one in cases
        ],
        "mode": case.mode,
        "service_times": case.service_times,
        "seeds": list(seeds),
        "grid": json.loads(json.dumps({key: list(values) for key, values in axes.items()}, default=str)),
        "versions": versions(),
        "config": case.config.model_dump(mode="json"),
        "models": {
            name: spec.model_dump(mode="json", exclude_defaults=True) for name, spec in case.inventory.items()
        },
        "faults_sha256": fingerprint(case.faults) if case.faults else None,
    }
