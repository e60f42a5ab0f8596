"""What to say where a column is missing: what is there, and the command that is likely to be right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from vramlab.config.errors import InputError, nearest
from vramlab.traces.importers.layout import Layout, is_data
from vramlab.traces.importers.recipes import publisher_of

_MOST_COLUMNS = 12  # that a message names

# Words in names of columns, the likeliest first; short ones only by themselves.
_WORDS = {
    "time": ("timestamp", "time", "stamp", "when", "start", "created", "date", "at", "ts", "t"),
    "model": ("model", "endpoint", "deployment", "label", "function", "func", "object", "obj", "route",
              "path", "name", "key", "id", "m"),
}  # fmt: skip
_A_TIME = re.compile(r"\d{4}[-/.]\d|\d\d?:\d\d|\b\d{10,19}\b")


def column_of(layout: Layout, name: str) -> str | None:
    """Return the layout's column of a name, or of a number from 1 on; None where there is none."""
    if name in layout.columns:
        return name
    if name.strip() in layout.columns:
        return name.strip()
    if layout.kind == "table" and re.fullmatch("[1-9][0-9]{0,3}", name) and int(name) <= len(layout.columns):
        named = layout.columns[int(name) - 1]
        return named if named and layout.columns.count(named) == 1 else name
    for column in filter(None, layout.columns):
        # in cells that are JSON, a struct's, or beside what was looked at of a JSON source
        if name.startswith(f"{column}.") or ("json" in layout.kind and column.startswith(f"{name}.")):
            return name
    return None


def refuse_columns(
    source: Path | str, layout: Layout, role: str, name: str, given: Mapping[str, str], recipe: bool = False
) -> NoReturn:
    """Raise the InputError for a role without a column.

    Parameters
    ----------
    given : mapping of str to str
        Columns that the user has named.
    recipe : bool
        Whether the file was taken for a publisher's, whose columns nobody names.
    """
    if layout.kind == "log":
        groups = ", ".join(layout.columns)
        expected = f"a group (?P<{role}>...), or --columns {role}=GROUP"
        raise InputError(source, "--regex", f"the groups {groups}", expected)
    if _is_text(layout):
        _refuse_text(source, layout)
    if not layout.columns:
        raise InputError(source, "", "no rows", "at least one request")
    publisher = publisher_of(layout.columns) or publisher_of(layout.rows[0] if layout.rows else ())
    theirs = f"; it looks like {publisher}: `vramlab import {publisher}`" if publisher else ""
    more = len(layout.columns) - _MOST_COLUMNS
    there = ", ".join(layout.columns[:_MOST_COLUMNS]) + (f" and {more:,} more" if more > 0 else "")
    if not layout.has_header and layout.rows:
        there += f" (no header; the first row is {', '.join(layout.rows[0][:_MOST_COLUMNS])})"
    command = f"--columns {shlex.quote(_guess(layout, role, given))}"
    if role == "model":
        command += ", or --model-name NAME if all are for one model"
    if len(layout.columns) == 1 and " " in layout.columns[0]:
        command += ", or --delimiter space where blanks stand between cells"
    inside = next((column for column in layout.columns if column.endswith(f".{name}")), None)
    close = f" (did you mean {inside!r}?)" if inside else nearest(name, layout.columns)
    either = "; for another table `vramlab import csv` with" if recipe else ", or"
    expected = f"that column{close}{either} {command}{theirs}"
    raise InputError(source, f"column {name}", f"only {there or 'no columns'}", expected)


def _guess(layout: Layout, role: str, given: Mapping[str, str]) -> str:
    """Return ``time=when,model=endpoint`` as far as names and cells of columns tell, else NAME."""
    found = {role: name for role, name in given.items() if column_of(layout, name) is not None}
    for wanted in ("time", "model"):
        if wanted in found:
            continue
        free = [name for name in layout.columns if name and name not in found.values()]
        fitting = [name for name in free if _fits(layout, name, wanted)]
        ranks = {name: rank for name in fitting if (rank := _rank(name, wanted)) is not None}
        named = sorted(ranks, key=lambda name: ranks[name])
        dates = [name for name in fitting if wanted == "time" and _A_TIME.search(layout.cells(name)[0])]
        best = [*named, *dates, *([] if layout.has_header else fitting)]
        if best:
            found[wanted] = best[0]
        elif wanted == role == "time":
            found[wanted] = "NAME"
    if role not in found:
        return f"{role}=NAME"
    return ",".join(f"{role}={name}" for role, name in found.items())


def _rank(name: str, role: str) -> int | None:
    """Place of the first of the role's words that a column's name has."""
    name = name.lower()
    parts = re.split(r"[^a-z]+", name)
    found = (place for place, word in enumerate(_WORDS[role]) if word in (parts if len(word) < 3 else name))
    return next(found, None)


def _fits(layout: Layout, name: str, role: str) -> bool:
    cells = [cell for cell in layout.cells(name) if cell]
    data = sum(map(is_data, cells))
    return bool(cells) and (2 * data > len(cells)) == (role == "time")


def _is_text(layout: Layout) -> bool:
    """Return whether it is no table: rows of any width, or sentences without a header."""
    if layout.kind != "table" or not layout.rows:
        return False
    width = len(layout.columns)
    rows = [*layout.rows, layout.columns] if layout.has_header and width == 1 else layout.rows
    if 2 * sum(len(row) != width for row in rows) > len(rows):
        return True
    sentences = sum(any(len(cell.split()) > 3 for cell in row) for row in rows)
    return (width == 1 or not layout.has_header) and 2 * sentences >= len(rows)


def _refuse_text(source: Path | str, layout: Layout) -> NoReturn:
    rows = [*([layout.columns] if layout.has_header else []), *layout.rows]
    lines = [layout.delimiter.join(row) for row in rows]
    if not any(map(_A_TIME.search, lines)):
        swapped = any("] Request " in line for line in lines)
        known = "; llama-swap has it at /api/metrics/activity" if swapped else ""
        found = f"lines of text without a time, such as {lines[0]!r}"
        raise InputError(source, "", found, f"a log that says when{known}")
    line = max(filter(_A_TIME.search, lines), key=lambda line: "model" in line)
    expected = f"a table, or a pattern for text logs, perhaps --regex {shlex.quote(_pattern_for(line))}"
    raise InputError(source, "", f"lines of text, such as {line!r}", expected)


def _pattern_for(line: str) -> str:
    """Return a pattern that finds time and model in a line, or shows how one would look."""
    time, model = (
        next(wanted for sign, wanted in patterns.items() if re.search(sign, line))
        for patterns in (_TIME_PATTERNS, _MODEL_PATTERNS)
    )
    return f"{time}.*{model}"


# What a line has in it, and the pattern for it; the last of each fits any line.
_TIME_PATTERNS = {
    r"^\d\S*\d:\d\d\S*(\s|$)": r"^(?P<time>\S+)",
    r"^\d\S* \d+:\d\d": r"^(?P<time>\S+ \S+)",
    r"^[A-Z][a-z]{2} +\d+ \d+:\d\d": r"^(?P<time>\w+ +\d+ \S+)",
    r"\btime=\S": r"time=(?P<time>\S+)",
    r"\[[^\]]*\d:\d\d": r"\[(?P<time>[^\]]*\d:\d\d[^\]]*)\]",
    r"": r"(?P<time>\d\S+ \S+)",
}
_MODEL_PATTERNS = {
    r"\bmodel[=:]\s*\S": 'model[=:]\\s*"?(?P<model>[^\\s",]+)',
    r"/models/": r"/models/(?P<model>[^/:\s]+)",
    r"": r" (?P<model>\S+)$",
}
