"""Queue disciplines: least recently used, first in first out, least frequently used, and at random."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import numpy as np

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.runs import Run


class LRU(Policy):
    """Least recently used leaves first.

    Source: R. L. Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2),
    1970.

    Runs of hits only note the time of each last use. Whoever was used so stands behind all that were not,
    wherever it still is in the queue: it is taken out when it comes to the front, and once nobody is left,
    all are queued anew by their times.
    """

    in_order = True
    merges_uses = True

    def __init__(self) -> None:
        self._order: OrderedDict[Model, None] = OrderedDict()
        self._later: dict[Model, None] = {}  # taken out
        self._clock = 0  # of uses; 0 where there are no runs to look back on
        self._noted = np.empty(
            0, dtype=np.int64
        )  # last use by the model's number, 0 where the queue knows it

    def admitted(self, model: Model, now_s: float) -> None:
        """Append `model`."""
        self._order[model] = None
        if self._clock:
            self._clock += 1
            self._noted[model.number] = self._clock

    def used(self, model: Model, now_s: float) -> None:
        """Move `model` to the end."""
        if self._clock:
            self._queue_anew()
        self._order.move_to_end(model)

    def used_together(self, run: Run) -> None:
        """Note the last uses."""
        if not self._clock:
            self._noted = np.zeros(len(run.models), dtype=np.int64)
        first, self._clock = self._clock + 1, self._clock + len(run)
        self._noted[run.numbers] = np.arange(first, self._clock + 1)

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`."""
        if self._clock and model in self._later:
            del self._later[model]
        else:
            del self._order[model]

    def score(self, model: Model, now_s: float) -> float:
        """Time of last use, seconds."""
        return model.last_used_s

    def ranked(self, now_s: float) -> Iterable[Model]:
        """Tracked models, least recently used first."""
        if not self._clock:
            return self._order
        order, last_use = self._order, self._noted.item
        while order and last_use((first := next(iter(order))).number):
            del order[first]
            self._later[first] = None
        if not order:
            self._queue_anew()
            return order
        return self._looking_back()

    def _looking_back(self) -> Iterator[Model]:
        last_use = self._noted.item
        for model in self._order:
            if not last_use(model.number):
                yield model
        yield from self._used_in_runs()

    def _used_in_runs(self) -> list[Model]:
        """Models that the queue has not followed, the least recently used first."""
        last_use = self._noted.item
        used = [model for model in (*self._order, *self._later) if last_use(model.number)]
        return sorted(used, key=lambda model: last_use(model.number))

    def _queue_anew(self) -> None:
        for model in self._used_in_runs():
            self._order.pop(model, None)
            self._order[model] = None
        self._later.clear()
        self._clock = 0


class FIFO(LRU):
    """First loaded leaves first (Mattson et al., 1970)."""

    def used(self, model: Model, now_s: float) -> None:
        """Being used changes nothing."""

    def used_together(self, run: Run) -> None:
        """Nor does being used often."""

    def score(self, model: Model, now_s: float) -> float:
        """Time of loading, seconds; a newcomer's is now."""
        return model.loaded_at_s if model in self._order else now_s


class LFU(Policy):
    """Least often used since loading leaves first; of equals, the one that reached its count first.

    Source: A. V. Aho, P. J. Denning, J. D. Ullman, "Principles of optimal page replacement", JACM 18(1),
    1971. Models of one count stand in one bucket, in the order in which they came to it.
    """

    in_order = True
    merges_uses = True

    def __init__(self) -> None:
        self._buckets: dict[int, OrderedDict[Model, None]] = {}
        self._count: dict[Model, int] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        """Enter `model` with its first use; a preloaded one has none."""
        self._enter(model)

    def used(self, model: Model, now_s: float) -> None:
        """Move `model` to the bucket of its new count."""
        self._leave(model)
        self._enter(model)

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model` and its count."""
        self._leave(model)

    def score(self, model: Model, now_s: float) -> float:
        """Uses since loading; a newcomer's is 1."""
        return float(self._count.get(model, 1))

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Tracked models by count."""
        for count in sorted(self._buckets):
            yield from self._buckets[count]

    def _enter(self, model: Model) -> None:
        count = self._count[model] = model.uses
        bucket = self._buckets.get(count)
        if bucket is None:
            bucket = self._buckets[count] = OrderedDict()
        bucket[model] = None

    def _leave(self, model: Model) -> None:
        count = self._count.pop(model)
        bucket = self._buckets[count]
        del bucket[model]
        if not bucket:
            del self._buckets[count]


class Random(Policy):
    """Anybody leaves, each with the same probability: the yardstick that needs no bookkeeping.

    Each eviction draws a new number from the generator, and the order of leaving is a shuffle (Fisher and
    Yates, in Durstenfeld's form) that this number seeds: looking at the order changes nothing.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    """

    in_order = True
    merges_uses = True

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._draws: list[int] = []
        self._models: list[Model] = []
        self._place: dict[Model, int] = {}
        self._next()

    def admitted(self, model: Model, now_s: float) -> None:
        """Track `model`."""
        self._place[model] = len(self._models)
        self._models.append(model)

    def used(self, model: Model, now_s: float) -> None:
        """Being used changes nothing."""

    def used_together(self, run: Run) -> None:
        """Nor does being used often."""

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`: the last one takes its place."""
        place, last = self._place.pop(model), self._models.pop()
        if last is not model:
            self._models[place] = last
            self._place[last] = place
        self._next()

    def score(self, model: Model, now_s: float) -> float:
        """0 for all."""
        return 0.0

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Tracked models in the random order of this moment."""
        models, state = self._models, self._seed
        moved: dict[int, int] = {}  # the shuffle as far as it has gone, without copying the list
        count = len(models)
        for step in range(count):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64  # Knuth's MMIX generator
            other = step + (state >> 32) % (count - step)
            chosen = moved.get(other, other)
            moved[other] = moved.get(step, step)
            yield models[chosen]

    def _next(self) -> None:
        if not self._draws:
            self._draws = self._rng.integers(2**63, size=256).tolist()
        self._seed = self._draws.pop()
