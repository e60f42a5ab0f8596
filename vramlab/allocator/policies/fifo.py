"""First loaded leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy


@mypyc_attr(allow_interpreted_subclasses=True)
class FIFO(Policy):
    """First loaded leaves first (Mattson et al., 1970); being used changes nothing."""

    in_order = True

    def __init__(self) -> None:
        self._order: OrderedDict[Model, None] = OrderedDict()

    def admitted(self, model: Model, now_s: float) -> None:
        self._order[model] = None

    def used(self, model: Model, now_s: float) -> None: ...

    def removed(self, model: Model, evicted: bool) -> None:
        del self._order[model]

    def score(self, model: Model, now_s: float) -> float:
        return model.loaded_at_s if model in self._order else now_s  # a newcomer's is now

    def ranked(self, now_s: float) -> Iterable[Model]:
        return self._order
