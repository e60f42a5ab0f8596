"""What all sections of the configuration are made of: their base, and kinds of numbers."""

from __future__ import annotations

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


class Section(BaseModel):
    """Base of all sections: unknown keys and wrong types are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
