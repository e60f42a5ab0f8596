"""Policies by name, and one's own."""

import pytest

from tests.policies.cache import Cache
from vramlab.allocator.policies import POLICIES, make_policy, policy_names
from vramlab.config.errors import InputError
from vramlab.config.schema import ScoreWeights, ScoringConfig


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
    assert isinstance(policy.merges_uses, bool)
    assert ("Source:" in (type(policy).__doc__ or "")) or name in ("fifo", "random", "seed", "seed_fixed")
    cache = Cache(name, 4)
    left = cache.ask("ABCDAABEFGHAIJKLMNO")
    assert len(left) == len("".join(sorted(set(left)))) or len(left) > 8
    assert len(cache.order()) == 4


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
    assert (policy.in_order, policy.merges_uses) == (False, False)


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
