"""Residents as lines: the order is that of the scores, to the last tie."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.cache import Cache
from vramlab.allocator.policies import aged
from vramlab.allocator.policies.lines import INFINITE, Lines

SIZES = {
    letter: {"vram_size_mb": 1 + place % 7} for place, letter in enumerate("ABCDEFGHIJKLM")
}  # and others of 1 MB
EXPONENTS = st.sampled_from([-1.0, 0.0, 1e-4, 0.3, 0.5, 1.0, 2.0, 40.0])


@given(
    policy=st.sampled_from(["seed", "seed_fixed", "decayed", "hyperbolic"]),
    weights=st.dictionaries(st.sampled_from(["frequency", "recency", "size"]), EXPONENTS),
    half_life_s=st.sampled_from([0.01, 1.0, 1e3, 1e6]),
    mb=st.integers(7, 60),
    steps_s=st.lists(st.sampled_from([0.0, 1.0, 30.0, 3600.0, 1e5]), min_size=1, max_size=3),
    start_s=st.sampled_from([0.0, 1.7e9]),
    seed=st.integers(0, 2**32 - 1),
)
def test_lines_are_in_the_order_of_columns(policy, weights, half_life_s, mb, steps_s, start_s, seed):
    options = {} if policy == "hyperbolic" else weights
    if policy == "decayed":
        options = options | {"half_life_s": half_life_s}
    drawn, counted = (Cache(policy, mb, SIZES, policy_options=options) for _ in range(2))
    counted.policy._refresh()  # they are columns for good from then on
    drawn.now_s = counted.now_s = start_s
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(aged, "_FEW", 400)  # as in machine code
        warnings.simplefilter("ignore", RuntimeWarning)  # exponents beyond reason
        for _ in range(60):
            name, step_s = str(rng.choice([*"AAABBCDEFGHIJKLMNOPQ"])), float(rng.choice(steps_s))
            assert drawn.ask(name, step_s) == counted.ask(name, step_s)
            assert drawn.order() == counted.order()


def test_lines_by_hand():
    models = list(Cache("lru", 1).allocator.models.values())[:4]
    lines = Lines(recency=1.0, fading=0.0)
    for model in models:
        lines.add(model)
    a, b, c, d = models
    assert all(lines.put(*line) for line in ((a, 2.0, 0.0), (b, 1.0, 5.0), (c, 4.0, 1.0), (d, INFINITE, 0.0)))
    found, height = lines.highest(9.0, INFINITE)  # heights 10 / 2, 5 / 1, 9 / 4, 0: two are equal
    assert (found, height) == (None, 5.0)
    assert lines.close_to(5.0, 9.0, INFINITE) == ([lines.of[a], lines.of[b]], 5.0)
    assert lines.close_to(0.0, 9.0, 1.0) == ([], 1.0)
    assert [[line.model for line in group] for group in lines.groups(9.0, INFINITE)] == [[a, b], [c], [d]]
    found, height = lines.highest(11.0, INFINITE)  # 12 / 2, 7, 11 / 4, 0
    assert (found.model, height) == (b, 7.0)
    found, height = lines.highest(11.0, height)
    assert (found.model, height) == (a, 6.0)
    lines.remove(a)
    assert [line.model for line in lines.in_order()] == [b, c, d]
    assert [[line.model for line in group] for group in lines.groups(11.0, 7.0)] == [[c], [d]]


@pytest.mark.parametrize("value", [0.0, -1.0, 1e200, 1e-200, float("nan")])
def test_what_is_no_line(value):
    model = next(iter(Cache("lru", 1).allocator.models.values()))
    lines = Lines(recency=1.0, fading=0.0)
    lines.add(model)
    assert not lines.put(model, value, 0.0)


def test_the_epoch_follows():
    model = next(iter(Cache("lru", 1).allocator.models.values()))
    lines = Lines(recency=0.5, fading=-0.01)
    lines.add(model)
    assert not lines.put(model, 1.0, 1e6)  # 10,000 halvings after the epoch
    assert lines.look_at(1e6)
    assert lines.put(model, 1.0, 1e6)
    assert not lines.look_at(2e6)  # it has been idle for too long
