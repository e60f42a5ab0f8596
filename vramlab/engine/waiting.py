"""The requests that wait, in view of whoever decides who is served next. Plain data; decides nothing.

Rules that must hold:

1. A request waits from its arrival until it starts to run, goes elsewhere, or is cancelled; also while its
   model is being loaded.
2. Each has a place: when it is *due*, then its number. It is due after ``max_wait_s``, one of high priority
   after half of that, a critical one at once. So critical comes before high before the rest, but who has
   waited for ``max_wait_s`` is before all who come later: nobody starves.
3. Per model the requests stand in the order of their places, and in that of their *turns*: the time of
   arrival plus :data:`STRETCH` times that of the run. So short runs go first, but none waits much longer than
   in the order of coming, as measured by its own run (M. Bender et al., "Flow and stretch metrics for
   scheduling continuous job streams", SODA 1998).
4. The first of each model stands in one of three sorted lists: of models that are there, absent, or being
   loaded. Of those that are there, the one whose turn it is stands in another. What changes a model's state
   says so (:meth:`WaitingRequests.moved`).

So a step costs the same with ten or ten thousand waiting requests: a few searches in sorted lists.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, Final

from vramlab.allocator.facts import Model, Turn
from vramlab.allocator.states import ABSENT, EVICTING, IN_USE, RESIDENT
from vramlab.config.schema import Priority
from vramlab.engine.gates import Gate, Ready
from vramlab.engine.outcomes import HIT, Outcome

_PATIENCE: Final = {Priority.CRITICAL.rank: 0.0, Priority.HIGH.rank: 0.5}
"""Share of ``max_wait_s`` after which a request of a rank is due; the others after all of it."""

STRETCH: Final = 5.0
"""So many seconds later may one come that goes first, per second that its run is shorter."""

# For the hot path: what is not Final the compiler looks up.
_find: Final = bisect_left
_insert: Final = insort
_push: Final = heappush
_pop: Final = heappop


class Waiting:
    """One request that waits.

    Parameters
    ----------
    number : int
        Of the request.
    model : Model
        The account of the model that it needs.
    arrival_s : float
        When it came, seconds.
    rank : int
        Of its priority, 0 for critical.
    items : int
        Along the batch axis.
    run_s : float
        How long its run will take, as far as the inventory knows, seconds.

    Attributes
    ----------
    due_s : float
        From when on no request that comes later is served before it, seconds.
    batch : list of Waiting or None
        Those with whom it runs, where they are joined; the first runs for all.
    alone : bool
        Not to be joined: with others it has failed.
    """

    __slots__ = (
        "alone", "arrival_s", "batch", "cuts", "due_s", "gate", "gone", "items", "loads_before", "model",
        "number", "outcome", "passed_before", "place", "rank", "run_s", "told", "tries", "turn",
    )  # fmt: skip

    def __init__(
        self, number: int, model: Model, arrival_s: float, rank: int, items: int, run_s: float
    ) -> None:
        self.number, self.model, self.arrival_s = number, model, arrival_s
        self.rank, self.items, self.run_s = rank, items, run_s
        self.batch: list[Waiting] | None = None
        self.alone = False
        self.due_s: float  # from here on set when it enters
        self.place: Turn
        self.turn: Turn
        self.gate: Gate | None = None  # where its story waits, if it does
        self.outcome: Outcome = HIT  # what it will count as if it runs
        self.tries = 0  # loads that have failed it
        self.told: Any = None  # what became of it, until its story has heard of it
        self.cuts = 0  # for orders that count how often it was passed over as the first
        self.passed_before = self.loads_before = 0  # what had happened when it came
        self.gone = False

    def tell(self, what: Any) -> None:
        """Let its story go on with `what`."""
        self.told = what
        if self.gate is not None:
            self.gate.open(what)

    def __repr__(self) -> str:
        return f"<Waiting {self.number} for {self.model.name} since {self.arrival_s:g} s>"


class _OfModel:
    """The requests that wait for one model, by their places and by their turns."""

    __slots__ = ("by_place", "by_turn", "count", "listed", "model", "place", "turn")

    def __init__(self, model: Model) -> None:
        self.model = model
        self.by_place: list[tuple[float, float, Waiting]] = []  # flat, as a pair within a pair takes
        self.by_turn: list[tuple[float, float, Waiting]] = []  # twice as long to compare
        self.listed: _Listed | None = None  # where it stands, with this place and turn
        self.place: Turn
        self.turn: Turn
        self.count = 0

    @property
    def first(self) -> Waiting:
        return self.by_place[0][2]

    @property
    def next(self) -> Waiting:
        return self.by_turn[0][2]

    def add(self, entry: Waiting) -> bool:
        """Whether it is the first, or the next."""
        self.count += 1
        place, turn = entry.place, entry.turn
        _push(self.by_place, (place[0], place[1], entry))
        _push(self.by_turn, (turn[0], turn[1], entry))
        return self.first is entry or self.next is entry

    def drop_all_gone(self) -> None:
        """Drop all that are gone: one of them waits once more, at the same place."""
        for heap in (self.by_place, self.by_turn):
            heap[:] = [waits for waits in heap if not waits[2].gone]
            heapify(heap)

    def drop_gone(self) -> bool:
        """Whether the first or the next was the one that is gone; others are dropped at the front."""
        self.count -= 1
        dropped = False
        for heap in (self.by_place, self.by_turn):
            while heap and heap[0][2].gone:
                _pop(heap)
                dropped = True
        return dropped


_Listed = list[tuple[float, float, _OfModel]]
"""Models in order, each behind its place or turn."""


# Most go in last and come out first: a search among 20,000 is a fifth of what a load takes.


def _put(listed: _Listed, head: tuple[float, float, _OfModel]) -> None:
    if listed and head < listed[-1]:
        _insert(listed, head)
    else:
        listed.append(head)


def _take_out(listed: _Listed, group: _OfModel, where: Turn) -> None:
    listed.pop(0 if listed[0][2] is group else _find(listed, where))


class WaitingRequests:
    """All that wait, in the order of their coming: ``waiting[0]`` came first, ``waiting[-1]`` last.

    Parameters
    ----------
    ready : Ready
        Of the engine.
    max_wait_s : float
        After which a request is due.
    by_coming : bool
        Requests for one model have their turns in the order of coming, whatever their runs and priorities.

    Attributes
    ----------
    changes : int
        Goes up when another absent model may be loaded for, or a model that is idle is no longer wanted.
    """

    def __init__(self, ready: Ready, max_wait_s: float, by_coming: bool = False) -> None:
        self.entries: OrderedDict[int, Waiting] = OrderedDict()
        self.there: _Listed = []
        self.absent: _Listed = []
        self.coming: _Listed = []  # whose load is under way
        self.turns: _Listed = []  # of those that are there
        self._ready, self._max_wait_s, self._by_coming = ready, max_wait_s, by_coming
        self._of_model: dict[Model, _OfModel] = {}  # of all that anybody has waited for
        self.work_s = 0.0  # of all their runs
        self.changes = 0
        self._passed = 0  # starts, so far, of requests that were not the first by place

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self.entries.values())

    def __contains__(self, entry: object) -> bool:
        return isinstance(entry, Waiting) and self.entries.get(entry.number) is entry

    def __getitem__(self, index: int) -> Waiting:
        values = self.entries.values()
        found = islice(reversed(values), -index - 1, None) if index < 0 else islice(values, index, None)
        for entry in found:
            return entry
        raise IndexError(f"{len(self)} wait, there is no [{index}]")

    # -- what changes it ---------------------------------------------------------------------------------

    def enter(self, entry: Waiting) -> None:
        """A request begins to wait."""
        model = entry.model
        due_s = entry.due_s = entry.arrival_s + self._max_wait_s * _PATIENCE.get(entry.rank, 1.0)
        entry.place = due_s, entry.number
        # a request of higher priority has its turn as much earlier as it is due
        turn_s = entry.arrival_s if self._by_coming else due_s + STRETCH * entry.run_s
        entry.turn = turn_s, entry.number
        entry.passed_before = self._passed
        self.entries[entry.number] = entry
        self.work_s += entry.run_s
        group = self._of_model.get(model)
        if group is None:
            group = self._of_model[model] = _OfModel(model)
        if group.add(entry):
            self._place(group)

    def gate(self, entry: Waiting) -> Gate:
        """Where the story of a request waits until it is told what becomes of it."""
        gate = entry.gate = Gate(self._ready)
        return gate

    def put_back(self, entries: list[Waiting], alone: bool) -> list[Waiting]:
        """Requests that were served in vain wait once more, where they have waited.

        Returns what they wait as now.
        """
        again = []
        for old in entries:
            group = self._of_model.get(old.model)
            if group is not None:
                group.drop_all_gone()
            entry = Waiting(old.number, old.model, old.arrival_s, old.rank, old.items, old.run_s)
            self.enter(entry)
            entry.alone, entry.outcome, entry.tries = alone, old.outcome, old.tries
            entry.passed_before, entry.loads_before = old.passed_before, old.loads_before
            again.append(entry)
        in_order = sorted(self.entries.items())  # numbers are given in the order of coming
        self.entries.clear()
        self.entries.update(in_order)
        return again

    def leave(self, entry: Waiting) -> None:
        """A request waits no longer."""
        del self.entries[entry.number]
        self.work_s = self.work_s - entry.run_s if self.entries else 0.0  # rounding does not pile up
        entry.gone = True
        group = self._of_model[entry.model]
        if group.drop_gone():
            self._place(group)

    def start(self, entry: Waiting) -> None:
        """A request waits no longer, and those before it are passed over."""
        for listed in (self.there, self.absent, self.coming):
            if listed and listed[0][2].place < entry.place:
                self._passed += 1
                break
        self.leave(entry)

    def pass_all(self) -> None:
        """A request that has not waited runs before all who do."""
        self._passed += 1

    def moved(self, model: Model) -> None:
        """The state of `model` has changed, and somebody waits for it."""
        self._place(self._of_model[model])

    def _place(self, group: _OfModel) -> None:
        """Put a model where it belongs, after its state or its first request has changed."""
        model, state, before = group.model, group.model.state, group.listed
        if state is RESIDENT or state is IN_USE:
            listed = self.there
        elif state is ABSENT or state is EVICTING:
            listed = self.absent
        else:
            listed = self.coming
        if listed is self.absent or before is self.absent or (not group.by_place and state is RESIDENT):
            self.changes += 1
        if group.by_place:
            place, turn = group.first.place, group.next.turn
            if before is listed and place == group.place and turn == group.turn:
                return
        if before is not None:
            _take_out(before, group, group.place)
            if before is self.there:
                _take_out(self.turns, group, group.turn)
        if not group.by_place:
            group.listed = model.wanted = None
            return
        group.listed, group.place, group.turn = listed, place, turn
        _put(listed, (place[0], place[1], group))
        if listed is self.there:
            _put(self.turns, (turn[0], turn[1], group))
        model.wanted = place  # so that it is no victim for others

    # -- who they are ------------------------------------------------------------------------------------

    @property
    def first(self) -> Waiting | None:
        """The first by place; None where nobody waits."""
        heads = [listed[0] for listed in (self.there, self.absent, self.coming) if listed]
        return min(heads)[2].first if heads else None

    @property
    def ready(self) -> int:
        """How many wait for models that are there."""
        return sum(group.count for _, _, group in self.there)

    def first_of(self, model: Model) -> Waiting | None:
        """The first by place of those who wait for one model."""
        group = self._of_model.get(model)
        return group.first if group is not None and group.by_place else None

    def next_of(self, model: Model) -> Waiting | None:
        """The first by turn of those who wait for one model."""
        group = self._of_model.get(model)
        return group.next if group is not None and group.by_turn else None

    def first_due_beside(self, model: Model, now_s: float) -> Turn | None:
        """Place of the first who is due of those that could run but for a stream, and need other models."""
        for due_s, _, group in self.there[:2]:
            if group.model is not model:
                return group.place if due_s <= now_s else None
        return None

    def of(self, model: Model) -> list[Waiting]:
        """Those who wait for one model, by place."""
        group = self._of_model.get(model)
        return [] if group is None else [entry for _, _, entry in sorted(group.by_place) if not entry.gone]

    def count(self, model: Model) -> int:
        """How many wait for one model."""
        group = self._of_model.get(model)
        return 0 if group is None else group.count

    def skips(self, entry: Waiting) -> int:
        """How often others have been served before `entry`, at most, since it came."""
        return self._passed - entry.passed_before
