"""A combination of predictors, whose weights are learned online from what came of their forecasts.

The weighted mean of the experts' probabilities, with a weight per expert and horizon. After each outcome an
expert's weight is multiplied by the probability that it had given to it, to the power of `learning_rate`. A
small `share` of all weight is then divided evenly, so that an expert that was wrong for long recovers
quickly. At rate 1 this is Bayes' rule: the log loss stays within a known bound of the best sequence of
experts. Source: fixed share, M. Herbster and M. K. Warmuth, "Tracking the best expert", Machine Learning 32
(1998). Outcomes are known a horizon late; the update is made then, as in P. Joulani, A. György and C.
Szepesvári, "Online learning under delayed feedback", ICML 2013.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vramlab.config.errors import InputError
from vramlab.prediction.predictor import Predictor, require_positive

# No expert is taken to be surer than this when it is judged: one error must not cost it everything.
_LEAST_DOUBT = 1e-4


class _Forecast(NamedTuple):
    """What the experts said at `at_s` about `model`; the outcome is known at `due_s`."""

    due_s: float
    at_s: float
    model: str
    probabilities: list[float]


class _Weights:
    """Weights of the experts for one horizon, and the forecasts whose outcome is not known yet."""

    def __init__(self, horizon_s: float, n_experts: int) -> None:
        self.horizon_s = horizon_s
        self.weights = [1.0 / n_experts] * n_experts
        self.pending: deque[_Forecast] = deque()

    def learn(self, probabilities: Sequence[float], asked_for: bool, rate: float, share: float) -> None:
        """Update the weights after one outcome (fixed share)."""
        grown = [
            weight * (p if asked_for else 1.0 - p) ** rate
            for weight, p in zip(self.weights, probabilities, strict=True)
        ]
        total, even = sum(grown), share / len(grown)
        self.weights = [(1.0 - share) * weight / total + even for weight in grown]


_LONGEST_GAP = 2016  # a week of times of learning, at the default interval


class Combined:
    """Weighted mean of the probabilities of several predictors.

    It learns at fixed times, each `interval_s` from the start, so that quiet hours count as they should; at
    each, the experts are asked about the next `per_step` models in turn. Forecasts whose horizons overlap
    repeat one another. So each counts for the share of its horizon until its model's next turn. A horizon
    that is not learned has the weights of the nearest one, by ratio.

    Parameters
    ----------
    models : iterable of str
        Models to learn on from the start; others join when they are first asked for.
    experts : mapping of str to Predictor
        Name to fresh predictor; they are shown every request. At least one.
    horizons_s : sequence of float
        Horizons to learn for, seconds; the one that will be asked for does best alone.
    interval_s : float
        Seconds between two times of learning.
    per_step : int
        Models at each of them.
    learning_rate : float
        Power of the update; below 1 because models that are asked for together are no independent evidence.
    share : float
        Weight dealt out evenly at each update, as a part of all.
    start_s : float, optional
        Since when requests are shown; without it, since the first.
    """

    # These are the options that `predictor_options` may name.
    def __init__(
        self,
        models: Iterable[str],
        experts: Mapping[str, Predictor],
        *,
        horizons_s: Sequence[float] = (60.0, 600.0, 3600.0),
        interval_s: float = 300.0,
        per_step: int = 4,
        learning_rate: float = 0.3,
        share: float = 1e-3,
        start_s: float | None = None,
    ) -> None:
        require_positive("combined", interval_s=interval_s, per_step=per_step, learning_rate=learning_rate)
        if not experts or not horizons_s:
            raise InputError("predictor combined", "experts, horizons_s", "none", "at least one of each")
        for horizon_s in horizons_s:
            require_positive("combined", horizons_s=horizon_s)
        self._names = list(experts)
        self._experts = list(experts.values())
        self._weights = [_Weights(horizon_s, len(self._experts)) for horizon_s in sorted(set(horizons_s))]
        # up to where a learned horizon is the nearest
        self._bounds_s = [
            math.sqrt(low.horizon_s * high.horizon_s)
            for low, high in zip(self._weights, self._weights[1:], strict=False)
        ]
        self._bounds_s.append(math.inf)
        self._interval_s = interval_s
        self._per_step = per_step
        self._learning_rate = learning_rate
        self._share = share
        self._models = list(dict.fromkeys(models))
        self._last_s = dict.fromkeys(self._models, -math.inf)
        self._turn = 0
        self._next_s = None if start_s is None else start_s + interval_s

    def observe(self, model: str, now_s: float) -> None:
        """Learn from the outcomes known by now, then show the request to all experts."""
        if self._next_s is None:
            self._next_s = now_s + self._interval_s
        if self._next_s <= now_s:
            self._next_s = self._forecast(self._next_s, now_s)
        for weights in self._weights:
            if weights.pending and weights.pending[0].due_s <= now_s:
                self._judge(weights, now_s)
        if model not in self._last_s:
            self._models.append(model)
        self._last_s[model] = now_s
        for expert in self._experts:
            expert.observe(model, now_s)

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Return the probability of at least one request in the horizon.

        Where weights change from one learned horizon to the next, what the shorter promised stays promised.
        """
        most = 0.0
        for weights, bound_s in zip(self._weights, self._bounds_s, strict=True):
            covered_s = min(horizon_s, bound_s)
            mean = sum(
                weight * expert.probability(model, now_s, covered_s)
                for weight, expert in zip(weights.weights, self._experts, strict=True)
            )
            most = max(most, mean)
            if horizon_s <= bound_s:
                break
        return min(1.0, most)

    def weights(self, horizon_s: float) -> dict[str, float]:
        """Return the weight of each expert for a horizon; they add up to 1."""
        index = next(index for index, bound_s in enumerate(self._bounds_s) if horizon_s <= bound_s)
        return dict(zip(self._names, self._weights[index].weights, strict=True))

    def _forecast(self, at_s: float, now_s: float) -> float:
        """Let the experts forecast at the times of learning up to now; return the next one.

        Nothing was asked for since the last request that they saw: they say what they would have said then.
        Of a gap that is longer than :data:`_LONGEST_GAP` times of learning, the last ones are enough.
        """
        at_s += self._interval_s * max(0.0, (now_s - at_s) // self._interval_s - _LONGEST_GAP)
        while at_s <= now_s:
            for _ in range(min(self._per_step, len(self._models))):
                self._turn = (self._turn + 1) % len(self._models)
                model = self._models[self._turn]
                for weights in self._weights:
                    probabilities = [
                        min(
                            max(expert.probability(model, at_s, weights.horizon_s), _LEAST_DOUBT),
                            1.0 - _LEAST_DOUBT,
                        )
                        for expert in self._experts
                    ]
                    weights.pending.append(_Forecast(at_s + weights.horizon_s, at_s, model, probabilities))
            at_s += self._interval_s
        return at_s

    def _judge(self, weights: _Weights, now_s: float) -> None:
        turn_s = self._interval_s * max(1.0, len(self._models) / self._per_step)
        rate = self._learning_rate * min(1.0, turn_s / weights.horizon_s)
        pending = weights.pending
        while pending and pending[0].due_s <= now_s:
            forecast = pending.popleft()
            # requests shown so far are all before its due time, else it would have been judged earlier
            asked_for = self._last_s[forecast.model] >= forecast.at_s
            weights.learn(forecast.probabilities, asked_for, rate, self._share)
