"""Least recently used leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy


@mypyc_attr(allow_interpreted_subclasses=True)
class LRU(Policy):
    """Least recently used leaves first.

    Source: R. L. Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2),
    1970.
    """

    in_order = True

    def __init__(self) -> None:
        self._order: OrderedDict[Model, None] = OrderedDict()

    def admitted(self, model: Model, now_s: float) -> None:
        self._order[model] = None

    def used(self, model: Model, now_s: float) -> None:
        self._order.move_to_end(model)

    def removed(self, model: Model, evicted: bool) -> None:
        del self._order[model]

    def score(self, model: Model, now_s: float) -> float:
        return model.last_used_s

    def ranked(self, now_s: float) -> Iterable[Model]:
        return self._order
