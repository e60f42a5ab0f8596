"""The greedy-dual family: a value is given at each use, on top of the value of the last one evicted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.policies.heap import ValueHeap


@mypyc_attr(allow_interpreted_subclasses=True)
class GreedyDual(Policy):
    """Value = L + uses since loading x worth, where L is the value of the last one evicted: old fame ages.

    A model's L is that of its last use; a newcomer's that after its victims have left, or, where it competed
    with them, the one that it did so with. Of equals, the least recently used leaves first. ``worth`` is
    load time / size in ``gdsf``, 1 / size in ``gdsf_hits``. Source: L. Cherkasova, "Improving WWW proxies
    performance with Greedy-Dual-Size-Frequency caching policy", HP Labs HPL-98-69R1 (1998). It is 1 in
    ``lfu_da``, LFU with dynamic aging: M. Arlitt et al., "Evaluating content management techniques for web
    proxy caches", ACM SIGMETRICS Performance Evaluation Review 27(4), 2000.
    """

    in_order = True
    # Each value holds the L of its last use, which soon exceeds what has to do with the model. The least sum
    # is that of the fewest models, the large ones (real trace, 24 GB: loads of 140,805 s against 77,814 s).
    adds_up = False

    def __init__(self, worth: Callable[[Model], float]) -> None:
        self._worth = worth
        self._inflation = 0.0
        self._heap = ValueHeap()
        self._bid: float | None = None

    def admitted(self, model: Model, now_s: float) -> None:
        bid, self._bid = self._bid, None
        self._heap.put(model, self._value(model) if bid is None else bid)

    def used(self, model: Model, now_s: float) -> None:
        self._heap.put(model, self._value(model))

    def removed(self, model: Model, evicted: bool) -> None:
        value = self._heap.remove(model)
        if evicted and value > self._inflation:
            self._inflation = value

    def bid(self, model: Model, now_s: float) -> float:
        self._bid = self._value(model)
        return self._bid

    def rejected(self, model: Model, now_s: float) -> None:
        self._bid = None  # as if it had been admitted and evicted at once
        self._inflation = max(self._inflation, self._value(model))

    def score(self, model: Model, now_s: float) -> float:
        value = self._heap.value(model)
        return self._value(model) if value is None else value

    def ranked(self, now_s: float) -> Iterator[Model]:
        return self._heap.ascending()

    def _value(self, model: Model) -> float:
        return self._inflation + model.uses * self._worth(model)
