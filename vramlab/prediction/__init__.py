"""Usage prediction: the probability that a model is asked for within a horizon.

Pure as the allocator is: no clock, no randomness; time comes in as an argument. Start at
:mod:`vramlab.prediction.registry`; :mod:`vramlab.prediction.calibration` measures how good a predictor is.
"""

from vramlab.prediction.predictor import Predictor
from vramlab.prediction.registry import accepts, make_predictor, predictor_names

__all__ = ["Predictor", "accepts", "make_predictor", "predictor_names"]
