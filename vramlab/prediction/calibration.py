"""How good is a predictor? It walks through a trace, is asked at intervals, and is held to what came.

At time t a predictor was shown the requests before t and none since. The outcome of a forecast is whether
its model was asked for in ``[t, t + horizon)``; forecasts whose horizon reaches beyond the end are not made.

Scores: G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78
(1950); the log loss is the mean of ``-ln`` of the probability given to what came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vramlab.config.errors import InputError
from vramlab.prediction.predictor import Predictor

# A probability of 0 or 1 that is wrong would cost infinitely much; this much doubt is always assumed.
LEAST_DOUBT = 1e-6

Floats = NDArray[np.float64]
Texts = NDArray[np.object_]
Column = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts and what came of them, a column each; in order of time.

    Parameters
    ----------
    time_s : ndarray of float
        When the forecast was made, seconds of the trace.
    model : ndarray of str objects
        Whom it is about.
    horizon_s : ndarray of float
        How far it looks ahead.
    probability : ndarray of float
        Forecast probability of at least one request.
    outcome : ndarray of bool
        Whether there was one.
    """

    time_s: Floats
    model: Texts
    horizon_s: Floats
    probability: Floats
    outcome: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time_s)

    def columns(self) -> dict[str, Column]:
        """Name to column, for ``pandas.DataFrame(forecasts.columns())``."""
        return dict(vars(self))

    def where(self, rows: NDArray[np.bool_]) -> Forecasts:
        """Return the forecasts of the rows that are true."""
        return Forecasts(**{name: column[rows] for name, column in self.columns().items()})

    def with_probability(self, probability: Floats) -> Forecasts:
        """Return the same questions with other answers, such as :func:`running_base_rate`."""
        return Forecasts(**{**self.columns(), "probability": probability})

    @property
    def brier(self) -> float:
        """Mean squared error of the probabilities; 0 is perfect, a coin gets 0.25."""
        return float(np.mean((self.probability - self.outcome) ** 2))

    @property
    def log_loss(self) -> float:
        """Mean ``-ln`` of the probability given to the outcome, in nats."""
        given = np.where(self.outcome, self.probability, 1.0 - self.probability)
        return float(np.mean(-np.log(np.clip(given, LEAST_DOUBT, 1.0 - LEAST_DOUBT))))


# Users call it by keyword, in notebooks.
def walk(
    predictor: Predictor,
    times_s: Sequence[float] | Floats,
    models: Sequence[str] | Column,
    *,
    horizons_s: Sequence[float],
    interval_s: float,
    asked: Sequence[str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Forecasts:
    """Show `predictor` a trace and ask it every `interval_s`.

    Parameters
    ----------
    predictor : Predictor
        A fresh one; it is changed.
    times_s, models : sequence
        Requests in order of time (seconds) and the model of each, of equal length.
    horizons_s : sequence of float
        Horizons that it is asked for, seconds.
    interval_s : float
        Time between two evaluations, the first one `interval_s` after `start_s`.
    asked : sequence of str, optional
        Models that it is asked about; without it, all of the trace.
    start_s, end_s : float, optional
        From when it is asked (requests before are shown to it all the same), and until when outcomes are
        known; without them, the first and the last request.

    Returns
    -------
    Forecasts
        In order of time, then as `asked`, then as `horizons_s`.

    Raises
    ------
    InputError
        For times that go back, lengths that differ, or an interval or horizon that is not above 0.
    """
    times = np.asarray(times_s, dtype=np.float64)
    names = np.asarray(models, dtype=object)
    if len(times) != len(names) or not len(times):
        raise InputError(
            "walk", "models", f"{len(names)} for {len(times)} times", "one per time, at least one"
        )
    if np.any(np.diff(times) < 0):
        raise InputError("walk", "times_s", "times that go back", "times in order")
    for key, value in (("interval_s", interval_s), *(("horizons_s", horizon) for horizon in horizons_s)):
        if not value > 0:
            raise InputError("walk", key, value, "seconds above 0")
    first_s = float(times[0] if start_s is None else start_s)
    last_s = float(times[-1] if end_s is None else end_s)
    questions = list(dict.fromkeys(names)) if asked is None else list(asked)
    evaluations = first_s + interval_s * np.arange(1, int((last_s - first_s) / interval_s) + 1)
    evaluations = evaluations[evaluations + min(horizons_s) <= last_s]

    probabilities: list[float] = []
    shown, pairs = 0, list(zip(names.tolist(), times.tolist(), strict=True))
    for now_s, until in zip(evaluations.tolist(), np.searchsorted(times, evaluations).tolist(), strict=True):
        while shown < until:
            predictor.observe(*pairs[shown])
            shown += 1
        probabilities += [
            predictor.probability(model, now_s, horizon_s) for model in questions for horizon_s in horizons_s
        ]

    shape = len(evaluations), len(questions), len(horizons_s)
    outcomes = np.empty(shape, dtype=np.bool_)
    for column, model in enumerate(questions):
        of_model = times[names == model]
        next_index = np.searchsorted(of_model, evaluations, side="left")
        next_s = np.append(of_model, np.inf)[next_index]
        outcomes[:, column, :] = next_s[:, None] < evaluations[:, None] + np.asarray(horizons_s)[None, :]
    everything = Forecasts(
        time_s=np.broadcast_to(evaluations[:, None, None], shape).ravel(),
        model=np.broadcast_to(np.asarray(questions, dtype=object)[None, :, None], shape).ravel(),
        horizon_s=np.broadcast_to(np.asarray(horizons_s, dtype=np.float64), shape).ravel(),
        probability=np.asarray(probabilities, dtype=np.float64),
        outcome=outcomes.ravel(),
    )
    return everything.where(everything.time_s + everything.horizon_s <= last_s)


def running_base_rate(forecasts: Forecasts) -> Floats:
    """Return per forecast how often the same question had a yes before: what one knows without a predictor.

    The share of outcomes of the same model and horizon that were known by then, ``(yes + 0.5) / (n + 1)``.
    """
    rates = np.empty(len(forecasts))
    for rows in _groups(forecasts.model, forecasts.horizon_s):
        times, horizon_s = forecasts.time_s[rows], forecasts.horizon_s[rows][0]
        known = np.searchsorted(times + horizon_s, times, side="right")
        yes = np.concatenate(([0], np.cumsum(forecasts.outcome[rows])))
        rates[rows] = (yes[known] + 0.5) / (known + 1.0)
    return rates


def frequency(forecasts: Forecasts) -> Floats:
    """Return per forecast how often its model was asked for within its horizon, over all the time.

    It knows the future: the best constant there is for each model and horizon, not something to be had.
    """
    rates = np.empty(len(forecasts))
    for rows in _groups(forecasts.model, forecasts.horizon_s):
        rates[rows] = forecasts.outcome[rows].mean()
    return rates


def reliability(forecasts: Forecasts, bins: int = 10) -> dict[str, Column]:
    """Return the reliability table: of the forecasts that said about p, how many came true?

    Returns
    -------
    dict of ndarray
        Columns ``low`` and ``high`` (bounds of the bin; the last one contains 1), ``forecasts``,
        ``mean_probability`` and ``share_true``, a row for each of the bins of equal width that has forecasts.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, forecasts.probability, side="right") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    filled = counts > 0
    return {
        "low": edges[:-1][filled],
        "high": edges[1:][filled],
        "forecasts": counts[filled],
        "mean_probability": np.bincount(index, forecasts.probability, bins)[filled] / counts[filled],
        "share_true": np.bincount(index, forecasts.outcome, bins)[filled] / counts[filled],
    }


def scores(
    forecasts: Forecasts, by: Sequence[str] = ("horizon_s",), day_s: float = 86_400.0
) -> dict[str, Column]:
    """Return the table of scores, a row per group of forecasts, in order of the groups.

    Parameters
    ----------
    forecasts : Forecasts
        At least one.
    by : sequence of str
        Columns of the groups, out of ``horizon_s``, ``model`` and ``day`` (whole days of the trace's time).
    day_s : float
        Length of a day in seconds.

    Returns
    -------
    dict of ndarray
        The columns of `by`, then ``forecasts``, ``share_true``, ``brier``, ``log_loss``, and the two
        scores of :func:`running_base_rate` on the same forecasts, ``base_brier`` and ``base_log_loss``.

    Raises
    ------
    InputError
        For a column that there is not.
    """
    keys: dict[str, Callable[[], Column]] = {
        "horizon_s": lambda: forecasts.horizon_s,
        "model": lambda: forecasts.model,
        "day": lambda: (forecasts.time_s // day_s).astype(np.int64),
    }
    for name in by:
        if name not in keys:
            raise InputError("scores", "by", repr(name), f"out of {', '.join(keys)}")
    base = forecasts.with_probability(running_base_rate(forecasts))
    columns = [keys[name]() for name in by]
    rows = []
    for group in _groups(*columns) if columns else [np.arange(len(forecasts))]:
        mask = np.zeros(len(forecasts), dtype=np.bool_)
        mask[group] = True
        part, base_part = forecasts.where(mask), base.where(mask)
        rows.append(
            (
                *(column[group[0]] for column in columns),
                len(part),
                float(np.mean(part.outcome)),
                part.brier,
                part.log_loss,
                base_part.brier,
                base_part.log_loss,
            )
        )
    names = [*by, "forecasts", "share_true", "brier", "log_loss", "base_brier", "base_log_loss"]
    return {name: np.asarray(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _groups(*columns: Column) -> Iterator[NDArray[np.intp]]:
    """Return the rows of each combination of values, in order of the values."""
    codes = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, inverse = np.unique(column, return_inverse=True)
        codes = codes * len(values) + inverse
    order = np.argsort(codes, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
