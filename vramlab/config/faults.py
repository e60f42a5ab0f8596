"""The ``faults`` section of a scenario file: what goes wrong in a simulated run.

Times are seconds on the trace's clock. The first loads of a run, of what is always there, come before it and
are spared.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vramlab.config.errors import InputError, nearest
from vramlab.config.fields import Fraction, Positive, Section
from vramlab.config.units import mib_to_bytes

Time = Annotated[float, Field(allow_inf_nan=False)]


class Period(Section):
    """From ``from_s`` until ``until_s``."""

    from_s: Time
    until_s: Time

    @model_validator(mode="after")
    def _in_order(self) -> Period:
        if self.until_s <= self.from_s:
            raise ValueError("until_s after from_s")
        return self


class LoadFailures(Section):
    """Loads that fail, at their end: each with `probability`, or the first that begins from each ``at_s`` on.

    Only loads of `models` (any, if none is named) onto `target` count. With a probability, only those that
    begin from ``from_s`` until ``until_s`` do. `why` is what the engine is told.
    """

    probability: Fraction = 0
    at_s: tuple[Time, ...] = Field(default=(), strict=False)
    from_s: Time | None = None
    until_s: Time | None = None
    models: tuple[str, ...] = Field(default=(), strict=False)
    target: Literal["gpu", "cpu", "any"] = "gpu"
    why: Literal["corrupt", "out of memory", "timed out", "raised"] = "corrupt"

    @model_validator(mode="after")
    def _consistent(self) -> LoadFailures:
        if bool(self.probability) == bool(self.at_s):
            raise ValueError("either a probability above 0 or times at_s")
        if self.at_s and (self.from_s is not None or self.until_s is not None):
            raise ValueError("from_s and until_s with a probability only")
        if self.from_s is not None and self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError("until_s after from_s")
        return self


class RunFailures(Section):
    """Runs that fail: those of the requests of these numbers, counted from 0 in the order of the trace."""

    requests: tuple[Annotated[int, Field(ge=0)], ...] = Field(strict=False)


class DeviceShrinks(Period):
    """Others take ``by_mb`` of the device's memory, and give it back in the end."""

    by_mb: Positive

    @property
    def by_bytes(self) -> int:
        """What others take, in bytes."""
        return mib_to_bytes(self.by_mb)


class SlowDisk(Period):
    """Loads, onto either target, take `factor` times as long."""

    factor: Positive


class CpuStalls(Period):
    """CPU workers get nothing done: neither runs nor loads onto the CPU."""


class FaultPlan(Section):
    """All that goes wrong."""

    load_failures: tuple[LoadFailures, ...] = Field(default=(), strict=False)
    run_failures: RunFailures | None = None
    device_shrinks: tuple[DeviceShrinks, ...] = Field(default=(), strict=False)
    slow_disk: tuple[SlowDisk, ...] = Field(default=(), strict=False)
    cpu_stalls: tuple[CpuStalls, ...] = Field(default=(), strict=False)

    def __bool__(self) -> bool:
        return bool(
            self.load_failures
            or self.run_failures
            or self.device_shrinks
            or self.slow_disk
            or self.cpu_stalls
        )


def check_faults(plan: FaultPlan, inventory: Collection[str], source: str) -> None:
    """Check that the models that a plan names are there.

    Raises
    ------
    InputError
        Naming the key.
    """
    for number, failures in enumerate(plan.load_failures):
        for name in failures.models:
            if name not in inventory:
                expected = f"a model of the inventory{nearest(name, inventory)}"
                raise InputError(source, f"faults.load_failures.{number}.models", repr(name), expected)
