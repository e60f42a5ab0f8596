"""Joined runs: requests that wait for one model run as one (``serving.batching``).

When a request gets a stream, others that wait for its model join its run, in the sequence of the order, while
all together have at most the ``batch_size`` items of the model. Rules that must hold:

1. Only models that the inventory calls safe to split (``splits: true``) are joined: their answers are equal
   bit for bit to those of single runs.
2. Nobody joins before a request that is due and has an earlier place, and the first that does not fit ends
   the batch. So the bound of the scheduler holds, and a large request is not passed by small ones.
3. The first runs for all, with one effect; the others wait for its end. A request that is cancelled before
   that leaves. If the first is cancelled before the run begins, the others wait again.
4. A joined run that fails is tried request by request: one bad input does not fail its neighbours.
5. After a joined run that found no memory, those of its model have at most half as many items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vramlab.allocator.facts import Model
from vramlab.config.schema import Inventory
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Cancelled, EffectFailed, Failure, Infer, Story, Target
from vramlab.engine.requests import Ran
from vramlab.engine.waiting import Waiting


class Again(NamedTuple):
    """What became of a joined run that failed: each of its requests waits once more."""

    entry: Waiting


class Batching:
    """The joined runs of one engine.

    Parameters
    ----------
    desk : Desk
        Where requests wait.
    inventory : dict of str to ModelSpec
        Which models may be joined, and how many items one run may have.

    Attributes
    ----------
    on : bool
        Whether any are joined.
    """

    def __init__(self, desk: Desk, inventory: Inventory) -> None:
        self._desk, self._allocator, self._waiting = desk, desk.allocator, desk.waiting
        self.on = desk.config.serving.batching
        self._most = {
            desk.allocator.models[name]: spec.batch_size for name, spec in inventory.items() if spec.joins
        }

    # -- who joins ---------------------------------------------------------------------------------------

    def others(self, first: Waiting, now_s: float) -> Iterator[Waiting]:
        """Those that join the run of `first`, which no longer waits.

        Each must have ceased to wait before the next is asked for.
        """
        model, items = first.model, first.items
        most = self._most.get(model, 0)
        if items >= most:
            return
        due = self._waiting.first_due_beside(model, now_s)
        while items < most:
            entry = self._next(model, now_s)
            if entry is None or entry.alone or items + entry.items > most:
                return
            if due is not None and due < entry.place:
                return
            items += entry.items
            yield entry

    def _next(self, model: Model, now_s: float) -> Waiting | None:
        """The next in sequence; who is due goes first."""
        first = self._waiting.first_of(model)
        return first if first is None or first.due_s <= now_s else self._waiting.next_of(model)

    # -- their run ---------------------------------------------------------------------------------------

    def run(self, entry: Waiting, now_s: float) -> Story:
        """Run the batch of its first request.

        The value is (now_s, :class:`.Ran` or :class:`Again`); the stream is given back, and nobody is pinned.
        """
        batch, name = entry.batch, entry.model.name
        assert batch is not None
        items = sum(member.items for member in batch)
        others = tuple([member.number for member in batch[1:]])
        try:
            now_s, outputs = yield Infer(name, Target.GPU, items, joined=others)
        except EffectFailed as failure:
            if failure.kind in (Failure.OUT_OF_MEMORY, Failure.OWN_LIMIT):
                self._most[entry.model] = items // 2
            return failure.now_s, self._again(batch, failure.now_s, runner=entry)
        except Cancelled as cancelled:  # it has not begun
            batch.remove(entry)
            entry.batch = None
            self._allocator.withdraw(name)
            self._again(batch, cancelled.now_s)
            raise
        self._desk.gpu.release()
        answers = (outputs or {}) if others else {entry.number: outputs}
        idle = False
        for member in batch:
            idle = self._allocator.released(name)
            if member is not entry:
                member.tell(Ran(answers.get(member.number)))
        if idle and self._desk.on_idle is not None:
            self._desk.on_idle(entry.model, now_s)
        if idle:
            self._desk.room.decide(now_s)
        self._desk.decider.run_ended(entry.model, now_s)
        return now_s, Ran(answers.get(entry.number))

    def _again(self, batch: list[Waiting], now_s: float, runner: Waiting | None = None) -> Again | None:
        """Let all wait once more, where they have waited; alone, if their `runner` has run them in vain.

        Returns what the runner is told, who is not waiting to hear it.
        """
        self._desk.gpu.release()
        told = None
        for member in batch:
            self._allocator.withdraw(member.model.name)
        for member, entry in zip(batch, self._waiting.put_back(batch, runner is not None), strict=True):
            if member is runner:
                told = Again(entry)
            else:
                member.tell(Again(entry))
        self._desk.changed(now_s)
        return told

    def leave(self, entry: Waiting, now_s: float) -> None:
        """A request that waits for the end of its batch is cancelled."""
        assert entry.batch is not None
        entry.batch.remove(entry)
        self._desk.withdraw(entry.model.name, now_s)
