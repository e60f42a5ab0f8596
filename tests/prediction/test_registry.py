"""Predictors by name, one's own among them, and what is refused."""

import pytest

from vramlab.config.errors import InputError
from vramlab.prediction.registry import PREDICTORS, accepts, make_predictor, predictor_names


def constant(models, value=0.25):
    from tests.prediction.streams import Constant

    return Constant(value)


def test_names():
    assert predictor_names() == ["ewma", "histogram", "profile", "successor", "combined"]
    assert [name for name in PREDICTORS if accepts(name, "week_offset_s")] == ["profile", "combined"]
    assert all(accepts(name, "start_s") for name in PREDICTORS)


def test_ones_own():
    predictor = make_predictor("tests.prediction.test_registry:constant", ["A"], value=0.75)
    assert predictor.probability("A", 0.0, 1.0) == 0.75


def test_own_experts():
    own = "tests.prediction.test_registry:constant"
    experts = {"mine": {"predictor": own, "value": 0.2}, "slow": {"predictor": "ewma", "half_life_s": 1e5}}
    combined = make_predictor("combined", ["A"], experts=experts)
    assert combined.weights(60.0) == {"mine": 0.5, "slow": 0.5}


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("histgram", {}, "did you mean 'histogram'"),
        ("no.such.module:thing", {}, "a module that can be imported"),
        (
            "tests.prediction.test_registry:nothing",
            {},
            "a function or class of tests.prediction.test_registry",
        ),
        ("math:pi", {}, "a class or a function"),
        ("builtins:dict", {}, "predictor"),
        ("ewma", {"halflife_s": 3.0}, "did you mean 'half_life_s'"),
        ("ewma", {"half_life_s": 0.0}, "half_life_s: found 0.0, expected a number above 0"),
        ("histogram", {"bin_s": -1.0}, "bin_s: found -1.0"),
        ("successor", {"order": "many"}, "options that it takes"),
        ("combined", {"experts": {}}, "at least one"),
        ("combined", {"experts": {"oracle": {}}}, "found 'oracle'"),
        ("combined", {"horizons_s": [0.0]}, "horizons_s: found 0.0"),
        ("combined", {"interval": 5}, "options that it takes"),
    ],
)
def test_refused(name, options, says):
    with pytest.raises(InputError, match=says):
        make_predictor(name, ["A"], **options)
