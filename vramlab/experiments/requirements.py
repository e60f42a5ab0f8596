"""What a setting has to keep to: ``latency_p99_s<=2``, ``unserved=0``; constraints in Optuna's own form.

A constraint is a number that is at most 0 where it holds (:mod:`optuna.samplers`, ``constraints_func``). With
``study.unserved_price: infeasible`` nothing unserved is one by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vramlab.analysis.figures import FIGURES, objectives
from vramlab.config.errors import InputError, check_choice
from vramlab.config.schema import VramConfig

_FORM = re.compile(r"\s*(\w+)\s*(<=|>=|=)\s*([0-9.eE+-]+)\s*")


@dataclass(frozen=True)
class Requirement:
    """One figure and its limit; `sign` is 1 for at most, -1 for at least."""

    figure: str
    sign: float
    limit: float

    def excess(self, figures: Mapping[str, Any]) -> float:
        """Return by how much a run misses it: at most 0 where it holds, infinite where there is no figure."""
        value = figures.get(self.figure)
        return math.inf if value is None else self.sign * (float(value) - self.limit)

    def __str__(self) -> str:
        figure = FIGURES[self.figure]
        return f"{figure.name or figure.label} {'at most' if self.sign > 0 else 'at least'} {self.limit:g}"


def parse_requirement(text: str) -> Requirement:
    """Return a requirement of ``FIGURE<=NUMBER``, ``FIGURE>=NUMBER`` or ``FIGURE=0``.

    Raises
    ------
    InputError
        For anything else, and an unknown figure.
    """
    found = _FORM.fullmatch(text)
    try:
        limit = float(found[3]) if found else math.nan
    except ValueError:
        limit = math.nan
    if found is None or math.isnan(limit):
        raise InputError("--require", "", repr(text), "FIGURE<=NUMBER or FIGURE>=NUMBER, as latency_p99_s<=2")
    check_choice("--require", "", found[1], [*objectives(), "hits", "waits", "cache_hits"])
    if found[2] == "=" and limit:
        raise InputError("--require", found[1], f"= {limit:g}", "<= or >=, or = 0")
    return Requirement(found[1], -1.0 if found[2] == ">=" else 1.0, limit)


def requirements_of(texts: Sequence[str], config: VramConfig) -> tuple[Requirement, ...]:
    """Return the requirements of some texts, and the one that a configuration's price makes."""
    found = [parse_requirement(text) for text in texts]
    if config.study.unserved_price == "infeasible":
        found.append(Requirement("unserved", 1.0, 0.0))
    return tuple(dict.fromkeys(found))
