"""Least often used leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy


@mypyc_attr(allow_interpreted_subclasses=True)
class LFU(Policy):
    """Least often used since loading leaves first; of equals, the one that reached its count first.

    Source: A. V. Aho, P. J. Denning, J. D. Ullman, "Principles of optimal page replacement", JACM 18(1),
    1971. Models of one count stand in one bucket, in the order in which they came to it.
    """

    in_order = True

    def __init__(self) -> None:
        self._buckets: dict[int, OrderedDict[Model, None]] = {}
        self._count: dict[Model, int] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        count = self._count[model] = model.uses  # a preloaded one has none
        self._buckets.setdefault(count, OrderedDict())[model] = None

    def used(self, model: Model, now_s: float) -> None:
        self.removed(model, False)
        self.admitted(model, now_s)

    def removed(self, model: Model, evicted: bool) -> None:
        count = self._count.pop(model)
        bucket = self._buckets[count]
        del bucket[model]
        if not bucket:
            del self._buckets[count]

    def score(self, model: Model, now_s: float) -> float:
        return float(self._count.get(model, 1))  # a newcomer's is 1

    def ranked(self, now_s: float) -> Iterator[Model]:
        for count in sorted(self._buckets):
            yield from self._buckets[count]
