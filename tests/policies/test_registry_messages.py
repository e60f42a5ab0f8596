"""What is refused, word for word; what a class of one's own gets from us; who is asked for plug-ins."""

import re

import pytest

from tests.policies.cache import Cache
from vramlab.allocator.policies import Policy, ScorePolicy, make_policy, policy_names, registry
from vramlab.allocator.policies.at_random import Random
from vramlab.allocator.policies.lru_k import LRUK
from vramlab.allocator.policies.registry import POLICIES
from vramlab.config.errors import InputError
from vramlab.config.schema import ScoreWeights, ScoringConfig

OWN = "tests.policies.own"
CAN_BE_IMPORTED = "a module that can be imported (is its folder in PYTHONPATH?)"
METHODS = "admitted, used, removed, score, ranked"
MESSAGES = {
    "lur": f"'lur', expected one of {', '.join(policy_names())}, or module:name (did you mean 'lru'?)",
    "zzzz": f"'zzzz', expected one of {', '.join(policy_names())}, or module:name",
    "no.such:score": f"'no.such:score', No module named 'no', expected {CAN_BE_IMPORTED}",
    ":score": f"':score', Empty module name, expected {CAN_BE_IMPORTED}",
    f"{OWN}:nothing": f"'{OWN}:nothing', module '{OWN}' has no attribute 'nothing', "
    f"expected a function or class of {OWN}",
    f"{OWN}:a:b": f"'{OWN}:a:b', module '{OWN}' has no attribute 'a:b', "
    f"expected a function or class of {OWN}",
    f"{OWN}:NUMBER": f"'{OWN}:NUMBER', which is int, expected a function score(model, now_s), or a class",
    f"{OWN}:NotAPolicy": f"'{OWN}:NotAPolicy', a class without used, removed, score, ranked, "
    f"expected a class with {METHODS}",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_policy_that_cannot_be_had(name):
    expected = f"a file: scoring.policy: found {MESSAGES[name]}"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        make_policy(ScoringConfig(policy=name), "a file")


@pytest.mark.parametrize("name", ["lur", "no.such:score", f"{OWN}:nothing", f"{OWN}:NUMBER"])
def test_the_source_is_the_section_where_none_is_given(name):
    with pytest.raises(InputError, match=r"^vram_management: scoring\.policy: found ") as caught:
        make_policy(ScoringConfig(policy=name))
    assert (caught.value.source, caught.value.key) == ("vram_management", "scoring.policy")


def test_weights_and_exact_sets_that_make_no_sense():
    weights = ScoreWeights(recency=0.0)
    expected = "f: scoring.weights: found weights, expected none, as policy lru has no weights"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        make_policy(ScoringConfig(policy="lru", weights=weights), "f")
    with pytest.raises(InputError, match=f"as policy {OWN}:Duck has no weights"):
        make_policy(ScoringConfig(policy=f"{OWN}:Duck", weights=weights))
    expected = (
        "f: scoring.victims: found 'exact', "
        "expected auto, in_order or pruned, as the values of gdsf do not add up"
    )
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        make_policy(ScoringConfig(policy="gdsf", victims="exact"), "f")


def test_a_class_of_ones_own_gets_what_it_lacks():
    policy = make_policy(ScoringConfig(policy=f"{OWN}:Duck"))
    assert (policy.in_order, policy.adds_up) == (False, True)
    model = Cache("lru", 3).allocator.models["A"]
    assert policy.bid(model, 1.0) == policy.score(model, 1.0) == 0.0
    assert policy.rejected(model, 1.0) is None


class Decided(Policy):
    """Says all the switches itself."""

    in_order, adds_up = True, False

    def admitted(self, model, now_s):
        pass

    used = removed = admitted

    def score(self, model, now_s):
        return 1.0

    def ranked(self, now_s):
        return []

    def bid(self, model, now_s):
        return 5.0

    def rejected(self, model, now_s):
        self.noted = model, now_s


def test_a_class_of_ones_own_keeps_what_it_has():
    policy = make_policy(ScoringConfig(policy=f"{__name__}:Decided"))
    assert (policy.in_order, policy.adds_up) == (True, False)
    assert policy.bid(None, 0.0) == 5.0
    policy.rejected(None, 3.0)
    assert policy.own.noted == (None, 3.0)


def test_a_function_of_ones_own_is_a_score():
    policy = make_policy(ScoringConfig(policy=f"{OWN}:largest_first"))
    assert isinstance(policy, ScorePolicy)
    model = Cache("lru", 3).allocator.models["A"]
    assert policy.score(model, 1.0) == policy.bid(model, 1.0) == -(2**20)
    assert policy.rejected(model, 1.0) is None
    timed = ScorePolicy(lambda model, now_s: now_s if model.name == "A" else 0.0)
    assert timed.score(model, 3.0) == 3.0
    timed.admitted(model, 0.0)
    twice = ScorePolicy(lambda model, now_s: now_s)
    twice.admitted(model, 0.0)
    assert list(twice.ranked(3.0)) == [model]


def test_a_score_is_asked_with_the_time():
    asked = []
    policy = ScorePolicy(lambda model, now_s: asked.append(now_s) or 0.0)
    for model in list(Cache("lru", 3).allocator.models.values())[:2]:
        policy.admitted(model, 0.0)
    policy.ranked(7.0)
    assert asked == [7.0, 7.0]


def test_plug_ins_are_looked_up_in_our_group_without_our_names(monkeypatch):
    ours = [*POLICIES]
    asked = []
    monkeypatch.setattr(registry, "plugin_names", lambda group, names: asked.append((group, names)) or ["p"])
    assert policy_names() == [*ours, "p"]
    assert asked == [("vramlab.policies", ours)]


def test_a_plug_in_is_a_policy_and_its_faults_are_named(monkeypatch):
    asked = []

    def load_plugin(group, name, names):
        asked.append((group, name, names))
        return {"largest": lambda model, now_s: -model.bytes, "number": 3}.get(name)

    monkeypatch.setattr(registry, "load_plugin", load_plugin)
    assert isinstance(make_policy(ScoringConfig(policy="largest")), ScorePolicy)
    assert asked == [("vramlab.policies", "largest", {*POLICIES})]
    expected = "f: scoring.policy: found 'number', which is int, "
    with pytest.raises(InputError, match=f"^{re.escape(expected)}"):
        make_policy(ScoringConfig(policy="number"), "f")
    asked.clear()
    make_policy(ScoringConfig(policy=f"{OWN}:Duck"))
    assert asked == []  # what has a colon is no plug-in


def test_settings_reach_their_policies():
    assert make_policy(ScoringConfig(policy="lru_k", k=5))._k == 5
    assert make_policy(ScoringConfig(policy="decayed", half_life_s=7.0))._half_life_s == 7.0
    assert LRUK()._k == 2
    assert LRUK()._keeps_history is True


def test_random_scores_everybody_alike():
    policy = make_policy(ScoringConfig(policy="random"))
    assert isinstance(policy, Random)
    assert policy.score(Cache("lru", 3).allocator.models["A"], 0.0) == 0.0
