"""What tuning may change about who goes next."""

from vramlab.config.loading import load_config
from vramlab.experiments.search_space import DEFAULT_OVER, Choice, default_space


def test_the_order_and_its_bounds_are_searched_where_it_is_asked_for():
    config = load_config(None, ["serving.max_wait_s=30"])
    space = default_space(config, {}, over=["order"])
    assert set(space.settings) == {"serving.order", "serving.max_wait_s", "serving.max_skips"}
    orders = space.settings["serving.order"]
    assert isinstance(orders, Choice)
    assert all(orders.contains(name) for name in ("backlog", "affinity", "arrival"))
    assert space.settings["serving.max_wait_s"].contains(30)
    assert not space.settings["serving.max_wait_s"].contains(300)
    assert "order" not in DEFAULT_OVER


def test_the_threshold_of_preloading_is_searched_where_something_predicts():
    key = "optimization.preload_prediction_threshold"
    for predictor, expected in (("null", False), ("combined", True)):
        config = load_config(None, [f"optimization.predictor={predictor}"])
        assert (key in default_space(config, {}, over=["thresholds"]).settings) == expected
