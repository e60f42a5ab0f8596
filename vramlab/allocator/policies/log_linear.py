"""The score family of the specification; see :mod:`vramlab.allocator.scoring` for the formula."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.aged import AgedScore
from vramlab.allocator.scoring import Exponents, Numbers, aged, constant_factor


@mypyc_attr(allow_interpreted_subclasses=True)
class LogLinear(AgedScore):
    """Priority, size and load cost, times the uses, by age; each with an exponent.

    Options: the exponents ``priority``, ``frequency``, ``recency``, ``size`` and ``cost``.
    """

    def __init__(
        self,
        priority: float = 1.0,
        frequency: float = 1.0,
        recency: float = 1.0,
        size: float = 1.0,
        cost: float = 1.0,
    ) -> None:
        super().__init__()
        self._exponents = Exponents(priority, frequency, recency, size, cost)
        self._frequency = float(frequency)
        self._constants: dict[Model, float] = {}
        self.falls(recency)

    def value(self, model: Model) -> float:
        return self._weighted(model, model.uses_total + 1.0)  # all uses ever, plus one

    def grown(self, model: Model) -> None:
        self._constants.pop(model, None)  # its size is part of it

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        return aged(value, age_s, self._exponents.recency)

    def _weighted(self, model: Model, uses: float) -> float:
        constant = self._constants.get(model)
        if constant is None:
            constant = self._constants[model] = constant_factor(model, self._exponents)
        power: float = uses if self._frequency == 1.0 else uses**self._frequency
        return constant * power
