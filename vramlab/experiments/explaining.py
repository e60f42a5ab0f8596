"""Why was it evicted? Each eviction of a model out of a journal: for whom, among which rivals, at what cost.

The journal is followed in lock-step, so the scores are those that the policy had then. What an eviction cost
is told by what came after it: the next load of the model, and how long requests for it waited for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vramlab.allocator import State
from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.engine import Engine
from vramlab.engine.journal import Line
from vramlab.runs.lockstep import Follower

_COLUMNS = [
    "time_s", "asked_by", "loaded", "why", "score", "lowest", "spared", "rivals", "back_s", "load_s",
    "waiters", "cost_s",
]  # fmt: skip
_IN_MEMORY = (State.RESIDENT, State.IN_USE)


class Rival(NamedTuple):
    """A model that was there too, and stayed."""

    model: str
    score: float
    state: str
    wanted: bool

    @property
    def free(self) -> bool:
        """Whether it could have left."""
        return self.state == State.RESIDENT.value and not self.wanted

    @property
    def why_it_stayed(self) -> str:
        """Why it did not leave though its score was lower."""
        if self.wanted:
            return "was waited for"
        return "would not have been enough" if self.free else "was in use"


@dataclass
class Eviction:
    """One eviction of the model that is asked about.

    Parameters
    ----------
    time_s : float
        When it was decided, seconds.
    asked_by : int or str
        Number of the request, or name of the engine's own story.
    loaded : str or None
        The model that was loaded in its place; None where it left for nobody.
    why : str
        What the journal says of it.
    score : float
        Of the model that left.
    rivals : list of Rival
        By score, the lowest first.
    back_s : float or None
        When it was there again, seconds; None where it never was.
    load_s : float
        How long that load took, seconds.
    waited_s : float
        What requests for it waited for that load, together, seconds.
    waiters : int
        How many those were.
    """

    time_s: float
    asked_by: int | str
    loaded: str | None
    why: str
    score: float
    rivals: list[Rival]
    back_s: float | None = None
    load_s: float = 0.0
    waited_s: float = 0.0
    waiters: int = 0

    @property
    def lowest(self) -> bool:
        """Whether no model that was idle and unwanted had a lower score."""
        return all(self.score <= rival.score for rival in self.rivals if rival.free)

    @property
    def spared(self) -> str:
        """Why rivals of a lower score stayed; empty where there are none."""
        lower = [rival for rival in self.rivals if rival.score < self.score]
        return ", ".join(f"{rival.model} {rival.why_it_stayed}" for rival in lower[:3])


@dataclass
class Explanation:
    """All evictions of one model, when it was there, and when it was asked for."""

    model: str
    policy: str
    evictions: list[Eviction] = field(default_factory=list)
    stays: list[tuple[float, float]] = field(default_factory=list)
    asked_s: list[float] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        """One row per eviction; ``cost_s`` is what requests waited for the load that it made necessary."""
        rows = [
            {
                "time_s": one.time_s,
                "asked_by": str(one.asked_by),
                "loaded": one.loaded,
                "why": one.why,
                "score": one.score,
                "lowest": one.lowest,
                "spared": one.spared,
                "rivals": ", ".join(f"{rival.model} {rival.score:.4g}" for rival in one.rivals[:3]),
                "back_s": one.back_s,
                "load_s": one.load_s,
                "waiters": one.waiters,
                "cost_s": one.waited_s,
            }
            for one in self.evictions
        ]
        return pd.DataFrame(rows, columns=_COLUMNS)


class _Watch:
    """Looks on while a journal is followed."""

    def __init__(self, model: str, policy: str) -> None:
        self.found = Explanation(model, policy)
        self._decided: tuple[int | str, str | None, str] | None = None
        self._waiting: dict[int | str, float] = {}  # requests for the model that have no answer: arrival
        self._there_since: float | None = None
        self._end_s = 0.0

    def __call__(self, made: list[Line], engine: Engine) -> None:
        name = self.found.model
        for line in made:
            self._end_s = line.time_s
            if line.event == "decision" and name in (line.detail or {}).get("victims", ()):
                self._evicted(line, engine, line.model, line.why or "its place was needed")
            elif line.event == "action" and line.model == name and str(line.what).startswith("unload: "):
                self._evicted(line, engine, None, f"{line.what}: {line.why}")
            elif line.event == "done":
                self._waiting.pop(line.task, None)
            elif line.model == name:
                self._about_it(line)

    def _about_it(self, line: Line) -> None:
        if line.event == "arrival":
            self.found.asked_s.append(line.time_s)
            self._waiting[line.task] = line.time_s
        elif line.event == "end" and str(line.what).startswith("load"):
            self._there_since = line.time_s
            last = self.found.evictions[-1] if self.found.evictions else None
            if last is not None and last.back_s is None:
                last.back_s, last.load_s = line.time_s, line.duration_s or 0.0
                waits = [line.time_s - arrival for arrival in self._waiting.values()]
                last.waited_s, last.waiters = sum(waits), len(waits)

    def _evicted(self, line: Line, engine: Engine, loaded: str | None, why: str) -> None:
        name, models = self.found.model, engine.allocator.models
        mine = models[name]
        rivals = [
            Rival(
                other.name,
                other.zone.policy.score(other, line.time_s),
                other.state.value,
                other.wanted is not None,
            )
            for other in models.values()
            if other.state in _IN_MEMORY and other is not mine and other.zone is mine.zone
        ]
        rivals.sort(key=lambda rival: rival.score)
        score = mine.zone.policy.score(mine, line.time_s)
        self.found.evictions.append(Eviction(line.time_s, line.task, loaded, why, score, rivals))
        self._left(line.time_s)

    def _left(self, now_s: float) -> None:
        if self._there_since is not None:
            self.found.stays.append((self._there_since, now_s))
            self._there_since = None

    def end(self) -> Explanation:
        """What was found, after the last line."""
        self._left(self._end_s)
        return self.found


def explain(lines: Sequence[Line], config: VramConfig, inventory: Inventory, model: str) -> Explanation:
    """Follow a journal and explain each eviction of a model.

    Parameters
    ----------
    lines : sequence of Line
        A journal, from its beginning.
    config, inventory
        Those of the run.
    model : str
        Whose evictions.

    Raises
    ------
    InputError
        For a model that the inventory lacks, and a journal that these settings did not write.
    """
    if model not in inventory:
        raise InputError("--model", "", repr(model), f"a model of the inventory{nearest(model, inventory)}")
    watch = _Watch(model, config.scoring.policy)
    follower = Follower(config, inventory, watch=watch)
    follower.follow(lines)
    if follower.difference is not None:
        expected = "the journal of a run with these settings (--config, --models, --set)"
        raise InputError("journal", "", str(follower.difference), expected)
    return watch.end()


def total_cost_s(found: Explanation) -> float:
    """What all evictions together cost later, seconds that requests waited."""
    return float(np.sum([one.waited_s for one in found.evictions]))


def document(found: Explanation) -> dict[str, Any]:
    """The keys of ``vramlab explain --json``."""
    evictions = [
        {
            "time_s": one.time_s, "asked_by": one.asked_by, "loaded": one.loaded, "why": one.why,
            "score": one.score, "lowest": one.lowest, "rivals": [rival._asdict() for rival in one.rivals],
            "back_s": one.back_s, "load_s": one.load_s, "waiters": one.waiters, "cost_s": one.waited_s,
        }
        for one in found.evictions
    ]  # fmt: skip
    return {
        "model": found.model, "policy": found.policy, "requests": len(found.asked_s), "evictions": evictions,
        "cost_s": total_cost_s(found),
    }  # fmt: skip
