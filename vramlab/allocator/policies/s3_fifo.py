"""S3-FIFO: a small queue on probation, a main queue, and a memory of who left the small one."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy

SMALL_PART = 10  # the small queue is to hold a tenth of the bytes
MOST_USES = 3  # a counter of two bits
PROMOTING_USES = 2  # so many uses on probation lead to the main queue


@mypyc_attr(allow_interpreted_subclasses=True)
class S3FIFO(Policy):
    """Newcomers start in a small FIFO; those not used there leave soon, the others move to the main FIFO.

    Source: J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023. Who left the small
    queue is remembered (as many bytes of models as the main queue's share) and comes back into the main one.
    In the main queue a use is worth one more round.

    What differs from libCacheSim's S3FIFO: the small queue's tenth is of the bytes that are resident, not of
    a cap (a zone has two caps, its own and the device's, and a device may shrink), so that the newcomers of
    an empty zone all start in the small queue, as in the paper, where libCacheSim fills it to a tenth first;
    and models larger than that tenth are admitted, where libCacheSim refuses to keep them.
    """

    in_order = True

    def __init__(self) -> None:
        self._small: OrderedDict[Model, None] = OrderedDict()
        self._main: OrderedDict[Model, None] = OrderedDict()
        self._uses: dict[Model, int] = {}
        self._small_bytes = self._main_bytes = 0
        self._ghosts: OrderedDict[Model, None] = OrderedDict()
        self._ghost_bytes = 0

    def admitted(self, model: Model, now_s: float) -> None:
        self._uses[model] = 0
        if model in self._ghosts:
            del self._ghosts[model]
            self._ghost_bytes -= model.bytes
            self._main[model] = None
            self._main_bytes += model.bytes
        else:
            self._small[model] = None
            self._small_bytes += model.bytes

    def used(self, model: Model, now_s: float) -> None:
        self._uses[model] = min(self._uses[model] + 1, MOST_USES)

    def removed(self, model: Model, evicted: bool) -> None:
        on_probation = model in self._small and self._uses[model] < PROMOTING_USES
        if evicted:
            self._advance_to(model)
        if model in self._small:
            del self._small[model]
            self._small_bytes -= model.bytes
            if evicted and on_probation:
                self._remember(model)
        else:
            del self._main[model]
            self._main_bytes -= model.bytes
        del self._uses[model]

    def score(self, model: Model, now_s: float) -> float:
        return float(self._uses.get(model, 0))

    def ranked(self, now_s: float) -> Iterator[Model]:
        return self._scan(deque(), set())

    def _scan(self, moved: deque[tuple[Model, int]], worn: set[Model]) -> Iterator[Model]:
        """Play the evictions without doing them.

        `moved` becomes the new end of the main queue: models promoted or sent round again, with the uses
        they have left; `worn` those whose uses were spent before they came up.
        """
        small, main = iter(self._small), iter(self._main)
        small_bytes, main_bytes = self._small_bytes, self._main_bytes
        while small_bytes or main_bytes:
            if main_bytes and SMALL_PART * small_bytes < small_bytes + main_bytes:
                model = next(main, None)
                if model is None:
                    model, uses = moved.popleft()
                else:
                    uses = self._uses[model]
                if uses:
                    moved.append((model, uses - 1))
                    worn.add(model)
                    continue
                main_bytes -= model.bytes
            else:
                model = next(small)
                small_bytes -= model.bytes
                uses = self._uses[model]
                if uses >= PROMOTING_USES:
                    moved.append((model, uses))
                    main_bytes += model.bytes
                    continue
            yield model

    def _advance_to(self, victim: Model) -> None:
        moved: deque[tuple[Model, int]] = deque()
        worn: set[Model] = set()
        for model in self._scan(moved, worn):
            if model is victim:
                break
        for model in worn:
            self._uses[model] = 0
        for model, uses in moved:
            self._uses[model] = uses
            if model in self._small:
                del self._small[model]
                self._small_bytes -= model.bytes
                self._main_bytes += model.bytes
                self._main[model] = None
            else:
                self._main.move_to_end(model)
        # who came up before the victim and may not leave keeps its place

    def _remember(self, model: Model) -> None:
        self._ghosts[model] = None
        self._ghost_bytes += model.bytes
        held = self._small_bytes + self._main_bytes + model.bytes
        while self._ghost_bytes * SMALL_PART > held * (SMALL_PART - 1) and self._ghosts:
            oldest, _ = self._ghosts.popitem(last=False)
            self._ghost_bytes -= oldest.bytes
