"""What a person or a program may ask of the engine beside serving requests: stories by name.

``start`` and ``stop`` frame a run; ``load``, ``preload`` and ``unload`` are for one model, and several of
them may run at once, told apart by what follows the word (``load 1``, ``load 2``). The value of a story for
a model is (now_s, why not), with an empty text where it was done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramlab.allocator import Kind
from vramlab.engine.effects import Story
from vramlab.engine.loading import AT_THE_END

if TYPE_CHECKING:
    from vramlab.engine.serving import Engine


def start(engine: Engine, now_s: float) -> Story:
    """Load what is always loaded, one after the other; what fails for want of memory is tried once more.

    What could not be loaded is said: whoever counts on it learns so now, and not from its first request.
    """
    allocator, loading = engine.allocator, engine.loading
    for name in allocator.always_loaded():
        why_not = ""
        for _ in range(2):
            decision = allocator.reserve(name, now_s)
            if decision is None:
                why_not = "no room in its zone or the budget"
                break
            engine.note_decision("start", now_s, decision)
            now_s, failure = yield from loading.load_for("start", decision, now_s, "start", pinned=False)
            why_not = "" if failure is None else str(failure)
            if not engine.worth_another_try(failure):
                break
        if why_not:
            size_bytes = allocator.models[name].bytes
            engine.note(now_s, "start", "always loaded, and could not be", name, size_bytes, why_not)
    return now_s


def stop(engine: Engine, now_s: float) -> Story:
    """Unload everything that is not in use."""
    for name in engine.allocator.models:
        decision = engine.allocator.unload(name, now_s)
        if decision is not None:
            engine.note_decision("stop", now_s, decision)
            now_s = yield from engine.loading.unload(name, now_s, AT_THE_END)
    return now_s


def load(engine: Engine, task: str, name: str, now_s: float) -> Story:
    """Load a model as a request for it would, evicting if it must; that counts as a use."""
    allocator = engine.allocator
    decision = allocator.request(name, now_s)
    engine.note_decision(task, now_s, decision)
    if decision.kind is Kind.WAIT:
        now_s, decision = yield from engine.on_arrival.wait_in_line(task, name, now_s, None, asked=True)
    failure = None
    if decision.kind is Kind.LOAD:
        now_s, failure = yield from engine.loading.load_for(task, decision, now_s)
    elif decision.kind is Kind.JOIN:
        now_s, failure = yield from engine.loading.join(name)
    elif decision.kind is not Kind.HIT:
        return now_s, decision.reason
    if failure is not None:
        return now_s, str(failure)
    engine.withdraw(name, now_s)
    return now_s, ""


def preload(engine: Engine, task: str, name: str, now_s: float) -> Story:
    """Load a model into free room of its zone, evicting nobody."""
    decision = engine.allocator.reserve(name, now_s)
    if decision is None:
        return now_s, f"it is {engine.allocator.models[name].state.value}, or its zone has no free room"
    engine.note_decision(task, now_s, decision)
    now_s, failure = yield from engine.loading.load_for(task, decision, now_s, "preload", pinned=False)
    return now_s, str(failure or "")


def unload(engine: Engine, task: str, name: str, now_s: float) -> Story:
    """Take a model off the device, if nobody uses it."""
    decision = engine.allocator.unload(name, now_s)
    if decision is None:
        return now_s, f"it is {engine.allocator.models[name].state.value}"
    engine.note_decision(task, now_s, decision)
    now_s = yield from engine.loading.unload(name, now_s, "asked for")
    return now_s, ""


FOR_A_MODEL = {"load": load, "preload": preload, "unload": unload}
