"""Policies by name, and one's own."""

import inspect

import pytest

from tests.policies.cache import Cache
from vramlab.allocator.policies import POLICIES, make_policy, policy_names
from vramlab.allocator.policies.registry import OPTIONS
from vramlab.config.compiled import compiled
from vramlab.config.docstrings import docstring
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import with_overrides
from vramlab.config.schema import ScoreWeights, ScoringConfig, VramConfig

OWN = "tests.policies.own"


def test_names():
    names = policy_names()
    assert names == [*POLICIES]
    expected = (
        "seed seed_fixed decayed lru lfu fifo gdsf gdsf_hits lfu_da lru_k hyperbolic sieve s3_fifo lhd random"
    )
    assert names == expected.split()


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_says_what_it_is_and_serves(name):
    policy = make_policy(ScoringConfig(policy=name))
    assert isinstance(policy.in_order, bool)
    unnamed = name in ("fifo", "random", "seed", "seed_fixed")
    assert unnamed or "Source:" in docstring(type(policy))
    cache = Cache(name, 4)
    left = cache.ask("ABCDAABEFGHAIJKLMNO")
    assert len(left) == len("".join(sorted(set(left)))) or len(left) > 8
    assert len(cache.order()) == 4


@pytest.mark.skipif(compiled(), reason="machine code does not say what it is made with")
@pytest.mark.parametrize("name", POLICIES)
def test_the_options_of_a_policy_are_what_it_is_made_with(name):
    made_with = {*inspect.signature(POLICIES[name]).parameters}
    assert {*OPTIONS.get(name, ())} == made_with - {"worth"}


def test_weights_move_the_score_and_only_the_score():
    heavy = ScoreWeights(recency=0.0, size=-1.0)
    assert Cache("seed", 3, {"A": {"vram_size_mb": 2}}).ask("ABC") == "A"
    assert Cache("seed", 3, {"A": {"vram_size_mb": 2}}, weights=heavy.model_dump()).ask("ABC") == "B"
    with pytest.raises(InputError, match="policy lru has no weights"):
        make_policy(ScoringConfig(policy="lru", weights=heavy))


def test_a_function_of_ones_own():
    cache = Cache("tests.policies.own:largest_first", 4, {"B": {"vram_size_mb": 2}})
    assert cache.ask("ABCD") == "B"


def test_a_class_of_ones_own():
    cache = Cache("tests.policies.own:NewestFirst", 3)
    assert cache.ask("ABCDE") == "CD"


def test_a_class_without_the_switches():
    policy = make_policy(ScoringConfig(policy="tests.policies.own:Duck"))
    assert policy.in_order is False


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lur", "one of seed, seed_fixed, .*did you mean 'lru'"),
        ("no.such.module:score", "No module named 'no'.*a module that can be imported"),
        ("tests.policies.own:nothing", "has no attribute 'nothing'.*a function or class of"),
        ("tests.policies.own:NUMBER", "which is int, expected a function score"),
        ("tests.policies.own:NotAPolicy", "a class without used, removed, score, ranked"),
        (":score", "expected a module that can be imported"),
    ],
)
def test_bad_names_are_one_clear_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        make_policy(ScoringConfig(policy=name))
    assert "\n" not in str(caught.value)
    assert caught.value.key == "scoring.policy"


@pytest.mark.parametrize("name", ["gdsf", "gdsf_hits", "lfu_da"])
def test_exact_victim_sets_are_refused_where_values_do_not_add_up(name):
    with pytest.raises(InputError, match=r"as the values of .* do not add up") as caught:
        Cache(name, 4, victims="exact")
    assert caught.value.key == "scoring.victims"
    assert "\n" not in str(caught.value)
    assert make_policy(ScoringConfig(policy=name, victims="pruned")).adds_up is False


def test_exact_victim_sets_for_a_policy_of_ones_own():
    make_policy(ScoringConfig(policy="tests.policies.own:Duck", victims="exact"))


# -- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "new", "old"),
    [
        ("lru_k", {"k": 3}, {"k": 3}),
        ("decayed", {"half_life_s": 7.0, "recency": 0.7}, {"half_life_s": 7.0, "weights": {"recency": 0.7}}),
        ("seed_fixed", {"size": -1.0}, {"weights": {"size": -1.0}}),
        ("random", {"seed": 5}, {"seed": 5}),
    ],
)
def test_options_stand_with_the_policy_and_are_still_read_where_they_stood_before(policy, new, old):
    steps = "ABCDAABEFGHAIJKLMNOABCABCAA"
    sizes = {"A": {"vram_size_mb": 2}, "D": {"vram_size_mb": 3, "load_time_ms": 9}}
    left = Cache(policy, 5, sizes, policy_options=new).ask(steps)
    assert left == Cache(policy, 5, sizes, **old).ask(steps)
    assert left != Cache(policy, 5, sizes).ask(steps)


def test_old_keys_that_a_policy_does_not_take_are_passed_over():
    make_policy(ScoringConfig(policy="lru", k=7, half_life_s=1.0, seed=3))


@pytest.mark.parametrize(
    ("scoring", "key", "message"),
    [
        ({"policy": "lru_k", "policy_options": {"kk": 3}}, "policy_options.kk", "expected one of k, keeps_"),
        (
            {"policy": "lru", "policy_options": {"k": 3}},
            "policy_options.k",
            "policy lru does not take",
        ),
        ({"policy": "lru_k", "policy_options": {"k": "x"}}, "policy_options.k", "'x', expected a number"),
        ({"policy": "lru_k", "policy_options": {"k": 0}}, "policy_options", "k: expected 1 or more"),
        ({"policy": "decayed", "policy_options": {"half_life_s": 0}}, "policy_options", "more than 0"),
        (
            {"policy": "lru_k", "policy_options": {"k": 3}, "k": 2},
            "k",
            "one of it and policy_options.k",
        ),
        ({"policy": f"{OWN}:Duck", "policy_options": {"x": 1}}, "policy_options.x", "expected none"),
    ],
)
def test_options_that_make_no_sense_are_one_clear_line(scoring, key, message):
    with pytest.raises(InputError, match=message) as caught:
        make_policy(ScoringConfig(**scoring))
    assert caught.value.key == f"scoring.{key}"
    assert "\n" not in str(caught.value)


def test_ones_own_take_options():
    scoring = ScoringConfig(policy=f"{OWN}:worth_by", policy_options={"power": 2})
    assert make_policy(scoring).score(Cache("lru", 3).allocator.models["A"], 0.0) == 2**40
    assert make_policy(ScoringConfig(policy=f"{OWN}:Every", policy_options={"n": 4})).n == 4


def test_settings_made_later_hold():
    config = VramConfig(scoring=ScoringConfig(policy="lru_k", policy_options={"k": 3}))
    assert with_overrides(config, ["scoring.policy=lru"]).scoring.policy_options == {}
    assert with_overrides(config, ["scoring.policy=lru_k"]).scoring.policy_options == {"k": 3}
    later = with_overrides(config, ["scoring.k=2"])
    assert (later.scoring.k, later.scoring.policy_options) == (2, {})


def test_a_configuration_without_options_has_the_fingerprint_that_it_had():
    old = {"policy": "lru", "half_life_s": 21_600, "k": 2, "seed": 0}
    assert fingerprint(VramConfig(scoring=ScoringConfig(policy="lru"))) == fingerprint(
        VramConfig(scoring=ScoringConfig(**old))
    )
