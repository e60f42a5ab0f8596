"""Grids of settings: what they multiply to, and what they refuse."""

import pytest

from tests.experiments.studying import POOL
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config
from vramlab.experiments.grids import check, override_texts, parse_grid, points, settled

CONFIG = load_config(POOL)


def test_values_are_yaml_and_keep_their_kind():
    grid = parse_grid(["a.b=1,2.5,1e-5", "c=always,true", "d=[high],[high,medium]", "e=mine.rules:best"])
    assert grid == {
        "a.b": [1, 2.5, 1e-5],
        "c": ["always", True],
        "d": [["high"], ["high", "medium"]],
        "e": ["mine.rules:best"],
    }


def test_points_are_the_product_traces_outermost_and_seeds_innermost():
    made = points({"x": [1, 2], "y": ["p"]}, traces=2, seeds=(7, 8))
    assert [(p.number, p.trace, dict(p.settings)["x"], p.seed) for p in made] == [
        (0, 0, 1, 7), (1, 0, 1, 8), (2, 0, 2, 7), (3, 0, 2, 8),
        (4, 1, 1, 7), (5, 1, 1, 8), (6, 1, 2, 7), (7, 1, 2, 8),
    ]  # fmt: skip


def test_small_numbers_survive_the_way_through_yaml():
    config = settled(CONFIG, {}, [("scoring.weights.cost", -1e-7), ("scoring.policy", "decayed")])
    assert config.scoring.weights.cost == -1e-7
    assert override_texts([("a+b", [1, "x"])]) == ["a=[1, x]", "b=[1, x]"]


def test_keys_joined_by_a_plus_change_together():
    config = settled(CONFIG, {}, [("total_memory_mb+zones.flexible.size_mb", 9000)])
    assert config.total_memory_mb == config.zones["flexible"].size_mb == 9000


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["a"], "no values"),
        (["a="], "no values"),
        (["a=1", "a=2"], "a second time"),
        (["a=[1"], "expected YAML values"),
    ],
)
def test_texts_that_are_no_axes_are_refused(texts, found):
    with pytest.raises(InputError, match=found):
        parse_grid(texts)


def test_a_wrong_key_is_refused_with_the_nearest_right_one():
    with pytest.raises(InputError, match=r"--grid: scoring\.polcy.*did you mean 'scoring\.policy'"):
        check(points({"scoring.polcy": ["lru"]}), CONFIG, {})


def test_a_value_that_goes_with_nothing_is_an_error_and_a_bad_combination_is_a_failed_run():
    with pytest.raises(InputError, match=r"zones\.flexible\.size_mb"):
        check(points({"zones.flexible.size_mb": [100, -5]}), CONFIG, {})
    grid = {"total_memory_mb": [2000, 9000], "zones.flexible.size_mb": [100, 8000]}
    found = check(points(grid), CONFIG, {})
    impossible = (("total_memory_mb", 2000), ("zones.flexible.size_mb", 8000))
    assert [key for key, config in found.items() if isinstance(config, InputError)] == [impossible]
