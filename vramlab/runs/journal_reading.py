"""Read a journal's file, whole or as it grows, and say what is damaged in it.

A damaged line is left out, and readers say which it is. The lines' keys are in the
table of :mod:`vramlab.engine.journal`, which writes them.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vramlab.config.errors import InputError
from vramlab.config.schema import Priority
from vramlab.engine.effects import MemoryReading
from vramlab.engine.journal import Line

_LOG = logging.getLogger(__name__)
_SAID = 5  # damaged lines that are named one by one


class Damage(NamedTuple):
    """A damaged line of a file: its number, from 1 on, and what is there."""

    line: int
    found: str

    def __str__(self) -> str:
        return f"line {self.line} is damaged and left out: {self.found}"


class JournalLines(list[Line]):
    """The lines of a journal's file, and which are damaged.

    Attributes
    ----------
    damaged : list of Damage
        Lines that are left out.
    whole : int
        How many lines there are before the first that is damaged: so far nothing is missing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.damaged: list[Damage] = []
        self.whole = 0


def read_journal(path: Path | str) -> JournalLines:
    """Read a journal file.

    A last line that was cut off (the process was killed) is left out silently. Damaged lines are left out
    too, and the log names them.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    lines = JournalLines()
    try:
        data, problem = _contents(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    rows = data.split(b"\n")
    cut = rows.pop()  # no line end after it: it was being written
    for number, row in enumerate([*rows, cut] if _is_line(cut) else rows, 1):
        _take_in(lines, row, number)
    if problem:
        lines.damaged.append(Damage(len(rows) + 1, problem))
    if not lines and lines.damaged:
        raise _unreadable(path, ValueError(lines.damaged[0].found))
    _say(path, lines.damaged)
    return lines


def _take_in(lines: JournalLines, row: bytes, number: int) -> None:
    if not row:
        return
    try:
        line = _parsed(row)
    except _NoLine as error:
        lines.damaged.append(Damage(number, str(error)))
        return
    lines.append(line)
    if not lines.damaged:
        lines.whole = len(lines)


def _say(path: Path | str, damaged: list[Damage]) -> None:
    for damage in damaged[:_SAID]:
        _LOG.warning("%s: %s", path, damage)
    if len(damaged) > _SAID:
        _LOG.warning("%s: and %d more lines are damaged", path, len(damaged) - _SAID)


class JournalTail:
    """A journal file that somebody is still writing, read as it grows.

    Parameters
    ----------
    path : Path or str
        A ``.jsonl`` file; one that is packed (``.gz``) no longer grows.

    Raises
    ------
    InputError
        If it cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._number = 0
        self._cut = b""  # a line that is not whole yet
        try:
            packed, problem = _contents(path) if str(path).endswith(".gz") else (b"", "")
            if problem and b"\n" not in packed:
                raise OSError(problem)
            self._file = io.BytesIO(packed) if packed else Path(path).open("rb")  # noqa: SIM115
        except OSError as error:
            raise _unreadable(path, error) from error
        if problem:
            _say(path, [Damage(packed.count(b"\n") + 1, problem)])

    def read(self) -> list[Line]:
        """Return the whole lines since the last call; the log says which are damaged."""
        *rows, self._cut = (self._cut + self._file.read()).split(b"\n")
        lines = JournalLines()
        for row in rows:
            self._number += 1
            _take_in(lines, row, self._number)
        _say(self._path, lines.damaged)
        return lines

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_PIECE = 4096  # bytes of a packed file that are looked at together


def _contents(path: Path | str) -> tuple[bytes, str]:
    """Return the text of a file as far as it can be unpacked, and why no further."""
    data = Path(path).read_bytes()
    if not str(path).endswith(".gz"):
        return data, ""
    parts: list[bytes] = []
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    for start in range(0, len(data), _PIECE):
        piece, before = data[start : start + _PIECE], unpacker.copy()
        try:
            parts.append(unpacker.decompress(piece))
            while unpacker.eof and unpacker.unused_data:  # files that were packed one by one and joined
                rest, unpacker = unpacker.unused_data, zlib.decompressobj(16 + zlib.MAX_WBITS)
                parts.append(unpacker.decompress(rest))
        except zlib.error as error:
            with contextlib.suppress(zlib.error):  # what stands before the damage in this piece
                for place in range(len(piece)):
                    parts.append(before.decompress(piece[place : place + 1]))
            return b"".join(parts), f"damaged packed data ({error})"
    return b"".join(parts), "" if unpacker.eof else "packed data that is cut short"


def _unreadable(path: Path | str, error: Exception) -> InputError:
    found = (getattr(error, "strerror", None) or str(error)).lower()
    return InputError(path, "", found, "a journal that can be read")


class _NoLine(Exception):
    """Something else stands where a line of a journal should be; the message shows it."""


_TEXT, _WHOLE, _NUMBER, _NOTHING = str, int, (float, int), type(None)
_KINDS: tuple[tuple[type, ...], ...] = (
    _NUMBER, (_TEXT,), (_WHOLE, _TEXT), (_TEXT, _NOTHING), (_TEXT, _NOTHING), (_TEXT, _NOTHING),
    (_WHOLE, _NOTHING), (*_NUMBER, _NOTHING), (_TEXT, _NOTHING), (dict, _NOTHING),
)  # fmt: skip
_PRIORITIES = {None, *(priority.value for priority in Priority)}
_OF_ARRIVALS = {"items", "priority", "requester", "input_key"}


def _parsed(row: bytes) -> Line:
    """Parse a line of a journal, or raise _NoLine."""
    try:
        line = Line(**json.loads(row))
    except (ValueError, TypeError, RecursionError) as error:
        raise _NoLine(repr(row[:60].decode("utf-8", "replace"))) from error
    wrong = _wrong_kind(tuple(map(type, line)))
    if wrong is not None:
        raise _NoLine(f"{Line._fields[wrong]} {str(line[wrong])[:60]!r}")
    if not 0 <= line.time_s < math.inf:
        raise _NoLine(f"time_s {line.time_s}")
    detail = line.detail or {}
    if line.event == "arrival":
        fits = _is_of_arrival(detail)
    else:
        fits = (line.event, line.what) != ("end", "readmemory") or not detail or _is_reading(detail)
    if not fits:
        raise _NoLine(f"detail {str(detail)[:60]}")
    return line


@cache
def _wrong_kind(found: tuple[type, ...]) -> int | None:
    """The place of the first value that is of none of the kinds it may be; None: all are."""
    return next((place for place, kinds in enumerate(_KINDS) if found[place] not in kinds), None)


def _is_of_arrival(detail: dict[str, Any]) -> bool:
    items, priority = detail.get("items", 1), detail.get("priority")
    return (
        detail.keys() <= _OF_ARRIVALS
        and type(items) is int
        and items > 0
        and (priority is None or type(priority) is str)
        and priority in _PRIORITIES
    )


def _is_reading(detail: dict[str, Any]) -> bool:
    return detail.keys() == set(MemoryReading._fields) and all(
        isinstance(value, int) for value in detail.values()
    )


def _is_line(row: bytes) -> bool:
    try:
        _parsed(row)
    except _NoLine:
        return False
    return True
