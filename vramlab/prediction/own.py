"""A user's predictor at work: what it raises, and probabilities that are none, become one clear error."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from pathlib import Path
from traceback import extract_tb

from vramlab.config.errors import InputError
from vramlab.prediction.predictor import Predictor


class PredictorError(InputError):
    """A predictor raised, or gave what is no probability; names predictor and model."""


class Watched:
    """A predictor that can do no harm but to its own predictions.

    Parameters
    ----------
    own : Predictor
        That may raise.
    name : str
        What messages call it.
    report : callable, optional
        Told of what it does wrong; then a request it failed to hear of is none, and a model that it cannot
        tell the probability of is not going to be used. By default the error is raised, which ends a replay.
    """

    def __init__(
        self, own: Predictor, name: str, report: Callable[[PredictorError], object] | None = None
    ) -> None:
        self._own, self._name = own, name
        self._report = _raise if report is None else report

    def observe(self, model: str, now_s: float) -> None:
        """Show it a request."""
        try:
            self._own.observe(model, now_s)
        except Exception as error:
            self._failed("observe", model, error)

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Return what it says, if that is a probability."""
        try:
            value = self._own.probability(model, now_s, horizon_s)
            if isinstance(value, Real) and 0.0 <= value <= 1.0:
                return float(value)
        except Exception as error:
            self._failed("probability", model, error)
            return 0.0
        wrong = PredictorError(
            f"predictor {self._name}", f"probability of {model}", repr(value), "a number from 0 to 1"
        )
        self._report(wrong)
        return 0.0

    def _failed(self, method: str, model: str, error: Exception) -> None:
        if isinstance(error, PredictorError):  # said already, by one that this one asks
            self._report(error)
            return
        place = extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
        self._report(PredictorError(f"predictor {self._name}", f"{method} of {model}", found, "no exception"))


def _raise(error: PredictorError) -> None:
    raise error
