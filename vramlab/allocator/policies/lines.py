"""Few residents as lines, to find the lowest score in one quick pass.

A score ``value * 2 ** (fading * age) / (age + 1) ** recency`` is the lower the higher ``(age + 1) * slope``
is, with ``slope = (value * 2 ** (-fading * since)) ** (-1 / recency)``: what fades, fades for all alike and
leaves the order as it is (G. Cormode et al., "Forward decay", ICDE 2009). So between its uses a model is a
line, and the lowest score that of the highest line: three operations a model.

Rules that must hold:

1. Lines are ordered as their scores are. Where two are so close that rounding could tell otherwise, or so
   high that their scores may be too small for floats, the scores themselves decide.
2. A value that makes no line of common slope (0, or beyond all bounds) is refused: :meth:`Lines.put`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from vramlab.allocator.facts import Model

INFINITE: Final = math.inf
_CLOSE: Final = 1.0 - 1e-9  # rounding moves a height by less than a thousandth of that
_LEAST_RECENCY: Final = 1e-3  # below, scores that can be told apart are lines that can not
_MOST: Final = 1e150  # of value and score, and as little: their products and powers stay far from all bounds
_MOST_HALVINGS: Final = 400.0  # since the epoch, for the same reason


class Line:
    """A resident: its value, since when it ages, and what follows from both."""

    __slots__ = ("model", "number", "place", "since_s", "slope", "value")

    def __init__(self, model: Model, number: int, place: int) -> None:
        self.model = model
        self.number = number  # in the order of admission
        self.place = place  # in the list of all
        self.value = 1.0
        self.since_s = 0.0
        self.slope = 0.0


class Lines:
    """The residents of a zone, for scores of one kind.

    Parameters
    ----------
    recency, fading : float
        Of the score, see above.
    """

    def __init__(self, recency: float, fading: float) -> None:
        self.of: dict[Model, Line] = {}
        self._all: list[Line] = []
        self._admitted = 0
        self._recency, self._steepness = recency, fading / recency
        self._rate = max(abs(fading), abs(self._steepness))
        self._epoch_s = 0.0
        self._greatest: float = _MOST ** min(recency, 1.0)
        self._least = 1.0 / self._greatest
        self._most: float = _MOST ** (1.0 / max(recency, 1.0))

    def __len__(self) -> int:
        return len(self._all)

    def add(self, model: Model) -> None:
        """Take in `model`, as the last to be admitted."""
        self._admitted += 1
        line = self.of[model] = Line(model, self._admitted, len(self._all))
        self._all.append(line)

    def remove(self, model: Model) -> None:
        """Forget `model`."""
        line, last = self.of.pop(model), self._all.pop()
        if last is not line:
            self._all[line.place] = last
            last.place = line.place

    def in_order(self) -> list[Line]:
        """All lines, in the order of admission."""
        return sorted(self._all, key=_number)

    def put(self, model: Model, value: float, since_s: float) -> bool:
        """Set value and age of `model`. Returns whether that makes a line."""
        line = self.of[model]
        line.value, line.since_s = value, since_s
        return self._slopes(line)

    def look_at(self, now_s: float) -> bool:
        """Keep the epoch near the present. Returns whether all are lines still."""
        if (now_s - self._epoch_s) * self._rate <= _MOST_HALVINGS:
            return True
        self._epoch_s = now_s
        return all(self._slopes(line) for line in self._all)

    def highest(self, now_s: float, below: float) -> tuple[Line | None, float]:
        """Find the highest line lower than `below`, none if others are too close, and how high it is."""
        best = second = 0.0
        found: Line | None = None
        for line in self._all:
            height = (now_s - line.since_s + 1.0) * line.slope
            if second < height < below:
                if height > best:
                    second, best, found = best, height, line
                else:
                    second = height
        return (found if best < self._most and second < best * _CLOSE else None), best

    def close_to(self, height: float, now_s: float, below: float) -> tuple[list[Line], float]:
        """List lines too close to the highest one lower than `below`, by admission, and their least height.

        None where no height tells: if it is higher than any may be, or lies at 0.
        """
        close: list[Line] = []
        lowest = height
        while 0.0 < height < self._most:
            found: list[Line] = []
            least = lowest * _CLOSE
            for line in self._all:
                its_height = (now_s - line.since_s + 1.0) * line.slope
                if least <= its_height < below:
                    found.append(line)
                    lowest = min(lowest, its_height)
            if len(found) == len(close):
                return sorted(found, key=_number), lowest
            close = found
        return [], below

    def groups(self, now_s: float, below: float) -> Iterator[list[Line]]:
        """Lines that are lower than `below`, the highest first: groups of too close ones, by admission."""
        rest: list[tuple[float, int, Line]] = []
        for line in self._all:
            height = min((now_s - line.since_s + 1.0) * line.slope, self._most)
            if height < below:
                rest.append((-height, line.number, line))
        rest.sort()
        group: list[Line] = []
        before = 0.0
        for depth, _, line in rest:
            if group and -depth < before * _CLOSE:
                yield sorted(group, key=_number)
                group = []
            group.append(line)
            before = -depth
        if group:
            yield sorted(group, key=_number)

    def _slopes(self, line: Line) -> bool:
        value = line.value
        if value == INFINITE:
            line.slope = 0.0  # the last to leave, whatever its age
            return True
        halvings = (line.since_s - self._epoch_s) * self._rate
        if not (-_MOST_HALVINGS <= halvings <= _MOST_HALVINGS and self._least < value < self._greatest):
            return False
        slope = 1.0 / value if self._recency == 1.0 else math.pow(value, -1.0 / self._recency)
        if self._rate:
            slope *= math.pow(2.0, (line.since_s - self._epoch_s) * self._steepness)
        line.slope = slope
        return True


def are_lines(recency: float) -> bool:
    """Whether scores of such a `recency` can be told by their lines."""
    return recency >= _LEAST_RECENCY


def _number(line: Line) -> int:
    return line.number
