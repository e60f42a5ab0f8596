"""Predictions from one recording beside the recordings themselves: errors, the world's spread, verdicts.

Each workload was recorded several times as it stands, and under alternatives
(:mod:`vramlab.experiments.fidelity`).
The first recording as it stands calibrates; from it alone the figures of all settings are predicted
(:mod:`vramlab.experiments.whatif`). The rules by which that is judged:

*Spread.* The largest distance between two recordings of one setting, over all settings of the workload: in
points for the hit rate, relative to the smaller for latencies. What the world itself does not repeat cannot
be predicted. An error of the setting as it stands is held against the spread of its own recordings alone.

*Within the spread.* An error no larger than it; anything else is *outside*.

*Differences.* Of each pair of settings whose recordings, on average, are further apart than the spread, the
predicted difference must have the right sign, and be within a third of the real one or within the spread.
Other pairs have *no difference that repeats*.

*Rank order.* Of one figure over all settings of a workload: right if each of those pairs has the right sign;
where no pair differs there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vramlab.analysis.shifts import KEYS, Series, apart, series_of
from vramlab.config.differences import config_differences
from vramlab.config.errors import InputError
from vramlab.experiments.case import Case
from vramlab.experiments.fidelity import AS_IT_STANDS, Take, takes_in
from vramlab.experiments.verification import Verification, verify
from vramlab.experiments.whatif import DRAWS, Alternative, WhatIf, what_if
from vramlab.runs.records import Records
from vramlab.runs.run_folder import RunFolder, read_run

WITHIN, OUTSIDE, NO_REPEATS = "within the spread", "outside", "no repeats to tell"
NO_DIFFERENCE, NO_ANSWER = "no difference that repeats", "no answer"

_THIRD = 1 / 3
_PER_REQUEST = ("other_outcome", "latency_off_s")


@dataclass(frozen=True, eq=False)
class Recorded:
    """One recording, and what its journal came to."""

    take: Take
    run: RunFolder
    records: Records
    decisions: int
    differences: int

    def series(self, requests: int) -> Series:
        """Return hits and latencies of its last `requests`: counted, as live arrivals jitter by some ms."""
        whole = series_of(self.records)
        return Series(whole.hit[-requests:], whole.latency_s[-requests:])


@dataclass(frozen=True, eq=False)
class Judged:
    """One workload: its recordings, and what was predicted from the first.

    Parameters
    ----------
    name : str
        Of the workload.
    recordings : dict of str to list of Recorded
        By setting, :data:`~vramlab.experiments.fidelity.AS_IT_STANDS` first.
    verification : Verification
        Of the first recording, by itself.
    found : WhatIf
        The prediction of the alternatives, and the simulation of the settings as they stand.
    """

    name: str
    recordings: dict[str, list[Recorded]]
    verification: Verification
    found: WhatIf

    @property
    def warm_up_s(self) -> float:
        """What is left out at the start of all recordings."""
        return self.found.warm_up_s

    @property
    def requests(self) -> int:
        """How many come after the warm-up, in each recording."""
        return len(self.found.drawn["recorded"][0])

    @cached_property
    def live(self) -> dict[str, list[dict[str, float]]]:
        """Return the figures of every recording, by setting."""
        return {
            setting: [one.series(self.requests).figures() for one in each]
            for setting, each in self.recordings.items()
        }

    def latencies_s(self) -> dict[str, dict[str, Any]]:
        """Return the latencies of every recording, and of one simulation, by setting and what it is."""
        found: dict[str, dict[str, Any]] = {}
        for setting, each in self.recordings.items():
            found[setting] = {f"live {one.take.number}": one.series(self.requests).latency_s for one in each}
            for one in self.found.drawn.get(setting, [])[:1]:
                found[setting]["simulated"] = one.latency_s
        return found

    def spread(self, key: str, setting: str | None = None) -> float | None:
        """Return the spread of a figure, of all settings or one; None where nothing was recorded twice."""
        apart = [
            _range([one[key] for one in each], key)
            for name, each in self.live.items()
            if len(each) > 1 and setting in (None, name)
        ]
        return max(apart) if apart else None


def read_recordings(
    runs: Path, announce: Callable[[str], object] = print
) -> dict[str, dict[str, list[Recorded]]]:
    """Read all recordings below `runs` and follow each journal, by workload and setting.

    Raises
    ------
    InputError
        As :func:`~vramlab.runs.run_folder.read_run`, and for a workload that was not recorded as it stands.
    """
    found: dict[str, dict[str, list[Recorded]]] = {}
    for take in takes_in(runs):
        announce(f"following {take.folder}")
        run = read_run(runs / take.folder)
        report = run.followed
        one = Recorded(take, run, report.records, report.decisions, len(report.differences))
        found.setdefault(take.workload, {AS_IT_STANDS: []}).setdefault(take.setting, []).append(one)
    for workload, by_setting in found.items():
        if not by_setting[AS_IT_STANDS]:
            raise InputError(runs / workload, "", "alternatives alone", f"{AS_IT_STANDS}-1 beside them")
    return found


def judge(name: str, recordings: dict[str, list[Recorded]], draws: int = DRAWS, seed: int = 0) -> Judged:
    """Predict from a workload's first recording, and verify it by itself."""
    first = recordings[AS_IT_STANDS][0].run
    others = {setting: each for setting, each in recordings.items() if setting != AS_IT_STANDS and each}
    lengths = {len(one.records) for each in recordings.values() for one in each}
    if len(lengths) > 1:
        counted = " and ".join(map(str, sorted(lengths)))
        raise InputError(
            name, "", f"recordings of {counted} requests", "the same requests in all: record anew"
        )

    def alternatives(case: Case) -> list[Alternative]:
        made = []
        for setting, each in others.items():
            other = case.under(each[0].run.config)
            changes = {key: new for key, _, new in config_differences(case.config, other.config)}
            made.append(Alternative(setting, other, changes))
        return made

    found = what_if(first, alternatives, draws=draws, seed=seed)
    return Judged(name, recordings, verify(first, seed), found)


# -- figures ------------------------------------------------------------------------------------------


def figure_rows(judged: Judged) -> list[dict[str, Any]]:
    """Return one row per setting and figure: live, spread, simulated, predicted, errors, verdict.

    The error judged is that of the prediction; of the setting as it stands, which the recorded figures are
    of, that of the simulation.
    """
    rows = []
    for setting, each in judged.live.items():
        simulated, predicted = _said(judged, setting)
        for key in KEYS:
            live = float(np.mean([one[key] for one in each]))
            spread = judged.spread(key, AS_IT_STANDS if setting == AS_IT_STANDS else None)
            errors = {
                word: None if said is None else apart(said[key], live, key)
                for word, said in (("simulated", simulated), ("predicted", predicted))
            }
            error = errors["simulated"] if setting == AS_IT_STANDS else errors["predicted"]
            row: dict[str, Any] = {"workload": judged.name, "setting": setting, "figure": key}
            row |= {"recordings": len(each), "live": live, "spread": spread}
            row |= {
                "simulated": None if simulated is None else simulated[key],
                "predicted": None if predicted is None else predicted[key],
                "simulated_error": errors["simulated"],
                "predicted_error": errors["predicted"],
                "verdict": _verdict(error, spread),
            }
            rows.append(row)
    return rows


def _said(judged: Judged, setting: str) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """What was simulated, and what predicted; None where there is no answer."""
    if setting == AS_IT_STANDS:
        return judged.found.simulated, None
    shift = next(one.shift for one in judged.found.answers if one.alternative.name == setting)
    return (None, None) if shift is None else (shift.simulated, shift.predicted)


def _verdict(error: float | None, spread: float | None) -> str:
    if error is None:
        return NO_ANSWER
    if spread is None:
        return NO_REPEATS
    return WITHIN if abs(error) <= spread else OUTSIDE


def _range(values: Sequence[float], key: str) -> float:
    return apart(max(values), min(values), key)


# -- requests ---------------------------------------------------------------------------------------------


def request_rows(judged: Judged) -> list[dict[str, Any]]:
    """Return one row per setting: how far single requests are off, and how far two recordings are apart.

    ``other_outcome`` is the share of requests that were a hit in one and none in the other;
    ``latency_off_s`` the median distance of their latencies.
    """
    rows = []
    for setting, each in judged.recordings.items():
        live = [one.series(judged.requests) for one in each]
        simulated = judged.found.drawn.get(setting, [])
        between = [_distance(one, other) for one, other in combinations(live, 2)]
        off = [_distance(one, other) for one in simulated for other in live]
        row: dict[str, Any] = {"workload": judged.name, "setting": setting}
        for place, key in enumerate(_PER_REQUEST):
            row[f"{key}_simulated"] = _mean_of(off, place)
            row[f"{key}_between_recordings"] = _mean_of(between, place)
        rows.append(row)
    return rows


def _distance(one: Series, other: Series) -> tuple[float, float]:
    both = ~np.isnan(one.hit) & ~np.isnan(other.hit)
    return (
        float((one.hit[both] != other.hit[both]).mean()),
        float(np.nanmedian(np.abs(one.latency_s - other.latency_s))),
    )


def _mean_of(pairs: Sequence[tuple[float, float]], place: int) -> float | None:
    return float(np.mean([pair[place] for pair in pairs])) if pairs else None


# -- differences --------------------------------------------------------------------------------------------


class _Pair(NamedTuple):
    first: str
    second: str


def pair_rows(judged: Judged) -> list[dict[str, Any]]:
    """Return one row per pair of settings and figure: real and predicted difference, and the verdict."""
    live = {
        setting: {key: float(np.mean([one[key] for one in each])) for key in KEYS}
        for setting, each in judged.live.items()
    }
    first = judged.live[AS_IT_STANDS][0]
    predicted = {AS_IT_STANDS: first} | {
        one.alternative.name: one.shift.predicted for one in judged.found.answers if one.shift is not None
    }
    ends = {
        one.alternative.name: one.shift.differences for one in judged.found.answers if one.shift is not None
    }
    rows = []
    for pair in (_Pair(*names) for names in combinations(live, 2)):
        answered = pair.first in predicted and pair.second in predicted
        for key in KEYS:
            real = apart(live[pair.second][key], live[pair.first][key], key)
            said = float("nan")
            if answered:
                said = apart(predicted[pair.second][key], predicted[pair.first][key], key)
            spread = judged.spread(key)
            if spread is not None and key != "hit_rate":
                spread *= min(1.0, 1.0 + real)  # a spread is a share of the smaller of two
            row: dict[str, Any] = {"workload": judged.name, "first": pair.first, "second": pair.second}
            row |= {"figure": key, "real": real, "predicted": said, "low": None, "high": None}
            row |= difference_verdict(real, said, spread)
            if row["repeats"] and not answered:
                row["verdict"] = NO_ANSWER
            if answered and pair.first == AS_IT_STANDS:
                scale = 1.0 if key == "hit_rate" else first[key] or float("nan")
                its = ends[pair.second][key]
                row |= {"low": its.low / scale, "high": its.high / scale}
            rows.append(row)
    return rows


def difference_verdict(real: float, predicted: float, spread: float | None) -> dict[str, Any]:
    """Judge a predicted difference by the module's rule.

    Returns
    -------
    dict
        ``spread``; ``repeats``: whether the real one is larger than it; ``sign_right`` and ``size_right``,
        None where it is not; ``verdict`` in words.
    """
    row: dict[str, Any] = {"spread": spread, "repeats": None, "sign_right": None, "size_right": None}
    if spread is None:
        return row | {"verdict": NO_REPEATS}
    row["repeats"] = abs(real) > spread
    if not row["repeats"]:
        return row | {"verdict": NO_DIFFERENCE}
    row["sign_right"] = real * predicted > 0
    row["size_right"] = abs(predicted - real) <= max(_THIRD * abs(real), spread)
    words = "right" if row["size_right"] else "sign right, size off"
    return row | {"verdict": words if row["sign_right"] else "wrong sign"}


def rank_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per workload and figure: whether its rank order is right; none where no pair differs."""
    rows = []
    for (workload, figure), its in pairs.groupby(["workload", "figure"], sort=False):
        differ = its[its.repeats == True]  # noqa: E712  (None where nothing was repeated)
        if not len(differ):
            continue  # no order to be right or wrong about
        right = bool((differ.sign_right == True).all())  # noqa: E712
        rows.append({"workload": workload, "figure": figure, "pairs": len(differ), "rank_right": right})
    return pd.DataFrame(rows)


def counts(pairs: pd.DataFrame) -> dict[str, int]:
    """Count what the verdicts of all pairs come to."""
    differ = pairs[pairs.repeats == True]  # noqa: E712
    ranks = rank_rows(pairs)
    told = pairs[pairs.low.notna()]
    return {
        "pairs": len(pairs),
        "pairs_that_differ": len(differ),
        "sign_right": int((differ.sign_right == True).sum()),  # noqa: E712
        "size_right": int((differ.size_right == True).sum()),  # noqa: E712
        "ranks": len(ranks),
        "ranks_right": int(ranks.rank_right.sum()) if len(ranks) else 0,
        "intervals": len(told),
        "intervals_that_hold_the_real": int(((told.low <= told.real) & (told.real <= told.high)).sum()),
    }


def frames(judged: Sequence[Judged]) -> Mapping[str, pd.DataFrame]:
    """Return the tables of all workloads by name: ``figures``, ``requests``, ``pairs``."""
    return {
        "figures": pd.DataFrame([row for one in judged for row in figure_rows(one)]),
        "requests": pd.DataFrame([row for one in judged for row in request_rows(one)]),
        "pairs": pd.DataFrame([row for one in judged for row in pair_rows(one)]),
    }
