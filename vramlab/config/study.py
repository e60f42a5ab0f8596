"""The ``study`` section: how runs are judged. It changes no run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from vramlab.config.fields import NonNegative, Section

# Tagged, so that an error names the key and not both kinds of value that might have stood there.
UnservedPrice = Annotated[
    Annotated[Literal["load", "infeasible"], Tag("[word]")] | Annotated[NonNegative, Tag("[seconds]")],
    Discriminator(lambda value: "[word]" if isinstance(value, str) else "[seconds]"),
]


class StudyConfig(Section):
    """What counts in comparisons, sweeps and tuning."""

    unserved_price: UnservedPrice = "load"
    """Cost of a request that was refused or failed: `load`, the model's load time and its run on top, as if
    it had to be fetched for this one request; a number of seconds; or `infeasible`, no setting is worth it.
    """
