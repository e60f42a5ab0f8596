"""The importer of any table, JSON or log with one row per request, by the roles of its columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import Priority
from vramlab.traces.importers.assemble import Interval, Piece, assemble
from vramlab.traces.importers.layout import SAMPLE_BYTES, Layout, find_layout, open_text
from vramlab.traces.importers.missing import column_of, refuse_columns
from vramlab.traces.importers.options import ROLES, UNIT_S, ImportOptions, ImportReport, counted
from vramlab.traces.importers.reading import chunks
from vramlab.traces.importers.recipes import RECIPES, Names, Recipe, publisher_of
from vramlab.traces.importers.rows import Chunk, RowLog, categorical
from vramlab.traces.importers.times import Clock
from vramlab.traces.importers.units import unit_in
from vramlab.traces.trace import Trace

# Where no mapping says otherwise: the columns of a trace file of ours, or a pattern's groups of these names.
_OUR_COLUMNS = {"time": ("time_s", "time"), **{role: (role,) for role in ROLES[1:6]}}

_LABELS = ("requester", "input_key", "priority")

_DURATION = re.compile(r"\s*(?:(\d+)m(?!s))?\s*([\d.]+)?\s*(ns|us|µs|μs|ms|s)?\s*")
# 429 and 503 where a queue is full; how gateways call what went wrong
_REFUSED = re.compile(r"429|5\d\d|fail\w*|error", re.IGNORECASE)

_DURATION_S = UNIT_S | {"µs": 1e-6, "μs": 1e-6}


def import_csv(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read any table (CSV and the like), JSON, Parquet or text log with a row per request.

    What is where stands in ``options.columns``, how it is written is found by looking, unless the options say
    it. Times are numbers or dates (:mod:`~vramlab.traces.importers.times`).

    Raises
    ------
    InputError
        Naming file, line, column, what was found and what was expected.
    """
    options = options or ImportOptions()
    layout = find_layout(source, options)
    ours = {
        role: names
        for role, names in _OUR_COLUMNS.items()
        if role in ("time", "model") or (_any(layout, names) and _is_ours(layout, role, options))
    }
    if options.model_name is not None and not _any(layout, ours["model"]):
        del ours["model"]
    wanted: dict[str, Names] = {**ours, **options.columns}
    columns = _columns(source, layout, wanted, options)
    _check_publisher(source, layout, options)
    return import_columns(source, layout, columns, options)


def _is_ours(layout: Layout, role: str, options: ImportOptions) -> bool:
    """Return whether a column is what its name says; a foreign table's `priority` may be P1."""
    known = {
        "priority": "|".join(priority.value for priority in Priority),
        "items": "[1-9][0-9]*",
    }.get(role)
    if not options.columns or known is None:
        return True
    return all(re.fullmatch(known, cell.strip()) for cell in layout.cells(role) if cell)


def import_recipe(
    name: str, source: Path | str, options: ImportOptions | None = None
) -> tuple[Trace, ImportReport]:
    """Read a publisher's file by its recipe.

    Raises
    ------
    InputError
        Naming file, line, column, what was found and what was expected.
    """
    options, recipe = options or ImportOptions(), RECIPES[name]
    options = replace(
        options,
        header=True,
        time_unit=options.time_unit or recipe.time_unit,
        model_name=options.model_name or recipe.model_name,
        regex=options.regex or recipe.regex,
        table=options.table or recipe.table,
    )
    layout = find_layout(source, options)
    there = {role: names for role, names in recipe.optional.items() if _any(layout, names)}
    # a table that was exported without the column has nothing to leave out by it
    ours = [text for text in recipe.where if "!=" not in text or _any(layout, text.split("!=")[0])]
    options = replace(options, where=(*ours, *options.where))
    columns = _columns(source, layout, {**recipe.columns, **there}, options, recipe=True)
    try:
        return import_columns(source, layout, columns, options, recipe)
    except InputError as error:
        _refuse_blind(source, layout, recipe, error)
        raise


def import_columns(
    source: Path | str,
    layout: Layout,
    columns: Mapping[str, str],
    options: ImportOptions,
    recipe: Recipe | None = None,
) -> tuple[Trace, ImportReport]:
    """Read columns of a layout by their roles; a recipe says what else is to be made of them."""
    log = RowLog(source, options.skip_bad_rows)
    if recipe is not None and recipe.note:
        log.note(recipe.note)
    unnamed = recipe is not None and recipe.unnamed
    if layout.kind == "table" and not layout.has_header and options.header is None:
        log.note(f"no header found: columns by number, 1 to {len(layout.columns)}")
    sizes: dict[str, int] = {}
    pieces = _pieces(_Source(source, layout, columns, options, unnamed), log, sizes)
    return assemble(pieces, log, options, sizes, private=recipe is not None and recipe.private)


def _refuse_blind(source: Path | str, layout: Layout, recipe: Recipe, error: InputError) -> None:
    """Say of a log whose lines cannot tell models, or times, that they cannot."""
    if layout.kind != "log":
        return
    with open_text(source, layout.encoding) as stream:
        lines = bytes(stream.read(SAMPLE_BYTES)).decode("utf-8", "replace").splitlines()
    for pattern, why in recipe.blind:
        line = next(filter(re.compile(pattern).search, lines), None)
        if line is not None:
            raise InputError(source, "", repr(line), why) from error


@dataclass(frozen=True)
class _Source:
    """What is read, and as what."""

    path: Path | str
    layout: Layout
    columns: Mapping[str, str]
    options: ImportOptions
    unnamed: bool

    def chunks(self, log: RowLog) -> Iterator[Chunk]:
        roles = dict(sorted(self.columns.items(), key=lambda item: ROLES.index(item[0])))
        return chunks(self.path, log, list(roles.values()), self.layout, self.options)


def _pieces(source: _Source, log: RowLog, sizes: dict[str, int]) -> Iterator[Piece]:
    columns, options = source.columns, source.options
    clock = Clock(options, columns["time"]) if "time" in columns else None
    interval = Interval(options.interval_s)
    refused: Counter[str] = Counter()
    for chunk in source.chunks(log):
        rows = len(chunk.good)
        if clock is None:  # libCacheSim's list of objects has an order and no times
            time_s = np.arange(chunk.first, chunk.first + rows, dtype=np.float64)
        else:
            time_s = clock.seconds(chunk)
        function = _models(chunk, columns, options, source.unnamed)
        if "duration" in columns:
            time_s = time_s - _durations(chunk, columns["duration"])
        items = None
        if "items" in columns:
            at_least = (
                f"a whole number of at least 1, or nothing; --where {columns['items']}!=0 leaves those out"
            )
            items = chunk.counts(columns["items"], at_least, default=1)
        texts = {role: _labels(chunk, columns[role], role) for role in _LABELS if role in columns}
        counts = None
        if "count" in columns:
            counts = chunk.counts(columns["count"], "a whole number of requests, 0 or more", default=0)
        if "size" in columns:
            bytes_ = chunk.counts(columns["size"], "a whole number of bytes, 0 or more", default=0)
            note_sizes(sizes, function[chunk.good], bytes_[chunk.good])
        if "status" in columns:
            refused.update(_refused(chunk, columns["status"]))
        good = chunk.good if counts is None else chunk.good & (counts > 0)
        yield Piece(
            time_s=time_s[good],
            function=function[good],
            items=None if items is None else items[good],
            texts={role: values[good] for role, values in texts.items()},
            counts=None if counts is None else counts[good],
            spread_s=None if counts is None else interval.of(time_s[chunk.good]),
            origin_s=0.0 if clock is None else clock.origin_s,
        )

    for status, number in sorted(refused.items()):
        log.note(f"{counted(number, 'request')} answered {status} there: kept, as each wanted its model")


def _refused(chunk: Chunk, column: str) -> dict[str, int]:
    """Return how many requests were turned away or failed, by what was answered."""
    answers = chunk.names(column)
    times = np.bincount(answers.codes[chunk.good & (answers.codes >= 0)], minlength=len(answers.categories))
    known = {str(name): int(number) for name, number in zip(answers.categories, times, strict=True)}
    return {name: number for name, number in known.items() if number and _REFUSED.fullmatch(name)}


def _models(
    chunk: Chunk, columns: Mapping[str, str], options: ImportOptions, unnamed: bool
) -> pd.Categorical:
    if "model" not in columns:
        return categorical(np.zeros(len(chunk.good), dtype=np.int8), [str(options.model_name)])
    names = chunk.names(columns["model"], None if unnamed else "the name of a model")
    # a quote that nobody closed takes the rows after it for a name
    one_line = np.array([*("\n" not in str(name) for name in names.categories), True])[names.codes]
    chunk.check(one_line, columns["model"], "a name on one line; is a quote before it not closed?")
    if not unnamed:
        return names
    nameless = chunk.good & (names.codes < 0)
    chunk.log.drop("no model", int(nameless.sum()))
    chunk.good &= ~nameless
    return names


def _labels(chunk: Chunk, column: str, role: str) -> pd.Categorical:
    """Return a column of the trace that is text, missing where empty."""
    labels = chunk.names(column)
    if role == "requester":
        # numbers with gaps come out of data frames as 12.0
        labels = categorical(labels.codes, [re.sub(r"^(\d+)\.0$", r"\1", name) for name in labels.categories])
    if role == "priority":
        known = [priority.value for priority in Priority]
        good = np.array([*(name in known for name in labels.categories), True])[labels.codes]
        chunk.check(good, column, f"one of {', '.join(known)}, or nothing")
    return labels


def _durations(chunk: Chunk, column: str) -> np.ndarray:
    """Return seconds; numbers in the unit of the column's name, else seconds, or in a unit of their own."""
    unit_s = UNIT_S[unit_in(column) or "s"]

    def seconds(text: str) -> float:
        found = _DURATION.fullmatch(text)
        if found is None or not (found[1] or found[2]):
            return np.nan
        try:
            return 60.0 * int(found[1] or 0) + float(found[2] or 0) * (
                _DURATION_S[found[3]] if found[3] else unit_s
            )
        except ValueError:
            return np.nan

    coded = chunk.names(column)
    by_text = np.array([*(seconds(str(name)) for name in coded.categories), np.nan], dtype=np.float64)
    values: np.ndarray = by_text[coded.codes]
    chunk.check(values >= 0, column, "a duration such as 1.5, 250ms or 1m2.5s, 0 or more")
    return values


def note_sizes(sizes: dict[str, int], functions: pd.Categorical, sizes_bytes: np.ndarray) -> None:
    """Keep the largest size seen of each function."""
    largest = np.zeros(len(functions.categories) + 1, dtype=np.int64)
    np.maximum.at(largest, functions.codes, sizes_bytes)
    for code in np.unique(functions.codes):
        name = str(functions.categories[code])
        sizes[name] = max(sizes.get(name, 0), int(largest[code]))


# -- which column is what ----------------------------------------------------------------------------


def _columns(
    source: Path | str,
    layout: Layout,
    wanted: Mapping[str, Names],
    options: ImportOptions,
    recipe: bool = False,
) -> dict[str, str]:
    """Return the column of the layout for each role, and those that conditions name checked."""
    if "model" in wanted and options.model_name is not None and not _any(layout, wanted["model"]):
        wanted = {role: names for role, names in wanted.items() if role != "model"}
    columns = {}
    for role, names in wanted.items():
        several = (names,) if isinstance(names, str) else names
        name = next((name for name in several if column_of(layout, name) is not None), several[0])
        found = column_of(layout, name)
        if found is None:
            refuse_columns(source, layout, role, name, options.columns, recipe)
        columns[role] = _once(source, layout, found)
    for condition in options.where:
        name = re.split("!?=", condition)[0].strip()
        if column_of(layout, name) is None:
            expected = f"a column{nearest(name, layout.columns)}"
            raise InputError(source, f"--where {name}", "no such column", expected)
    return columns


def _once(source: Path | str, layout: Layout, column: str) -> str:
    if layout.columns.count(column) > 1:
        raise InputError(source, f"column {column}", "the column twice", "each column once, or its number")
    return column


def _any(layout: Layout, names: Names) -> bool:
    several = (names,) if isinstance(names, str) else names
    return any(column_of(layout, name) is not None for name in several)


def _check_publisher(source: Path | str, layout: Layout, options: ImportOptions) -> None:
    """Ask for the unit of times where the file is of somebody who counts in another than seconds."""
    publisher = publisher_of(layout.columns)
    recipe = RECIPES.get(publisher or "")
    if (
        recipe
        and recipe.time_unit not in (None, "s")
        and options.time_unit is None
        and not options.time_format
    ):
        expected = (
            f"--time-unit {recipe.time_unit}, or `vramlab import {publisher}`, which knows the rest too"
        )
        raise InputError(source, "", f"columns as {publisher} has them, without a unit of time", expected)
