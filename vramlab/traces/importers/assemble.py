"""From pieces of a source to a trace: window, thinning, models, order; the same for every importer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.traces.importers.options import ImportOptions, ImportReport, counted
from vramlab.traces.importers.rows import RowLog, categorical
from vramlab.traces.popularity import draw
from vramlab.traces.texts import categories, with_seen_categories
from vramlab.traces.trace import KNOWN_COLUMNS, Trace

# Column that stand for nothing in many tables, and are names in some.
_MISSING = {"nan", "null", "none", "n/a", "na", "-", "undefined", "<na>"}

MAX_REQUESTS = 200_000_000

_ZIPF_EXPONENT = 0.9

# A log that is not quite in order goes back a little and often; one whose clock was set, far and seldom.
_CLOCK_SET_S, _FEW = 60.0, 100


Column = np.ndarray | pd.Categorical


class Piece(NamedTuple):
    """Requests of one chunk; arrays of one length.

    Parameters
    ----------
    time_s : ndarray of float64
        Seconds, of one beginning for all pieces.
    function : Categorical, or ndarray of str
        What the source calls the model.
    items : ndarray of int64, optional
    texts : dict of str to Categorical or ndarray of str
        Other columns of the trace, None where missing.
    counts : ndarray of int64, optional
        Requests that each entry stands for, spread over `spread_s` from its time on.
    spread_s : float, optional
        None: not known, which is an error where there are counts.
    origin_s : float
        What to add to `time_s` for the source's own clock, which a window is given in.
    """

    time_s: np.ndarray
    function: Column
    items: np.ndarray | None = None
    texts: dict[str, Column] = {}  # noqa: RUF012  never changed
    counts: np.ndarray | None = None
    spread_s: float | None = None
    origin_s: float = 0.0


class Interval:
    """Length of the intervals of a source of counts: given, or the least difference of two times."""

    def __init__(self, given_s: float | None = None) -> None:
        self._given_s = given_s
        self._least_s, self._last = np.inf, np.empty(0)

    def of(self, times_s: np.ndarray) -> float | None:
        """Return seconds, by all times so far; None while there is one only."""
        if self._given_s is not None:
            return self._given_s
        times_s = np.unique(np.concatenate([self._last, times_s]))
        if len(times_s) > 1:
            self._least_s = min(self._least_s, float(np.diff(times_s).min()))
        self._last = times_s[-1:]
        return self._least_s if np.isfinite(self._least_s) else None


def joined(one: pd.Categorical, other: pd.Categorical, between: str = "/") -> pd.Categorical:
    """Return the names of two parts, such as ``app/function``."""
    width = len(other.categories) + 1
    both, codes = np.unique(one.codes.astype(np.int64) * width + other.codes, return_inverse=True)
    names = [f"{one.categories[pair // width]}{between}{other.categories[pair % width]}" for pair in both]
    return categorical(codes, names)


class _Range:
    """From when to when a source runs, on its own clock."""

    def __init__(self) -> None:
        self.first_s, self.last_s = np.inf, -np.inf

    def add(self, piece: Piece) -> None:
        if len(piece.time_s):
            self.first_s = min(self.first_s, float(piece.time_s.min()) + piece.origin_s)
            self.last_s = max(self.last_s, float(piece.time_s.max()) + piece.origin_s)

    def __str__(self) -> str:
        return f"and the source runs from {self.first_s:.15g} to {self.last_s:.15g}"


class _Names:
    """Numbers for names, over all pieces: the strings of a source need not stay in memory."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def codes(self, texts: Column) -> np.ndarray:
        """Return the int32 code per text, -1 where it is None."""
        local, names = pd.factorize(texts)
        for name in names:
            if name not in self._codes:
                self._codes[name] = len(self.names)
                self.names.append(str(name))
        known = np.array([*(self._codes[name] for name in names), -1], dtype=np.int32)
        return known[local]


@dataclass
class _Gathered:
    """What is kept of all pieces."""

    functions: _Names = field(default_factory=_Names)
    names: dict[str, _Names] = field(default_factory=dict)
    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, piece: Piece) -> None:
        parts = {"time_s": piece.time_s, "function": self.functions.codes(piece.function)}
        if piece.items is not None:
            parts["items"] = piece.items
        if piece.counts is not None:
            parts["counts"] = piece.counts
        for column, texts in piece.texts.items():
            parts[column] = self.names.setdefault(column, _Names()).codes(texts)
        for column, values in parts.items():
            self.columns.setdefault(column, []).append(values)


def assemble(
    pieces: Iterable[Piece],
    log: RowLog,
    options: ImportOptions,
    sizes_bytes: dict[str, int] | None = None,
    loads_s: Mapping[str, Sequence[float]] | None = None,
    private: bool = False,
) -> tuple[Trace, ImportReport]:
    """Make the trace of all pieces, and the report.

    ``time_s`` counts from the first request that is kept.

    Parameters
    ----------
    sizes_bytes, loads_s
        What the source tells of its models: the largest size, and the load times that it saw, seconds.
    private : bool
        Call requesters r1, r2 and so on, in the order of their coming: they are names or addresses of people.

    Raises
    ------
    InputError
        If nothing is left, or too much.
    """
    thinning, dealing, spreading = np.random.default_rng(options.seed).spawn(3)
    gathered, spread_s, runs = _Gathered(), None, _Range()
    for piece in pieces:
        runs.add(piece)
        gathered.add(_thinned(_cut(piece, log, options), log, options, thinning))
        spread_s = piece.spread_s
    columns = {name: np.concatenate(gathered.columns.pop(name)) for name in list(gathered.columns)}
    if not len(columns.get("time_s", ())):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in log.dropped.items())
        window = options.start_s is not None or options.end_s is not None
        expected = f"at least one{log.hint}" + (f"; --window counts {log.clock}, {runs}" if window else "")
        raise InputError(log.source, "", f"no request that can be kept ({reasons})", expected)
    spread_s = _interval(columns, spread_s, log, options)
    total = int(columns["counts"].sum()) if "counts" in columns else len(columns["time_s"])
    columns, models = _with_models(columns, gathered.functions.names, log, options, dealing)
    columns = _expanded(columns, spread_s, spreading, log)
    times = columns["time_s"]
    steps_s = np.diff(times)
    back_s = steps_s[steps_s < 0]
    if back_s.size:
        order = np.argsort(times, kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
    if spread_s:  # requests spread at random within a minute have no order that the source could have given
        back_s = back_s[:0]
    reordered = bool(len(back_s))
    if reordered and -back_s.min() > _CLOCK_SET_S and len(back_s) < _FEW:
        times_back = counted(len(back_s), "time")
        log.note(f"the clock goes back {times_back}, by up to {-back_s.min():,.0f} s: was it set?")
    if private and "requester" in gathered.names:
        requesters = gathered.names["requester"].names
        requesters[:] = [f"r{number}" for number in range(1, len(requesters) + 1)]
    trace = Trace(_frame(columns, models, gathered.names, options), str(log.source))
    report = ImportReport(
        rows_read=log.rows_read,
        rows_kept=len(trace),
        dropped=log.dropped,
        reordered=reordered,
        notes=tuple(_notes(log, options, gathered.functions.names, total)),
        sizes_bytes=sizes_bytes or {},
        loads_s={model: float(np.median(seen)) for model, seen in (loads_s or {}).items()},
    )
    return trace, report


def _frame(
    columns: dict[str, np.ndarray], models: list[str], names: dict[str, _Names], options: ImportOptions
) -> pd.DataFrame:
    """Return the table of a trace as :meth:`Trace.from_frame` would, which takes as long as the import."""
    frame: dict[str, np.ndarray | pd.Categorical] = {
        "time_s": (columns["time_s"] - columns["time_s"][0]) / options.speed,
        "model": categories(columns["function"], models),
        "items": columns.get("items", np.ones(len(columns["time_s"]), dtype=np.int64)),
    }
    for column in sorted(names, key=KNOWN_COLUMNS.index):
        frame[column] = categories(columns[column], names[column].names)
    return with_seen_categories(pd.DataFrame(frame, copy=False))


def _rows(piece: Piece, keep: np.ndarray) -> Piece:
    if keep.all():
        return piece
    return piece._replace(
        time_s=piece.time_s[keep],
        function=piece.function[keep],
        items=None if piece.items is None else piece.items[keep],
        texts={column: texts[keep] for column, texts in piece.texts.items()},
        counts=None if piece.counts is None else piece.counts[keep],
    )


def _requests(piece: Piece) -> int:
    return len(piece.time_s) if piece.counts is None else int(piece.counts.sum())


def _cut(piece: Piece, log: RowLog, options: ImportOptions) -> Piece:
    keep = np.ones(len(piece.time_s), dtype=bool)
    if options.start_s is not None:
        keep &= piece.time_s >= options.start_s - piece.origin_s
    if options.end_s is not None:
        keep &= piece.time_s < options.end_s - piece.origin_s
    inside = _rows(piece, keep)
    log.drop("outside the time window", _requests(piece) - _requests(inside))
    return inside


def _thinned(piece: Piece, log: RowLog, options: ImportOptions, rng: np.random.Generator) -> Piece:
    if options.thin == 1:
        return piece
    if piece.counts is None:
        thinner = _rows(piece, rng.random(len(piece.time_s)) < options.thin)
    else:
        counts = rng.binomial(piece.counts, options.thin)
        thinner = _rows(piece._replace(counts=counts), counts > 0)
    log.drop("thinned out", _requests(piece) - _requests(thinner))
    return thinner


def _with_models(
    columns: dict[str, np.ndarray],
    functions: list[str],
    log: RowLog,
    options: ImportOptions,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return columns of the functions that are kept, whose codes are now indices into the models returned."""
    codes, models = columns["function"], list(options.models)
    by_rank = bool(models) and options.mapping == "top"
    limits = [options.top or len(functions), len(models) if by_rank else len(functions)]
    requests = np.bincount(codes, weights=columns.get("counts"), minlength=len(functions))
    ranked = np.argsort(-requests, kind="stable")
    kept = ranked[: min(limits)]
    if len(kept) < len(functions):
        keep = np.isin(codes, kept)
        log.drop(f"not of the {len(kept)} most requested", int(requests.sum() - requests[kept].sum()))
        columns = {name: values[keep] for name, values in columns.items()}
        codes = columns["function"]
    if not models:
        return columns, functions
    if options.mapping == "zipf":
        weights = np.arange(1.0, len(models) + 1) ** -_ZIPF_EXPONENT
        if "counts" in columns:
            found = "counts per minute"
            raise InputError(log.source, "mapping", found, "top or round_robin, as functions are known")
        return {**columns, "function": draw(rng, list(weights), len(codes))}, models
    to = np.zeros(len(functions), dtype=np.int64)
    order = kept if by_rank else np.sort(kept)  # codes are in order of first appearance
    to[order] = np.arange(len(order)) % len(models)
    return {**columns, "function": to[codes]}, models


def _expanded(
    columns: dict[str, np.ndarray], spread_s: float, rng: np.random.Generator, log: RowLog
) -> dict[str, np.ndarray]:
    if "counts" not in columns:
        return columns
    counts = columns.pop("counts")
    total = int(counts.sum())
    if total > MAX_REQUESTS:
        expected = f"at most {MAX_REQUESTS:,}: thin, cut a window, or keep fewer functions"
        raise InputError(log.source, "", f"{total:,} requests", expected)
    columns = {name: np.repeat(values, counts) for name, values in columns.items()}
    columns["time_s"] = columns["time_s"] + rng.random(total) * spread_s
    return columns


def _interval(
    columns: dict[str, np.ndarray], spread_s: float | None, log: RowLog, options: ImportOptions
) -> float:
    """Return the seconds that counts are spread over."""
    if "counts" not in columns:
        return 0.0
    if spread_s is None:
        expected = "times of several intervals, or --interval, as in --interval 60s"
        raise InputError(log.source, "--count", "one time for all counts", expected)
    log.note(f"counts spread at random over the {spread_s:g} s from their time on (seed {options.seed})")
    return spread_s


def _name_notes(names: list[str]) -> list[str]:
    """Return what looks wrong with names and was left as it is."""
    notes = []
    missing = [name for name in names if name.lower() in _MISSING]
    if missing:
        listed = ", ".join(map(repr, missing[:5]))
        notes.append(f"models called {listed}: taken as names; --where COLUMN!=VALUE leaves such rows out")
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(re.sub(r"^(\d+)\.0$", r"\1", name.lower()), []).append(name)
    pairs = [" and ".join(group) for group in alike.values() if len(group) > 1]
    if pairs:
        notes.append(f"names that are almost the same are different models: {'; '.join(pairs[:3])}")
    return notes


def _notes(log: RowLog, options: ImportOptions, names: list[str], total: int) -> list[str]:
    notes = [log.first_malformed] if log.first_malformed else []
    notes += log.notes
    if log.trimmed:
        notes.append(f"{counted(log.trimmed, 'cell')} with blanks round a name: taken off")
    notes += _name_notes(names)
    if options.start_s is not None or options.end_s is not None:
        notes.append(f"--window counts {log.clock}")
    functions = len(names)
    if options.models:
        how = {
            "top": "by popularity",
            "round_robin": "in turn",
            "zipf": f"at random for each of {total:,} requests, Zipf {_ZIPF_EXPONENT:g}",
        }[options.mapping]
        notes.append(f"{functions:,} functions given to {len(options.models)} models {how}")
    if options.speed != 1:
        notes.append(f"played {options.speed:g} times faster")
    return notes
