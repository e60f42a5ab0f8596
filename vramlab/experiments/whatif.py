"""I recorded this under A: what would B have been?

The recording calibrates the simulator (:mod:`vramlab.experiments.calibration`). A, as recorded, and every
alternative are simulated several times, and the recorded figures are shifted by what separates the two
(:mod:`vramlab.analysis.shifts`). How far A as simulated is from A as recorded stands beside that: it is what
the simulator gets wrong here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vramlab.allocator import Allocator
from vramlab.analysis.metrics import metrics
from vramlab.analysis.shifts import KEYS, Series, Shift, apart, series_of, shifts
from vramlab.config.differences import config_differences
from vramlab.config.errors import InputError
from vramlab.experiments.calibration import Calibration, calibrated_case
from vramlab.experiments.case import Case, names_of
from vramlab.experiments.draws import since
from vramlab.experiments.intervals import versus
from vramlab.experiments.replay import run as replay
from vramlab.experiments.side_by_side import card_text, on_card
from vramlab.experiments.split import FEWEST
from vramlab.runs.records import Records
from vramlab.runs.run_folder import RunFolder, read_run

DRAWS = 5
"""Simulations of each setting."""

_MOST_FAILED = 0.01
"""Share of requests that failed, beyond which the figures of the others say nothing."""


@dataclass(frozen=True, eq=False)
class Alternative:
    """Settings that were not recorded.

    Parameters
    ----------
    name : str
        For people.
    case : Case
        The recording's requests under them.
    settings : dict
        What differs from the recording's, by dotted key.
    """

    name: str
    case: Case
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Answer:
    """What an alternative would have come to; without a `shift`, `why` says what the recording lacks."""

    alternative: Alternative
    shift: Shift | None = None
    why: str = ""

    def document(self) -> dict[str, Any]:
        """Return its entry in ``vramlab whatif --json``."""
        row: dict[str, Any] = {"name": self.alternative.name, "settings": self.alternative.settings}
        if self.shift is None:
            return row | {"predicted": None, "difference": None, "simulated": None, "error": self.why}
        differences = {key: versus(one) for key, one in self.shift.differences.items()}
        row |= {"predicted": self.shift.predicted, "difference": differences}
        return row | {"simulated": self.shift.simulated, "error": None}


@dataclass(frozen=True, eq=False)
class WhatIf:
    """What :func:`what_if` found.

    Parameters
    ----------
    run : RunFolder
        The recording.
    recorded : dict
        Its figures, with the keys of ``vramlab replay --json``, without the warm-up.
    simulated : dict of str to float
        Those of :data:`vramlab.analysis.shifts.KEYS` as simulated under the same settings, means.
    answers : list of Answer
        One per alternative.
    calibration : Calibration
        Where the service times came from.
    warm_up_s : float
        Seconds at the start that are left out of all figures.
    draws, seed : int
        Simulations of each setting, and the seed of the first.
    drawn : dict of str to list of Series
        What they came to, request by request, by the names of the alternatives; ``recorded``: the settings as
        recorded.
    """

    run: RunFolder
    recorded: dict[str, Any]
    simulated: dict[str, float]
    answers: list[Answer]
    calibration: Calibration
    warm_up_s: float
    draws: int
    seed: int
    drawn: dict[str, list[Series]] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"WhatIf({self.run.path}, {len(self.answers)} alternatives)"

    def errors(self) -> dict[str, float]:
        """Return how far the settings as recorded are off when simulated; relative but for the hit rate."""
        return {key: apart(value, self.recorded[key], key) for key, value in self.simulated.items()}

    def frame(self) -> pd.DataFrame:
        """Return one row per alternative that has an answer: figures, and differences with their ends."""
        rows = []
        for one in self.answers:
            if one.shift is None:
                continue
            row: dict[str, Any] = {"alternative": one.alternative.name} | one.shift.predicted
            for key, found in one.shift.differences.items():
                ends = {"difference": found.estimate, "low": found.low, "high": found.high}
                row |= {f"{key}_{end}": value for end, value in ends.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def notes(self) -> list[str]:
        """Return what to know beside the figures, a sentence each."""
        failed, requests = self.recorded["failed"], self.recorded["requests"]
        found = [f"{failed:,} of {requests:,} requests failed: figures are of the others"] if failed else []
        lost = {
            name: float(np.mean([np.isnan(one.latency_s).mean() for one in drawn]))
            for name, drawn in self.drawn.items()
        }
        found += [
            f"{name}: {share:.1%} of the requests would get no answer (as recorded {lost['recorded']:.1%}); "
            "its latencies are of the others"
            for name, share in lost.items()
            if share > lost["recorded"] + 0.001
        ]
        return [*found, *self.calibration.caveats]

    def document(self) -> dict[str, Any]:
        """Return the keys of ``vramlab whatif --json``."""
        return {
            "recorded": self.recorded,
            "simulated": self.simulated,
            "error": self.errors(),
            "alternatives": [one.document() for one in self.answers],
            "warm_up_s": self.warm_up_s,
            "draws": self.draws,
            "seed": self.seed,
            "notes": self.notes(),
            "calibration": self.calibration.document(),
        }


def alternatives_of(
    case: Case,
    policies: Sequence[str] = (),
    orders: Sequence[str] = (),
    cards_mb: Sequence[float] = (),
    overrides: Sequence[str] = (),
) -> list[Alternative]:
    """Return every combination of policies, orders and cards, all with `overrides` on top.

    Parameters
    ----------
    case : Case
        As recorded.
    policies, orders : sequence of str
        Names as for ``scoring.policy`` and ``serving.order``; without them the recording's.
    cards_mb : sequence of float
        Sizes of the card; zones keep their shares (:func:`~vramlab.experiments.side_by_side.on_card`).
    overrides : sequence of str
        ``dotted.key=value`` changes.

    Raises
    ------
    InputError
        For a wrong name, key or size, and where nothing differs from the recording.
    """
    found = []
    named_policies: list[str | None] = [*names_of(policies)] or [None]
    named_orders: list[str | None] = [*names_of(orders)] or [None]
    cards: list[float | None] = [*cards_mb] or [None]
    for policy, order, card_mb in product(named_policies, named_orders, cards):
        named = {"scoring.policy": policy, "serving.order": order}
        changes = [*(f"{key}={value}" for key, value in named.items() if value), *overrides]
        other = case if card_mb is None else case.under(on_card(case.config, card_mb))
        other = other.changed(changes)
        settings = {key: new for key, _, new in config_differences(case.config, other.config)}
        if settings:
            Allocator(other.config, {})  # refuses a policy that there is none of
            words = [policy, order, *([] if card_mb is None else [card_text(card_mb)]), *overrides]
            found.append(Alternative(", ".join(word for word in words if word), other, settings))
    if not found:
        raise InputError(
            "whatif", "", "nothing that differs from the recording", "--policies, --orders, --memory or --set"
        )
    return found


# What is asked, and how: users name these by keyword.
def what_if(
    run: RunFolder | Path | str,
    alternatives: Callable[[Case], Sequence[Alternative]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    warm_up_s: float | None = None,
    done: Callable[[], object] | None = None,
) -> WhatIf:
    """Predict what alternatives would have come to from one recording.

    Parameters
    ----------
    run : RunFolder, Path or str
        The recording.
    alternatives : callable
        Makes them from the case of the recording (:func:`alternatives_of`, with the rest filled in).
    draws, seed : int
        Simulations of each setting, with this seed and the next ones.
    warm_up_s : float, optional
        Seconds at the start that count nowhere; by default as the recording's journal shows.
    done : callable, optional
        Called after each setting.

    Raises
    ------
    InputError
        For a folder that is no recording, one that this version's engine does not follow, one in which too
        much failed, and if no alternative could be answered.
    """
    if draws < 2:
        raise InputError("whatif", "draws", draws, "at least 2, which have a spread")
    run = run if isinstance(run, RunFolder) else read_run(run)
    recorded = recorded_in(run)
    case, calibration = calibrated_case(run, seed)
    asked, done = list(alternatives(case)), done or (lambda: None)
    cut_s = calibration.warm_up_s if warm_up_s is None else warm_up_s
    own = series_of(recorded, cut_s)
    if len(own) < FEWEST:
        found = f"{len(own):,} of {len(recorded):,} requests after {cut_s:.3g} s of warming up"
        raise InputError(run.path, "journal", found, f"at least {FEWEST}: a longer recording")
    base = _drawn(case, draws, cut_s)
    done()
    known: list[list[Series]] = []
    refused: dict[int, str] = {}
    for place, one in enumerate(asked):
        try:
            known.append(_drawn(one.case, draws, cut_s))
        except InputError as error:  # the recording has no time for something that it needs
            refused[place] = str(error)
            if len(refused) == len(asked):
                raise
        done()
    moved = iter(shifts(own, base, known, np.random.default_rng(seed)))
    answers = [
        Answer(one, why=refused[place]) if place in refused else Answer(one, next(moved))
        for place, one in enumerate(asked)
    ]
    figures = metrics(since(recorded, cut_s), run.config, run.inventory) | {
        "backend": run.environment.get("backend", "live"),
        "policy": run.config.scoring.policy,
        "order": run.config.serving.order,
    }
    simulated = np.mean([list(one.figures().values()) for one in base], axis=0).tolist()
    answered = [one.alternative.name for one in answers if one.shift is not None]
    return WhatIf(
        run, figures, dict(zip(KEYS, simulated, strict=True)), answers, calibration, cut_s, draws, seed,
        {"recorded": base} | dict(zip(answered, known, strict=True)),
    )  # fmt: skip


def recorded_in(run: RunFolder) -> Records:
    """Return what came of a recording's requests, as its journal says.

    Raises
    ------
    InputError
        If this version's engine does not come to the journal's decisions, or too many requests failed.
    """
    report = run.followed
    if report.differences:
        version = run.environment.get("vramlab", "another version")
        raise InputError(
            run.path, "journal", f"{report.differences[0]} (recorded with vramlab {version})",
            "a recording that this version follows: record it again",
        )  # fmt: skip
    failed = metrics(report.records, run.config, run.inventory)["failed"]
    if failed > _MOST_FAILED * len(report.records):
        found = f"{failed:,} of {len(report.records):,} requests that failed"
        raise InputError(run.path, "journal", found, f"at most {_MOST_FAILED:.0%}: `vramlab verify` says why")
    return report.records


def _drawn(case: Case, draws: int, cut_s: float) -> list[Series]:
    """Simulate a case with one seed after the other."""
    runs = (replay(replace(case, seed=case.seed + number)) for number in range(draws))
    return [series_of(one.records, cut_s) for one in runs]
