"""The figures by model: the same as one model after the other, and a dict like any other."""

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from vramlab.analysis.by_model import ByModel, figures_by_model
from vramlab.analysis.figures import Part, computed
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome


def a_run(rng, requests, models):
    """Whole part, names and codes: outcomes of all kinds, some models without an answer, some unasked."""
    codes = rng.integers(0, models, requests) ** 2 // models
    outcomes = rng.integers(0, len(Outcome), requests).astype(np.uint8)
    unanswered = np.isin(outcomes, (Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED))
    latency_s = np.where(unanswered | (codes == 1), np.nan, rng.lognormal(0, 3, requests))
    names = [f"m{code}" for code in range(models)]
    rows = [(float(at), names[code]) for at, code in enumerate(codes[::3])]
    loads = [
        LoadRecord(at, at + rng.exponential() * (at % 2), name, "z", 7, error="no" if at % 5 == 4 else "")
        for at, name in rows
    ]
    evictions = [EvictionRecord(at, name, "z", 7) for at, name in rows[::2]]
    load_s = {name: 1.0 + place / 3 for place, name in enumerate(names)}
    return Part(outcomes, latency_s, loads, evictions, load_s), names, codes.astype(np.int32)


@pytest.mark.parametrize(("requests", "models"), [(1, 1), (40, 90), (3000, 7), (20_000, 300)])
def test_all_at_once_is_one_model_after_the_other(requests, models):
    whole, names, codes = a_run(np.random.default_rng(requests), requests, models)
    found = figures_by_model(whole, names, codes, whole.load_s)
    for code, name in enumerate(names):
        of = codes == code
        loads = [load for load in whole.loads if load.model == name]
        evictions = [one for one in whole.evictions if one.model == name]
        alone = Part(whole.outcomes[of], whole.latency_s[of], loads, evictions, whole.load_s)
        assert json.dumps(found[name]) == json.dumps(computed(alone, "models"))


def counted():
    """A dict of figures, and how often they were made."""
    made = []

    def make():
        made.append(1)
        return [{"hits": 1}, {"hits": 2}]

    return ByModel(["a", "b"], make), made


PLAIN = {"a": {"hits": 1}, "b": {"hits": 2}}


def test_unequal_is_not_equal_before_a_look_too():
    assert not counted()[0] != PLAIN  # noqa: SIM202
    assert counted()[0] != PLAIN | {"b": {"hits": 3}}


def test_an_interrupted_look_is_made_again():
    looks = iter([KeyboardInterrupt(), [{"hits": 1}, {"hits": 2}]])

    def make():
        look = next(looks)
        if isinstance(look, BaseException):
            raise look
        return look

    found = ByModel(["a", "b"], make)
    with pytest.raises(KeyboardInterrupt):
        found["a"]
    assert dict(found) == PLAIN


LOOKS = [
    dict, lambda one: one.copy(), copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one)),
    lambda one: {**one}, lambda one: one | {}, lambda one: {} | one,
    lambda one: {key: one[key] for key in one},
    lambda one: dict(zip(one, one.values(), strict=True)), lambda one: {key: one.get(key) for key in one},
    lambda one: dict(one.items()), lambda one: json.loads(json.dumps(one)),
    lambda one: json.loads(json.dumps(one, indent=2)), lambda one: eval(repr(one)),
    lambda one: pd.DataFrame(one).to_dict(), lambda one: pd.DataFrame.from_dict(one, "index").T.to_dict(),
]  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_sees_a_plain_dict(look):
    figures, made = counted()
    assert look(figures) == PLAIN
    assert look(figures) == PLAIN
    assert made == [1]


def test_they_are_made_when_a_value_is_looked_at():
    figures, made = counted()
    assert (len(figures), list(figures), "a" in figures, bool(figures)) == (2, ["a", "b"], True, True)
    assert made == []
    assert figures.get("c", 3) == 3
    assert figures == PLAIN == figures
    assert figures == counted()[0]
    assert figures != {"a": {"hits": 1}}
    assert made == [1]
