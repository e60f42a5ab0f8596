"""What the engine writes down: answers, decisions, and what it does or learns beside the requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vramlab.allocator import Allocator, Decision
from vramlab.allocator.decisions import LOAD
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome, RecordSink
from vramlab.engine.requests import Answer

MONITOR = "monitor"
"""The monitor's name; what other stories do beside requests is noted under it as well."""

_NO_OUTPUTS: Final = [Answer(outcome) for outcome in Outcome]  # what a simulation answers
_row: Final = tuple.__new__  # without the constructor's detour: twice as fast


class Notes:
    """Writes into records and journal, and tells whoever keeps a log.

    Parameters
    ----------
    allocator : Allocator
        Knows what models and zones hold.
    recorder : RecordSink
        Takes outcomes, loads and evictions.
    journal : Journal, optional
        Takes everything.

    Attributes
    ----------
    on_notice : callable, optional
        ``on_notice(what, model, size_bytes, why)``, for a driver that logs.
    """

    def __init__(self, allocator: Allocator, recorder: RecordSink, journal: Journal | None) -> None:
        recorder.binding = lambda: allocator.binding
        self.recorder, self.journal = recorder, journal
        self.on_notice: Callable[[str, str | None, int, str], None] | None = None
        self._models, self._zones = allocator.models, list(allocator.zones.values())

    def answer(self, number: int, now_s: float, outcome: Outcome, outputs: Any, why: str = "") -> Answer:
        """A request has ended: write it down."""
        recorder, journal = self.recorder, self.journal
        if journal is not None:
            arrival_s = recorder.arrival_of(number)
            if why:
                journal.unanswered(now_s, number, outcome, arrival_s, why)
            else:
                journal.put(now_s, number, outcome, arrival_s)
        recorder.done(number, outcome, now_s, why)
        if outputs is None and not why:
            return _NO_OUTPUTS[outcome]
        return _row(Answer, (outcome, outputs, why))

    def decision(self, task: int | str, now_s: float, decision: Decision) -> None:
        """Something was decided for a request, or for one of the engine's own stories."""
        journal = self.journal
        if journal is None:
            return
        if decision.kind is LOAD:
            journal.load(now_s, task, decision, self._models[decision.model].bytes)
        else:
            journal.put(now_s, task, decision, None)

    def action(self, now_s: float, task: int | str, what: str, model: str | None = None, **rest: Any) -> None:
        """Something was done beside the requests; `rest` are fields of a journal's line."""
        if self.journal is not None:
            self.journal.write(now_s, "action", task, model, what, **rest)

    def notice(
        self, now_s: float, task: int | str, what: str, model: str | None, size_bytes: int, why: str
    ) -> None:
        """Something was learned or done that belongs into a log as well."""
        if self.on_notice is not None:
            self.on_notice(what, model, size_bytes, why)
        self.action(now_s, task, what, model, size_bytes=size_bytes, why=why)

    def usage(self, now_s: float) -> None:
        """Memory has been taken or given back."""
        self.recorder.holds(now_s, [zone.held for zone in self._zones])
