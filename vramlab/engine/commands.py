"""What a person or a program may ask of the engine beside serving requests.

``start`` and ``stop`` frame a run; ``load``, ``preload`` and ``unload`` are for one model, and several of
them may run at once, told apart by what follows the word (``load 1``, ``load 2``). The value of a story for
a model is (now_s, why not), with an empty text where it was done.
"""

from __future__ import annotations

from vramlab.allocator import Kind
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Story, worth_another_try
from vramlab.engine.loading import AT_THE_END, Loading


class Commands:
    """The commands of one engine.

    Parameters
    ----------
    desk, loading
        Of the engine.
    """

    def __init__(self, desk: Desk, loading: Loading) -> None:
        self._desk, self._loading, self._allocator, self._notes = desk, loading, desk.allocator, desk.notes
        self._run = {"start": self.start, "stop": self.stop}
        self._for_a_model = {"load": self.load, "preload": self.preload, "unload": self.unload}

    def story(self, task: str, now_s: float, model: str | None) -> Story:
        """Begin the command that a task is named after."""
        what = task.partition(" ")[0]
        return self._run[what](now_s) if model is None else self._for_a_model[what](task, model, now_s)

    def start(self, now_s: float) -> Story:
        """Load what is always loaded, one after the other; what fails for want of memory is tried once more.

        What could not be loaded is said: whoever counts on it learns so now, and not from its first request.
        """
        for name in self._allocator.always_loaded():
            why_not = ""
            for _ in range(2):
                decision = self._allocator.reserve(name, now_s)
                if decision is None:
                    why_not = "no room in its zone or the budget"
                    break
                self._notes.decision("start", now_s, decision)
                now_s, failure = yield from self._loading.load_for(
                    "start", decision, now_s, "start", pinned=False
                )
                why_not = "" if failure is None else str(failure)
                if not worth_another_try(failure):
                    break
            if why_not:
                size_bytes = self._allocator.models[name].bytes
                what = "always loaded, and could not be"
                self._notes.notice(now_s, "start", what, name, size_bytes, why_not)
        return now_s

    def stop(self, now_s: float) -> Story:
        """Unload everything that is not in use."""
        for name in self._allocator.models:
            decision = self._allocator.unload(name, now_s)
            if decision is not None:
                self._notes.decision("stop", now_s, decision)
                now_s = yield from self._loading.unload(name, now_s, AT_THE_END)
        return now_s

    def load(self, task: str, name: str, now_s: float) -> Story:
        """Load a model as a request for it would, evicting if it must; that counts as a use."""
        decision = self._allocator.request(name, now_s)
        self._notes.decision(task, now_s, decision)
        if decision.kind is Kind.WAIT:
            now_s, decision = yield from self._desk.room.wait(task, name, now_s, None, counted=True)
        failure = None
        if decision.kind is Kind.LOAD:
            now_s, failure = yield from self._loading.load_for(task, decision, now_s)
        elif decision.kind is Kind.JOIN:
            now_s, failure = yield from self._loading.join(name)
        elif decision.kind is not Kind.HIT:
            return now_s, decision.reason
        if failure is not None:
            return now_s, str(failure)
        self._desk.withdraw(name, now_s)
        return now_s, ""

    def preload(self, task: str, name: str, now_s: float) -> Story:
        """Load a model into free room of its zone, evicting nobody."""
        decision = self._allocator.reserve(name, now_s)
        if decision is None:
            return now_s, f"it is {self._allocator.models[name].state.value}, or its zone has no free room"
        self._notes.decision(task, now_s, decision)
        now_s, failure = yield from self._loading.load_for(task, decision, now_s, "preload", pinned=False)
        return now_s, str(failure or "")

    def unload(self, task: str, name: str, now_s: float) -> Story:
        """Take a model off the device, if nobody uses it."""
        decision = self._allocator.unload(name, now_s)
        if decision is None:
            return now_s, f"it is {self._allocator.models[name].state.value}"
        self._notes.decision(task, now_s, decision)
        now_s = yield from self._loading.unload(name, now_s, "asked for")
        return now_s, ""
