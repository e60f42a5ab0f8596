"""SIEVE: a queue in the order of admission, with a hand that spares who was used since it last came by."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy


@mypyc_attr(allow_interpreted_subclasses=True)
class Sieve(Policy):
    """The hand moves from old to new; who was used is spared once, the first who was not leaves.

    Source: Y. Zhang et al., "SIEVE is simpler than LRU: an efficient turn-key eviction algorithm for web
    caches", NSDI 2024. The queue stands in two parts, behind the hand and ahead of it; when nothing is
    ahead, the hand starts again at the oldest. Who may not leave (in use, retained) is passed over.
    """

    in_order = True

    def __init__(self) -> None:
        self._behind: OrderedDict[Model, None] = OrderedDict()
        self._ahead: OrderedDict[Model, None] = OrderedDict()
        self._visited: set[Model] = set()

    def admitted(self, model: Model, now_s: float) -> None:
        self._ahead[model] = None

    def used(self, model: Model, now_s: float) -> None:
        self._visited.add(model)

    def removed(self, model: Model, evicted: bool) -> None:
        if evicted:
            while True:
                passed = next(iter(self._ahead))
                if passed is model and model not in self._visited:
                    break
                self._visited.discard(passed)
                del self._ahead[passed]
                self._behind[passed] = None
                self._wrap()
        del (self._ahead if model in self._ahead else self._behind)[model]
        self._visited.discard(model)
        self._wrap()

    def score(self, model: Model, now_s: float) -> float:
        return float(model in self._visited)

    def ranked(self, now_s: float) -> Iterator[Model]:
        spared = []
        for model in chain(self._ahead, self._behind):
            if model in self._visited:
                spared.append(model)
            else:
                yield model
        yield from spared

    def _wrap(self) -> None:
        if not self._ahead:
            self._ahead, self._behind = self._behind, self._ahead
