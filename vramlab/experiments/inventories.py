"""An inventory from what one has: a table of sizes, a folder of ONNX files, the latencies of a log.

What several sources tell of a model is taken from the first that does, in that order; then from an inventory
that is there already; the rest is assumed, and said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vramlab.analysis.intervals import Floats
from vramlab.config.errors import InputError, nearest
from vramlab.config.models import Inventory, ModelSpec
from vramlab.config.units import size_mb
from vramlab.config.validation import validated
from vramlab.experiments.model_files import inventory_of_files
from vramlab.traces.importers.inventory import DEFAULT_SIZE_MB, LOAD_MS_PER_MB
from vramlab.traces.trace import Trace

COLUMNS: dict[str, tuple[str, float]] = {
    "size_mb": ("vram_size_mb", 1.0), "vram_size_mb": ("vram_size_mb", 1.0), "size": ("vram_size_mb", 1.0),
    "size_bytes": ("vram_size_mb", 1 / 2**20), "workspace_mb": ("workspace_mb", 1.0),
    "load_ms": ("load_time_ms", 1.0), "load_s": ("load_time_ms", 1000.0),
    "load_time_ms": ("load_time_ms", 1.0), "load": ("load_time_ms", 1.0),
    "inference_ms": ("inference_ms", 1.0), "cpu_inference_ms": ("cpu_inference_ms", 1.0),
}  # fmt: skip
"""Columns of a table of sizes that hold numbers: the key of the inventory, and what to multiply with."""
_TEXTS = ("priority", "zone", "cpu_fallback", "path", "group")
_MOST_NAMED = 5

# Fewer answers than that tell nothing, and fewer slow ones no load time.
_LEAST_ANSWERS, _LEAST_SLOW = 30, 8
# A load is seen where the slow answers take so many times as long as the others.
_APART = 2.0
_RESAMPLES = 500


@dataclass(frozen=True)
class Gathered:
    """An inventory, where each figure is from, and the group of each model.

    Parameters
    ----------
    inventory : dict of str to ModelSpec
        Models of the trace, by name.
    groups : dict of str to str
        Model to group, where a table says it.
    notes : list of str
        What was assumed or estimated, with how much it may be off; for people.
    """

    inventory: Inventory
    groups: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Estimate(NamedTuple):
    """A time out of latencies: milliseconds with its 95 % interval, and of how many answers."""

    value_ms: float
    low_ms: float
    high_ms: float
    answers: int

    def __str__(self) -> str:
        return f"{self.value_ms:,.4g} ({self.low_ms:,.4g} to {self.high_ms:,.4g}, {self.answers:,} answers)"


class Timing(NamedTuple):
    """What latencies tell of one model."""

    run: Estimate
    load: Estimate | None


def gathered(
    trace: Trace,
    sizes: Path | None = None,
    onnx: Path | None = None,
    timings: Mapping[str, Timing] | None = None,
    known: Inventory | None = None,
    assumed_mb: float = DEFAULT_SIZE_MB,
) -> Gathered:
    """Make an inventory for the models of a trace.

    Parameters
    ----------
    trace : Trace
        Whose models.
    sizes : Path, optional
        Table with ``model`` and any of :data:`COLUMNS`, ``priority``, ``zone``, ``cpu_fallback``, ``path``
        and ``group``.
    onnx : Path, optional
        Folder of ONNX files, each called like its model.
    timings : mapping of str to Timing, optional
        As of :func:`timings_of`.
    known : dict of str to ModelSpec, optional
        An inventory that is there.
    assumed_mb : float
        Size of a model of which nobody knows it.

    Raises
    ------
    InputError
        For a table that cannot be read or has a model twice, and a folder without ONNX files.
    """
    table = {} if sizes is None else read_sizes(sizes, trace.model_names)
    files = {} if onnx is None else _files(onnx, trace.model_names)
    notes: dict[str, list[str]] = {}
    inventory: Inventory = {}
    for name in sorted(trace.model_names):
        told = {key: value for key, value in table.get(name, {}).items() if key != "group"}
        values = known[name].model_dump(exclude_defaults=True) if known and name in known else {}
        values |= files.get(name, {}) | _times(name, (timings or {}).get(name), told, notes) | told
        if "vram_size_mb" not in values:
            values["vram_size_mb"] = assumed_mb
            notes.setdefault(f"ASSUMED, not measured: vram_size_mb {assumed_mb:g}", []).append(name)
        if "load_time_ms" not in values:
            values["load_time_ms"] = round(values["vram_size_mb"] * LOAD_MS_PER_MB, 3)
            notes.setdefault(f"ASSUMED, not measured: load_time_ms ({LOAD_MS_PER_MB} ms per MB)", []).append(
                name
            )
        if "inference_ms" not in values:
            notes.setdefault("ASSUMED, not measured: inference_ms", []).append(name)
        values.setdefault("priority", "medium")
        inventory[name] = validated(ModelSpec, values, str(sizes or onnx or trace.source), name)
    groups = {name: str(row["group"]) for name, row in table.items() if row.get("group")}
    lines = [f"{what} of {_listed(of)}" for what, of in notes.items()]
    if any(line.startswith("ESTIMATED") for line in lines):
        lines.append(
            "Estimates have 95 % intervals of sampling; answers that queued make both times too long."
        )
    return Gathered(inventory, groups, lines)


def _times(
    name: str, found: Timing | None, told: Mapping[str, Any], notes: dict[str, list[str]]
) -> dict[str, Any]:
    if found is None:
        return {}
    values: dict[str, Any] = {"inference_ms": round(found.run.value_ms, 3)}
    if found.load is not None:
        values["load_time_ms"] = round(found.load.value_ms, 3)
    for key, one in (("inference_ms", found.run), ("load_time_ms", found.load)):
        if one is not None and key not in told:
            notes.setdefault(f"ESTIMATED from latencies: {key} {one}", []).append(name)
    return values


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def read_sizes(path: Path, models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read a table of sizes: keys of the inventory by model, of those of `models` that it has.

    Raises
    ------
    InputError
        Naming file, row and column.
    """
    frame = _table(path)
    known = [*COLUMNS, *_TEXTS]
    for column in frame:
        if column != "model" and column not in known:
            raise InputError(
                path,
                f"column {column}",
                "an unknown column",
                f"model, {', '.join(known)}{nearest(str(column), known)}",
            )
    wanted, found = set(models), {}
    for number, row in enumerate(frame.to_dict("records"), start=2):
        name = str(row["model"]).strip()
        if name in found:
            raise InputError(path, f"row {number}", f"{name} a second time", "each model once")
        values = {
            key: value
            for column, text in row.items()
            for key, value in _cell(path, number, str(column), text)
        }
        if name in wanted:
            found[name] = values
    if not found:
        there = ", ".join(map(str, frame["model"][:_MOST_NAMED]))
        raise InputError(
            path, "model", there or "no rows", f"models of the trace, as {_listed(sorted(wanted))}"
        )
    return found


def _table(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, sep=None, engine="python")
    except OSError as error:
        raise InputError(
            path, "", (error.strerror or str(error)).lower(), "a file that can be read"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(path, "", f"no table ({error})", "a CSV with a column model") from error
    frame.columns = [str(column).strip().lower() for column in frame.columns]
    if "model" not in frame:
        raise InputError(path, "", f"the columns {', '.join(frame.columns)}", "a column model")
    return frame


def _cell(path: Path, row: int, column: str, text: Any) -> list[tuple[str, Any]]:
    """Key and value of one cell; none where it is empty, or the model's name."""
    if column == "model" or not isinstance(text, str) or not text.strip():
        return []
    text = text.strip()
    if column in _TEXTS:
        return [(column, text)]
    key, factor = COLUMNS[column]
    value = size_mb(text) if column in ("size", "size_mb", "vram_size_mb") else None
    try:
        number = float(text) if value is None else value
    except ValueError:
        expected = "a number" + (", or one with MB or GB" if key == "vram_size_mb" else "")
        raise InputError(path, f"row {row}, {column}", repr(text), expected) from None
    return [(key, number * factor)]


def _files(folder: Path, models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Sizes and paths of the ONNX files that are called like models, with their folder or without."""
    found = sorted(folder.rglob("*.onnx")) if folder.is_dir() else []
    if not found:
        raise InputError(folder, "", "no .onnx files", "a folder of ONNX files, called like the models")
    specs = inventory_of_files(found)
    values: dict[str, dict[str, Any]] = {}
    for name in models:
        for file, spec in zip(found, specs.values(), strict=True):
            if name in (file.stem, file.name) or name.rpartition("/")[2] == file.stem:
                values[name] = {"vram_size_mb": spec.vram_size_mb, "path": spec.path}
    return values


def timings_of(table: pd.DataFrame, seed: int = 0) -> dict[str, Timing]:
    """Estimate run and load times from the latencies of a log.

    Answers of one model come in two kinds where loads were waited for: the split that leaves the least
    variance of logarithms within the two (N. Otsu, IEEE Transactions SMC 9, 1979) tells them apart. The run
    time is the first quartile of the quick ones, as those above it may have queued; the load time is the
    median of the slow ones less the run time, where they take at least twice as long and are few.

    Parameters
    ----------
    table : DataFrame
        ``model`` and ``latency_ms``, a row per answer.
    seed : int
        Of the resamples that give the intervals.

    Returns
    -------
    dict of str to Timing
        Of the models with at least thirty answers; ``load`` is None where no load is to be seen.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for name, its in table.groupby("model", sort=True):
        times = np.sort(its["latency_ms"].to_numpy(dtype=float))
        times = times[np.isfinite(times) & (times > 0)]
        if len(times) < _LEAST_ANSWERS:
            continue
        cut = _split(times)
        quick, slow = times[:cut], times[cut:]
        loads = len(slow) >= _LEAST_SLOW and len(slow) < len(quick)
        loads = loads and np.median(slow) > _APART * np.median(quick)
        run = _estimate(quick if loads else times, rng, 25, 0.0)
        found[str(name)] = Timing(run, _estimate(slow, rng, 50, run.value_ms) if loads else None)
    return found


def _split(times: Floats) -> int:
    """Number of the first slow one in sorted times, by Otsu's rule on their logarithms."""
    logs = np.log(times)
    count = np.arange(1, len(logs))
    sums = np.cumsum(logs)[:-1]
    below, above = sums / count, (logs.sum() - sums) / (len(logs) - count)
    return int(np.argmax(count * (len(logs) - count) * (above - below) ** 2)) + 1


def _estimate(times: Floats, rng: np.random.Generator, percentile: float, less_ms: float) -> Estimate:
    drawn = rng.choice(times, size=(_RESAMPLES, min(len(times), 2000)))
    spread = np.percentile(drawn, percentile, axis=1) - less_ms
    low, high = np.percentile(spread, [2.5, 97.5]).tolist()
    return Estimate(float(np.percentile(times, percentile)) - less_ms, low, high, len(times))


def read_latencies(path: Path, model: str, latency: str, unit_ms: float) -> pd.DataFrame:
    """Read models and latencies of a log's table.

    Parameters
    ----------
    model, latency : str
        Columns.
    unit_ms : float
        Milliseconds of one unit of the latency.

    Raises
    ------
    InputError
        If a column is missing or no latency is a number.
    """
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, low_memory=False)
    except OSError as error:
        raise InputError(
            path, "", (error.strerror or str(error)).lower(), "a file that can be read"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(path, "", f"no table ({error})", "a CSV or Parquet file") from error
    for column in (model, latency):
        if column not in frame:
            there = ", ".join(map(str, frame.columns))
            raise InputError(
                path,
                f"column {column}",
                f"only {there}",
                f"that column{nearest(column, map(str, frame.columns))}",
            )
    numbers = pd.to_numeric(frame[latency], errors="coerce") * unit_ms
    if not numbers.notna().any():
        raise InputError(path, f"column {latency}", "no numbers", "latencies")
    return pd.DataFrame({"model": frame[model].astype(str), "latency_ms": numbers}).dropna()
