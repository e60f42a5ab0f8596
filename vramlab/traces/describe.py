"""What a trace is like: rates, burstiness, popularity, reuse, working set, daily cycle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from vramlab.traces.reuse import hit_rates_by_models
from vramlab.traces.trace import Trace, check_times

DAY_S = 86_400.0
HOURS = 24

_WINDOWS = 60  # parts of the duration for which the working set is counted


@dataclass(frozen=True, eq=False)
class Description:
    """What :func:`describe` found.

    Parameters
    ----------
    source : str
        The trace.
    requests, models, requesters : int
        How many; `requesters` is 0 where the trace names none.
    duration_s : float
        From the first request to the last.
    rate_per_s, peak_rate_per_s : float
        Mean, and in the busiest of the windows of the working set; NaN where all come at once.
    burstiness : float
        Coefficient of variation of the times between requests; 1 is Poisson. NaN under three requests.
    dispersion : dict of float to float
        Window in seconds to the variance of the counts in such windows over their mean; 1 is Poisson.
    model_shares : dict of str to float
        Share of the requests, largest first.
    zipf_exponent : float
        Of the Zipf law that makes the counts most likely; 0 for one model.
    repeat : float
        Share of requests for the same model as the request before.
    lru_hit_rates : ndarray, shape (models,)
        Hit rate of a plain LRU that holds 1, 2, ... models: the distribution of reuse distances.
    working_set_s, working_set : ndarray, shape (60,)
        Starts of equal parts of the duration, in seconds, and different models asked for in each.
    working_set_requests : ndarray, shape (60,)
        Requests in each part.
    daily : ndarray, shape (24,)
        Rate per hour of the day over the mean, counted from time 0; NaN where the trace is under two days.
    items_mean : float
        Items per request.
    repeated_inputs : float
        Share of the requests whose model and ``input_key`` came before; NaN where the trace has no keys.
    """

    source: str
    requests: int
    models: int
    requesters: int
    duration_s: float
    rate_per_s: float
    peak_rate_per_s: float
    burstiness: float
    dispersion: dict[float, float]
    model_shares: dict[str, float]
    zipf_exponent: float
    repeat: float
    lru_hit_rates: np.ndarray
    working_set_s: np.ndarray
    working_set: np.ndarray
    working_set_requests: np.ndarray
    daily: np.ndarray
    items_mean: float
    repeated_inputs: float

    def table(self) -> pd.DataFrame:
        """Return rows for people: what, and its value as text."""
        shares = list(self.model_shares.values())
        lasts, part_s = self.duration_s > 0, self.duration_s / _WINDOWS
        rows = {
            "requests": f"{self.requests:,}",
            "models": f"{self.models:,}",
            "requesters": f"{self.requesters:,}" if self.requesters else "not given",
            "duration": _duration_text(self.duration_s),
            "mean rate": f"{self.rate_per_s:.4g} per second" if lasts else "all at once",
            **(
                {f"rate in the busiest {_duration_text(part_s)}": f"{self.peak_rate_per_s:.4g} per second"}
                if lasts
                else {}
            ),
            "burstiness (CV of times between requests)": (
                "-" if np.isnan(self.burstiness) else f"{self.burstiness:.3g}"
            ),
            **{
                f"variance over mean of counts per {_per(window)}": f"{value:.3g}"
                for window, value in self.dispersion.items()
            },
            "Zipf exponent of popularity": f"{self.zipf_exponent:.2f}",
            "share of the most requested model": f"{shares[0]:.1%}",
            "share of the ten most requested": f"{sum(shares[:10]):.1%}",
            "same model as the request before": f"{self.repeat:.1%}",
            **{
                f"hit rate of an LRU of {count} models": f"{self.lru_hit_rates[count - 1]:.1%}"
                for count in (1, 2, 4, 8, 16, 32, 64)
                if count <= self.models
            },
            **(
                {
                    f"models per {_per(part_s)}, mean and most": (
                        f"{self.working_set.mean():.1f}, {self.working_set.max()}"
                    )
                }
                if lasts
                else {}
            ),
            "busiest hour of the day over the mean": (
                "under two days" if np.isnan(self.daily).all() else f"{self.daily.max():.2f}"
            ),
            "items per request": f"{self.items_mean:.3g}",
            "requests whose input came before": (
                "not given" if np.isnan(self.repeated_inputs) else f"{self.repeated_inputs:.1%}"
            ),
        }
        return pd.DataFrame({"what": list(rows), "value": list(rows.values())})

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON; what is not a number there is None."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def _repr_html_(self) -> str:
        return self.table().to_html(index=False, header=False)


def describe(trace: Trace) -> Description:
    """Describe a trace of any size from one request on.

    Raises
    ------
    InputError
        For times that nothing can be reckoned with.
    """
    check_times(trace)
    times = trace.times_s - trace.times_s[0]
    duration_s = trace.duration_s
    counts = np.bincount(trace.model_codes)
    order = np.argsort(-counts, kind="stable")
    edges = np.linspace(0, duration_s, _WINDOWS + 1)
    window = np.minimum(np.searchsorted(edges, times, side="right") - 1, _WINDOWS - 1)
    per_window = np.bincount(window, minlength=_WINDOWS)
    pairs = np.unique(np.stack([window, trace.model_codes]), axis=1)
    spread = duration_s > 0
    return Description(
        source=trace.source,
        requests=len(trace),
        models=len(counts),
        requesters=_distinct(trace.requesters),
        duration_s=duration_s,
        rate_per_s=len(trace) / duration_s if spread else np.nan,
        peak_rate_per_s=float(per_window.max()) * _WINDOWS / duration_s if spread else np.nan,
        burstiness=burstiness_of(np.diff(times)),
        dispersion=_dispersion(times, duration_s),
        model_shares={trace.model_names[code]: float(counts[code] / len(trace)) for code in order},
        zipf_exponent=zipf_exponent(counts),
        repeat=float((np.diff(trace.model_codes) == 0).mean()) if len(trace) > 1 else 0.0,
        lru_hit_rates=hit_rates_by_models(trace.model_codes, len(counts)),
        working_set_s=edges[:-1] + trace.times_s[0],
        working_set=np.bincount(pairs[0], minlength=_WINDOWS),
        working_set_requests=per_window,
        daily=daily_cycle(times, duration_s),
        items_mean=float(trace.items.mean()),
        repeated_inputs=_repeated_inputs(trace),
    )


def burstiness_of(gaps: np.ndarray) -> float:
    """Return the coefficient of variation; NaN for fewer than two gaps, or where all are 0."""
    if len(gaps) < 2 or gaps.mean() == 0:
        return float("nan")
    return float(gaps.std() / gaps.mean())


def zipf_exponent(counts: np.ndarray) -> float:
    """Return the most likely exponent s of the Zipf law ``r ** -s`` over the ranks r of `counts`."""
    from scipy.optimize import minimize_scalar

    ranked = np.sort(counts[counts > 0])[::-1].astype(np.float64)
    if len(ranked) < 2:
        return 0.0
    logs = np.log(np.arange(1, len(ranked) + 1))

    def minus_log_likelihood(exponent: float) -> float:
        return float(exponent * (ranked @ logs) + ranked.sum() * np.log(np.exp(-exponent * logs).sum()))

    return float(minimize_scalar(minus_log_likelihood, bounds=(0, 10), method="bounded").x)


def daily_cycle(times_s: np.ndarray, duration_s: float) -> np.ndarray:
    """Return the rate in each hour of the day over the mean, from whole days only; NaN under two of them."""
    days = int(duration_s // DAY_S)
    if days < 2:
        return np.full(HOURS, np.nan)
    inside = times_s[times_s < days * DAY_S]
    hours = np.bincount((inside % DAY_S // 3600).astype(int), minlength=HOURS)
    return np.asarray(hours / hours.mean())


def _dispersion(times_s: np.ndarray, duration_s: float) -> dict[float, float]:
    found = {}
    for window_s in (1.0, 60.0, 3_600.0, DAY_S):
        windows = int(duration_s // window_s)
        # of fewer windows there is no variance to speak of, and of very many no need
        if 10 <= windows <= 20_000_000:
            counts = np.bincount((times_s // window_s).astype(np.int64), minlength=windows)[:windows]
            found[window_s] = float(counts.var() / counts.mean()) if counts.any() else float("nan")
    return found


def _distinct(texts: np.ndarray | None) -> int:
    return 0 if texts is None else int(pd.Series(texts).nunique())


def _repeated_inputs(trace: Trace) -> float:
    if trace.input_keys is None or pd.isna(trace.input_keys).all():
        return float("nan")
    pairs = pd.DataFrame({"model": trace.model_codes, "key": trace.input_keys}).dropna()
    return float(pairs.duplicated().sum() / len(trace))


def _duration_text(seconds: float) -> str:
    for unit, length_s in (("days", DAY_S), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.3g} {unit}"
    return f"{seconds:.3g} second{'' if seconds == 1 else 's'}"


def _per(seconds: float) -> str:
    """Return a length of time, after "per"."""
    return _duration_text(seconds).removeprefix("1 ")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value.tolist()]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
