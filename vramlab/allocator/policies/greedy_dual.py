"""The greedy-dual family: a value is given at each use, on top of the value of the last one evicted.

What is not used keeps its value while the newcomers' rises, so that old fame ages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.policies.heap import Entry, ValueHeap
from vramlab.allocator.runs import Run


class GreedyDual(Policy):
    """Value = L + uses since loading x worth, where L is the value of the last one evicted.

    A model's L is that of its last use. A newcomer's is that after its victims have left, or, where it had
    to compete with them, the one that it did so with. Of equals, the least recently used leaves first.

    - ``gdsf``: worth = load time / size; ``gdsf_hits``: worth = 1 / size. Source: L. Cherkasova, "Improving
      WWW proxies performance with Greedy-Dual-Size-Frequency caching policy", HP Labs HPL-98-69R1 (1998).
    - ``lfu_da``: worth = 1 (LFU with dynamic aging). Source: M. Arlitt et al., "Evaluating content
      management techniques for web proxy caches", ACM SIGMETRICS Performance Evaluation Review 27(4), 2000.

    libCacheSim's GDSF inserts first and then evicts the lowest, be it the newcomer itself. With
    ``admission: compete`` the two are equal where all models have one size; at unequal sizes libCacheSim
    sometimes evicts others in vain before it drops the newcomer, which we never do.

    Values do not add up: each holds the L of its last use, which has nothing to do with the model and soon
    exceeds what has. Then the least sum is that of the fewest models, which are the large ones, dear to load.
    So ``victims: exact`` is refused (real trace, 24 GB: 140,805 s of loading against 77,814 s).

    Parameters
    ----------
    worth : callable
        ``worth(model) -> float``, constant for a model.
    """

    in_order = True
    merges_uses = True
    adds_up = False

    def __init__(self, worth: Callable[[Model], float]) -> None:
        self._worth = worth
        self._inflation = 0.0
        self._heap = ValueHeap()
        self._bid: float | None = None
        # What runs of hits have left to the heap to find out, by the model's number: clock, uses and L
        # of the last use.
        self._clock = self._uses = np.empty(0, dtype=np.int64)
        self._l = np.empty(0)

    def admitted(self, model: Model, now_s: float) -> None:
        """Value `model` at its first use; a preloaded one has none."""
        bid, self._bid = self._bid, None
        self._heap.put(model, self._value(model) if bid is None else bid)

    def used(self, model: Model, now_s: float) -> None:
        """Value `model` anew."""
        self._heap.put(model, self._value(model))

    def used_together(self, run: Run) -> None:
        """Note what the values would be made of: a value is only needed once the old one is the lowest."""
        heap, numbers = self._heap, run.numbers
        if heap.renewed is None:
            count = len(run.models)
            self._clock, self._uses = np.zeros((2, count), dtype=np.int64)
            self._l = np.zeros(count)
            heap.renewed = self._renewed
        clock = heap.skip(len(run))
        self._clock[numbers] = np.arange(clock + 1, clock + 1 + len(run))
        self._uses[numbers] = run.uses
        self._l[numbers] = self._inflation

    def _renewed(self, entry: Entry) -> Entry:
        model = entry[2]
        clock = self._clock.item(model.number)
        if clock <= entry[1]:
            return entry
        number = model.number
        return (self._l.item(number) + self._uses.item(number) * self._worth(model), clock, model)

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`; a victim's value becomes L."""
        value = self._heap.remove(model)
        if evicted and value > self._inflation:
            self._inflation = value

    def bid(self, model: Model, now_s: float) -> float:
        """Offer the value of a first use."""
        self._bid = self._value(model)
        return self._bid

    def rejected(self, model: Model, now_s: float) -> None:
        """Its value becomes L, as if it had been admitted and evicted at once."""
        self._bid = None
        self._inflation = max(self._inflation, self._value(model))

    def score(self, model: Model, now_s: float) -> float:
        """Value of `model`, or what it would be on admission."""
        value = self._heap.value(model)
        return self._value(model) if value is None else value

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Tracked models by value."""
        return self._heap.ascending()

    def _value(self, model: Model) -> float:
        return self._inflation + model.uses * self._worth(model)
