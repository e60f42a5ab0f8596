"""Rolling origin: the same tuning at several moments, each judged on what came right after it.

One boundary may be lucky. With several, each part of the trace but the first judges what was found before it
(R. J. Hyndman and G. Athanasopoulos, "Forecasting: Principles and Practice", 5.10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from vramlab.config.errors import InputError
from vramlab.experiments.case import Case
from vramlab.experiments.trials import Search
from vramlab.experiments.tuning import tuned

_FIRST = 0.4  # share of the requests before the first boundary


def rolling(
    case: Case, search: Search, folds: int, done: Callable[[], object] | None = None
) -> list[dict[str, Any]]:
    """Tune before each of several boundaries, and judge until the next.

    Parameters
    ----------
    case : Case
        Whose trace is cut.
    search : Search
        As for :func:`~vramlab.experiments.tuning.tuned`; its boundary is not used.
    folds : int
        Number of boundaries, evenly between 40 % of the requests and the last.
    done : callable, optional
        Called after each trial.

    Returns
    -------
    list of dict
        Per boundary ``from_s``, ``requests`` (that judge), ``best`` (settings), ``policy`` and ``share`` with
        ``low`` and ``high``: by how much the adopted setting costs more than what tuning began with there.

    Raises
    ------
    InputError
        For fewer than two boundaries, and as :func:`~vramlab.experiments.tuning.tuned`.
    """
    if folds < 2:
        raise InputError("--rolling", "", folds, "at least 2 boundaries")
    requests = len(case.trace)
    cuts = [round(requests * (_FIRST + (1 - _FIRST) * step / folds)) for step in range(folds + 1)]
    found = []
    for first, last in pairwise(cuts):
        part = replace(case, trace=case.trace.head(last))
        result = tuned(part, replace(search, validate_from=first / last), done)
        found.append(
            {
                "from_s": result.validation["from_s"],
                "requests": result.validation["requests"],
                "policy": result.config.scoring.policy,
                "best": result.best,
            }
            | {key: result.validation["versus_before"][key] for key in ("share", "low", "high")}
        )
    return found


def rolling_text(found: Sequence[dict[str, Any]]) -> str:
    """Say how often tuning paid."""
    better = sum(one["high"] < 0 for one in found)
    worse = sum(one["low"] > 0 for one in found)
    policies = sorted({one["policy"] for one in found})
    return (
        f"at {len(found)} boundaries the tuned setting was better {better} times, worse {worse} times, and "
        f"a tie {len(found) - better - worse} times; adopted policies: {', '.join(policies)}"
    )
