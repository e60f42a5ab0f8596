"""The journal: everything that happened, in order, the same from live and from simulated runs.

One line per event, as a JSON object in a ``.jsonl`` file (optionally ``.gz``), keys without a value left out:

============== ======================================================================================
key            meaning
============== ======================================================================================
``time_s``     seconds since the start of the run; never decreases
``event``      ``arrival``, ``begin`` (of an own story of the engine), ``decision``, ``start`` / ``end`` /
               ``fail`` (of an effect), ``timer`` (a wait's time was up), ``cancel`` (nobody wants the request
               or story any more), ``action`` (of the engine's own stories, and what it has learned: ``grow``
               a footprint, ``budget`` that the device turns out to have), ``done`` (a request was answered)
``task``       number of the request, or name of the engine's own story
``model``      the model in question
``what``       the decision, the effect, or the outcome
``zone``       zone of a decision or a load
``size_bytes`` footprint, or what the device showed
``duration_s`` of an effect that ended; of a request that is done: from its arrival
``why``        the reason of a decision, or what failed
``detail``     the rest: victims of a decision; items, priority, requester, input key of an arrival
============== ======================================================================================

``arrival``, ``begin``, ``end``, ``fail``, ``timer`` and ``cancel`` come from outside and drive the engine;
the other lines follow from them. :mod:`vramlab.engine.lockstep` holds a journal to that.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vramlab.config.errors import InputError
from vramlab.config.files import replacing
from vramlab.engine.effects import MemoryReading, describe_effect


class Line(NamedTuple):
    """One line of a journal; see the module's table."""

    time_s: float
    event: str
    task: int | str
    model: str | None = None
    what: str | None = None
    zone: str | None = None
    size_bytes: int | None = None
    duration_s: float | None = None
    why: str | None = None
    detail: dict[str, Any] | None = None


OUTSIDE = frozenset({"arrival", "begin", "end", "fail", "timer", "cancel"})
"""Events that drive the engine; everything else follows from them."""


class Journal:
    """Lines in memory, as plain tuples in the order of :class:`Line` (a simulation writes millions)."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []
        self._names: dict[Any, tuple[str, str | None]] = {}

    def write(self, *line: Any) -> None:
        """Append one line, its fields in the order of :class:`Line`."""
        self.lines.append(line)

    def arrival(
        self,
        now_s: float,
        task: int,
        model: str,
        items: int = 1,
        priority: str | None = None,
        requester: str | None = None,
        input_key: str | None = None,
    ) -> None:
        """A request has come."""
        detail = None
        if items != 1 or priority is not None or requester is not None or input_key is not None:
            given = {"items": items, "priority": priority, "requester": requester, "input_key": input_key}
            detail = {key: value for key, value in given.items() if value is not None}
        self.write(now_s, "arrival", task, model, None, None, None, None, None, detail)

    def effect(
        self,
        event: str,
        now_s: float,
        task: Any,
        value: Any = None,
        duration_s: float | None = None,
        why: str | None = None,
        message: str = "",
    ) -> None:
        """The effect that `task` asked for starts, ends (with `value`) or fails."""
        effect = task.effect
        name = self._names.get(effect)
        if name is None:
            name = self._names[effect] = describe_effect(effect)
        detail: dict[str, Any] | None = {"message": message} if message else None
        if type(value) is MemoryReading:
            detail = value._asdict()
        size_bytes = value if type(value) is int else None
        self.write(now_s, event, task.name, name[1], name[0], None, size_bytes, duration_s, why, detail)

    def timer(self, now_s: float, task: int | str) -> None:
        """The time of a wait is up."""
        self.write(now_s, "timer", task)

    def __iter__(self) -> Iterator[Line]:
        return (Line(*line) for line in self.lines)

    def __len__(self) -> int:
        return len(self.lines)


def encode(line: Iterable[Any]) -> str:
    """One line as JSON text."""
    pairs = zip(Line._fields, line, strict=False)
    return json.dumps({key: value for key, value in pairs if value is not None}, separators=(",", ":"))


def write_journal(journal: Iterable[Iterable[Any]], path: Path | str) -> None:
    """Write a journal file; ``.gz`` by suffix, the same lines give the same bytes."""
    data = "".join(f"{encode(line)}\n" for line in journal).encode()
    if str(path).endswith(".gz"):
        data = gzip.compress(data, compresslevel=6, mtime=0)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_journal(path: Path | str) -> list[Line]:
    """Read a journal file. A last line that was cut off (the process was killed) is left out.

    Raises
    ------
    InputError
        If the file cannot be read, or a line other than the last is no line of a journal.
    """
    try:
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if str(path).endswith(".gz") else data).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        found = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(path, "", found, "a journal that can be read") from error
    lines = []
    rows = text.split("\n")
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        try:
            lines.append(Line(**json.loads(row)))
        except (ValueError, TypeError) as error:
            if number == len(rows):  # no line end after it: it was being written
                break
            raise InputError(path, f"line {number}", repr(row[:60]), "a line of a journal") from error
    return lines
