"""What sections of the YAML files are made of: numbers with bounds, priorities, the base of all sections."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 1e15
"""What sizes and times are below: more is a slip of the pen, and would be no finite number of bytes."""

NonNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
Interval = Annotated[float, Field(ge=0.001, le=LARGEST, allow_inf_nan=False)]
"""Seconds between two looks of a loop, which would have time for nothing else if they were none."""
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Threads = Annotated[int, Field(ge=1, le=1024)]


class Priority(StrEnum):
    """A model's or a request's priority, most important first (specification, "Model Priority Matrix")."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for critical up to 3 for low: a smaller rank is more important."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}

# Enumerations and sequences come out of YAML as text and lists: strictness is for numbers and switches.
PriorityField = Annotated[Priority, Field(strict=False)]


class Section(BaseModel):
    """Base of all sections: unknown keys and wrong types are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
