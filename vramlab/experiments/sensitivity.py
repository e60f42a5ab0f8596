"""Does the winner hold if what was assumed is wrong? Sizes, load times and run times, up and down.

Inventories are often guessed. So both settings are replayed with every size, load time or run time changed by
a factor, and the difference is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.experiments.case import Case
from vramlab.experiments.intervals import Counted, cost_share
from vramlab.experiments.replay import run


@dataclass(frozen=True)
class Assumption:
    """One thing that may be wrong, and by which factor."""

    name: str
    keys: tuple[str, ...]
    factor: float

    def __str__(self) -> str:
        if self.factor in (0.7, 1.3):
            return f"{self.name} {100 * (self.factor - 1):+.0f} %"
        return f"{self.name} x{self.factor:g}"

    def applied(self, inventory: Inventory) -> Inventory:
        """Return the inventory as it would be."""
        return {name: self._changed(spec) for name, spec in inventory.items()}

    def _changed(self, spec: ModelSpec) -> ModelSpec:
        values = {key: getattr(spec, key) for key in self.keys}
        return spec.model_copy(
            update={key: value * self.factor for key, value in values.items() if value is not None}
        )


ASSUMPTIONS = (
    Assumption("sizes", ("vram_size_mb", "workspace_mb"), 0.7),
    Assumption("sizes", ("vram_size_mb", "workspace_mb"), 1.3),
    Assumption("load times", ("load_time_ms",), 0.5),
    Assumption("load times", ("load_time_ms",), 2.0),
    Assumption("run times", ("inference_ms", "cpu_inference_ms"), 0.5),
    Assumption("run times", ("inference_ms", "cpu_inference_ms"), 2.0),
)


def sensitivity(
    case: Case,
    winner: VramConfig,
    assumptions: Sequence[Assumption] = ASSUMPTIONS,
    done: Callable[[], object] | None = None,
) -> pd.DataFrame:
    """Hold a configuration against that of a case under other inventories.

    Parameters
    ----------
    case : Case
        Whose configuration is the other one.
    winner : VramConfig
        That is to hold.
    assumptions : sequence of Assumption
        What is changed, one at a time.
    done : callable, optional
        Called after each.

    Returns
    -------
    DataFrame
        ``assumption``, ``share`` (by how much the winner costs more), ``low``, ``high`` (95 %, paired) and
        ``verdict``: ``holds``, ``tie``, ``reversed``, or ``impossible`` where the models no longer go with
        one of the configurations, with ``why``.
    """
    rows: list[dict[str, Any]] = []
    for one in assumptions:
        rows.append({"assumption": str(one)} | _under(case, winner, one))
        if done is not None:
            done()
    return pd.DataFrame(rows)


def _under(case: Case, winner: VramConfig, assumption: Assumption) -> dict[str, Any]:
    try:
        other = replace(case, inventory=assumption.applied(case.inventory)).under(case.config)
        mine = replace(case, inventory=assumption.applied(case.inventory)).under(winner)
    except InputError as error:
        return {"share": None, "low": None, "high": None, "verdict": "impossible", "why": str(error)}
    found = cost_share(Counted(mine, run(mine).records), Counted(other, run(other).records), case.seed)
    return found | {"verdict": verdict_of(found), "why": ""}


def verdict_of(found: Mapping[str, float]) -> str:
    """Return whether a winner with these costs more or less holds."""
    if found["high"] < 0:
        return "holds"
    return "reversed" if found["low"] > 0 else "tie"


def sensitivity_text(table: pd.DataFrame) -> str:
    """Say for what the winner holds, and for what not."""
    by = {verdict: its["assumption"].tolist() for verdict, its in table.groupby("verdict", sort=False)}
    words = {"holds": "the winner holds for", "tie": "makes no difference that shows for",
             "reversed": "does not hold for", "impossible": "cannot be had for"}  # fmt: skip
    parts = [f"{words[verdict]} {', '.join(by[verdict])}" for verdict in words if verdict in by]
    return "; ".join(parts)
