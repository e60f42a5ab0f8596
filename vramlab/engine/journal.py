"""The journal: everything that happened, in order, the same from live and from simulated runs.

One line per event, in a file as a JSON object, keys without a value left out:

============== ======================================================================================
key            meaning
============== ======================================================================================
``time_s``     seconds since the start of the run; never decreases
``event``      ``arrival``, ``begin`` (of an own story of the engine), ``decision``, ``start`` / ``end`` /
               ``fail`` (of an effect), ``timer`` (a wait's time was up), ``cancel`` (of a request or story),
               ``action`` (of the engine's own stories, and what it has learned: ``grow``
               a footprint, ``budget`` that the device turns out to have), ``done`` (a request was answered)
``task``       number of the request, or name of the engine's own story
``model``      the model in question
``what``       the decision, the effect, or the outcome
``zone``       zone of a decision or a load
``size_bytes`` footprint, or what the device showed; of a run: its answer's, if that may be kept; of what
               failed: how much memory was lacking
``duration_s`` of an effect that ended; of a request that is done: from its arrival
``why``        the reason of a decision, or what failed
``detail``     the rest: victims of a decision; items, priority, requester, input key of an arrival; of a
               load, that the model's file is another one than before; of a run for several requests,
               those that are ``joined`` beside ``task``, and ``answer_bytes`` of answers that may be kept
============== ======================================================================================

Files are written by :mod:`vramlab.runs.journal_writing` and read by :mod:`vramlab.runs.journal_reading`.

``arrival``, ``begin``, ``end``, ``fail``, ``timer`` and ``cancel`` come from outside and drive the engine;
the other lines follow from them. :mod:`vramlab.runs.lockstep` holds a journal to that.

A simulation writes millions of lines, nearly all of a few hundred *forms*: what a line says beside its time,
its task and its duration. So a line is kept as these four, the last as the time from which it counts. In
place of a form stands what it is of (a request, a decision, an effect, an outcome): the form is looked up
when the line is read, and its text is made once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from mypy_extensions import mypyc_attr

from vramlab.allocator import Decision
from vramlab.engine.cache import Kept
from vramlab.engine.effects import (
    REPLACED,
    EffectFailed,
    Infer,
    Load,
    MemoryReading,
    Replaced,
    Unload,
    describe_effect,
)
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request


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


class Form:
    """What a line says beside its time, its task and its duration; see the module's table."""

    __slots__ = ("detail", "event", "model", "size_bytes", "texts", "what", "why", "zone")

    # the fields of a line
    def __init__(
        self,
        event: str,
        model: str | None = None,
        what: str | None = None,
        zone: str | None = None,
        size_bytes: int | None = None,
        why: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        self.event, self.model, self.what, self.zone = event, model, what, zone
        self.size_bytes, self.why, self.detail = size_bytes, why, detail
        self.texts: tuple[str, str, str] | None = None  # see `written`

    def written(self) -> tuple[str, str, str]:
        """JSON text between time and task, between task and duration, and after the duration."""
        if self.texts is None:
            names = ("model", "what", "zone", "size_bytes")
            self.texts = (
                f',"event":{json.dumps(self.event)},"task":',
                "".join([_pair(name, getattr(self, name)) for name in names]),
                _pair("why", self.why) + _pair("detail", self.detail) + "}\n",
            )
        return self.texts


def _pair(key: str, value: Any) -> str:
    if value is None:
        return ""
    return f',"{key}":{json.dumps(value, separators=(",", ":"), default=str)}'


class _Forms(dict[Any, Form]):
    """Forms by what they are of, made at the first look-up, and kept if that may come again and again."""

    def __init__(self, make: Callable[[Any], Form], kept: Callable[[Any], bool]) -> None:
        self._make, self._kept = make, kept

    def __missing__(self, key: Any) -> Form:
        form = self._make(key)
        if self._kept(key):
            self[key] = form
        return form


@mypyc_attr(allow_interpreted_subclasses=True)
class Journal:
    """Lines in memory, in the order in which they were written.

    Others may read while one writes.
    """

    def __init__(self) -> None:
        self._entries: list[Any] = []  # time, task, what it says, and `since_s` of one line after the other
        self._arrivals = _Forms(lambda model: Form("arrival", model), _always)
        self._decisions = _Forms(_decided, lambda decision: not decision.victims)
        self._starts = _Forms(lambda effect: _effect("start", effect), _comes_again)
        self._ends = _Forms(lambda effect: _effect("end", effect), _comes_again)
        self._answers = _Forms(lambda outcome: Form("done", None, outcome.name), _always)

    def put(self, now_s: float, task: int | str, what: Any, since_s: float | None) -> None:
        """Append one line: time, task, what it says, and the time from which its duration counts.

        What it says is a :class:`Form`, or what that is of: a request, a decision, an effect (which starts
        where there is no such time, and else ends with no value to note), or an outcome.
        """
        entries = self._entries
        entries.append(now_s)
        entries.append(task)
        entries.append(what)
        entries.append(since_s)

    def _form(self, what: Any, since_s: float | None) -> Form:
        kind = type(what)
        if kind is Form:
            return what  # type: ignore[no-any-return]
        if kind is Outcome:
            return self._answers[what]
        if kind is Request:
            return self._arrival(what)
        if kind is Decision:
            return self._decisions[what]
        return (self._starts if since_s is None else self._ends)[what]

    def _arrival(self, request: Request) -> Form:
        detail = request.details()
        return (
            self._arrivals[request.model] if detail is None else Form("arrival", request.model, detail=detail)
        )

    def load(self, now_s: float, task: int | str, decision: Decision, size_bytes: int) -> None:
        """A load of so many bytes was decided."""
        self.put(now_s, task, _decided(decision, size_bytes), None)

    def ended(self, now_s: float, task: int | str, effect: Any, value: Any, since_s: float) -> None:
        """An effect has ended with `value`."""
        self.put(now_s, task, _effect("end", effect, value), since_s)

    def failed(self, task: int | str, effect: Any, since_s: float, failure: EffectFailed) -> None:
        """An effect has failed."""
        form = _effect("fail", effect)
        form.why, form.size_bytes = failure.kind.value, failure.lacking_bytes
        if failure.message:
            form.detail = {**(form.detail or {}), "message": failure.message}
        self.put(failure.now_s, task, form, since_s)

    def unanswered(self, now_s: float, number: int, outcome: Outcome, since_s: float, why: str) -> None:
        """A request has ended, and there is something to say of that."""
        self.put(now_s, number, Form("done", None, outcome.name, why=why), since_s)

    def write(self, now_s: float, event: str, task: int | str, *rest: Any, **named: Any) -> None:
        """Append a line without a duration; `rest` are the fields of its :class:`Form` after the event."""
        self.put(now_s, task, Form(event, *rest, **named), None)

    # -- reading it --------------------------------------------------------------------------------------

    def since(self, start: int, stop: int | None = None) -> Iterator[Line]:
        """The lines from number `start` on, counted from 0, up to `stop`."""
        return self._lines(self._entries[4 * start : 4 * (len(self) if stop is None else stop)])

    def _lines(self, entries: list[Any]) -> Iterator[Line]:
        for time_s, task, form, since_s in self._read(entries):
            yield Line(
                time_s,
                form.event,
                task,
                form.model,
                form.what,
                form.zone,
                form.size_bytes,
                None if since_s is None else time_s - since_s,
                form.why,
                form.detail,
            )

    def __iter__(self) -> Iterator[Line]:
        return self.since(0)

    def __len__(self) -> int:
        return len(self._entries) // 4

    def texts(self) -> Iterator[str]:
        """The lines as they stand in a file, many at a time."""
        fours = self._read(islice(self._entries, 4 * len(self)))
        while lines := _text(islice(fours, 50_000)):
            yield lines

    def take(self) -> list[Line]:
        """The lines; they are gone from here. Others may write meanwhile."""
        return list(self._lines(self._taken()))

    def take_text(self) -> str:
        """As :meth:`take`, the lines as they stand in a file.

        A line that JSON cannot write is there as an ``unwritable`` one, and costs no other.
        """
        taken = self._taken()
        try:
            return _text(self._read(taken))
        except Exception:
            return "".join(self._text_of(taken[start : start + 4]) for start in range(0, len(taken), 4))

    def _text_of(self, entry: list[Any]) -> str:
        try:
            return _text(self._read(entry))
        except Exception as error:
            why = type(error).__name__
            return encode(Line(float(entry[0]), "unwritable", str(entry[1]), why=why)) + "\n"

    def _taken(self) -> list[Any]:
        # Whole lines, as the last may be half written; and they are only ever taken from the front here.
        taken = self._entries[: 4 * len(self)]
        del self._entries[: len(taken)]
        return taken

    def _read(self, entries: Iterable[Any]) -> Iterator[tuple[float, int | str, Form, float | None]]:
        one = iter(entries)
        for time_s, task, what, since_s in zip(one, one, one, one, strict=True):
            yield time_s, task, self._form(what, since_s), since_s


def _always(key: Any) -> bool:
    return True


def _comes_again(effect: Any) -> bool:
    return isinstance(effect, Load | Unload) or (isinstance(effect, Infer) and not effect.joined)


def _decided(decision: Decision, size_bytes: int | None = None) -> Form:
    kind, model, zone, victims, reason = decision
    detail = {"victims": list(victims)} if victims else None
    return Form("decision", model, kind.value, zone, size_bytes, reason or None, detail)


def _effect(event: str, effect: Any, value: Any = None) -> Form:
    what, model = describe_effect(effect)
    size_bytes = value if type(value) is int else None
    detail: dict[str, Any] | None = None
    if isinstance(effect, Infer) and effect.joined:
        detail = _joined(effect.joined, value)
    elif type(value) is MemoryReading:
        detail = value._asdict()
    elif type(value) is Kept:
        size_bytes = value.size_bytes
    elif type(value) is Replaced:
        size_bytes, detail = value.size_bytes, REPLACED
    return Form(event, model, what, None, size_bytes, None, detail)


def _joined(numbers: tuple[int, ...], answers: dict[int, Any] | None) -> dict[str, Any]:
    detail: dict[str, Any] = {"joined": list(numbers)}
    # in a replay there is nothing of an answer but its size
    sizes = {n: a.size_bytes if isinstance(a, Kept) else a for n, a in (answers or {}).items()}
    kept = {str(number): size for number, size in sizes.items() if isinstance(size, int)}
    return detail | {"answer_bytes": kept} if kept else detail


def _text(fours: Iterable[tuple[float, int | str, Form, float | None]]) -> str:
    parts = []
    last_s, time_text = None, ""
    for time_s, task, form, since_s in fours:
        if time_s != last_s:  # lines come in groups of one time
            last_s, time_text = time_s, _number(time_s)
        before, between, after = form.texts or form.written()
        task_text = task if type(task) is int else json.dumps(task)
        if since_s is None:
            parts.append(f'{{"time_s":{time_text}{before}{task_text}{between}{after}')
        else:
            duration = _number(time_s - since_s)
            parts.append(f'{{"time_s":{time_text}{before}{task_text}{between},"duration_s":{duration}{after}')
    return "".join(parts)


def _number(value: float) -> str:
    return value.__repr__() if type(value) is float else json.dumps(value)


def encode(line: Line) -> str:
    """One line as JSON text, without the line end."""
    pairs = zip(Line._fields, line, strict=True)
    return json.dumps({key: value for key, value in pairs if value is not None}, separators=(",", ":"))
