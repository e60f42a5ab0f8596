"""Settings for other servers: those worth trying, by hand; what is written says what was tried."""

import itertools
import re

import pytest
import yaml

from tests.servers.running import config_of, spec, trace_of
from vramlab.config.errors import InputError
from vramlab.experiments.case import resolve_case
from vramlab.experiments.exporting import export
from vramlab.experiments.replay import run
from vramlab.servers import server_of
from vramlab.servers.export import CANNOT, EXPORTS, Card, candidates, card_of, written

# a is asked for often and is small, big is seldom asked for, b and c lie between
MODELS = {"a": spec(10, 2000), "b": spec(20, 2000), "c": spec(20, 1000), "big": spec(60, 3000)}
ROWS = [(7.0 * i, "abacab"[i % 6] if i % 10 else "big") for i in range(120)]
CARD = Card(100, {"a": 10, "b": 20, "c": 20, "big": 60}, ["a", "b", "c", "big"], 4)


def case(memory_mb=100):
    return resolve_case(trace_of(*ROWS), config_of(memory_mb, scoring={"policy": "seed_fixed"}), MODELS)


def test_worth_is_requests_times_load_time_per_byte():
    card = card_of(case().trace, case().config, MODELS)
    assert card.by_worth == ["a", "b", "c", "big"]
    assert (card.budget_bytes, card.streams) == (100 * 2**20, 4)


def test_what_is_kept_leaves_room_for_whichever_other_model():
    assert CARD.places([]) == 1  # the largest is of 60
    assert CARD.kept(2) == ["a", "b"]  # 30, and 60 beside
    assert CARD.kept(9) == ["a", "b"]  # beside a, b and c big would not fit, nor c beside a, b and big
    assert Card(120, CARD.sizes, CARD.by_worth).kept(9) == ["a", "b", "c"]


def test_candidates_begin_with_the_defaults_and_are_presets():
    for server in EXPORTS:
        texts = candidates(server, CARD, {"a": 100.0, "b": 50.0, "c": 0.0, "big": 3.0})
        assert texts[0] == server
        assert len(texts) == len(set(texts)) > 2
        assert all(server_of(text)[0].name == server for text in texts)
    with pytest.raises(InputError, match="did you mean 'ollama'"):
        candidates("olama", CARD, {})


@pytest.mark.parametrize("server", EXPORTS)
def test_what_is_written_is_the_best_that_was_tried(server):
    found = export(case(), server)
    means = [(one["refused"], one["latency_mean_s"]) for one in found.tried]
    assert means == sorted(means)
    again = run(case().as_server(found.server)).figures
    assert again["latency_mean_s"] == found.figures["latency_mean_s"]
    assert found.before["server"] == server
    comments = [line for line in found.text.splitlines() if line.startswith("#")]
    assert len(comments) >= 5 + len(CANNOT[server])
    assert f"{found.figures['loads']:,} loads" in found.text
    assert isinstance(yaml.safe_load(found.text), dict)


def test_ollamas_keep_alives_are_those_that_were_replayed():
    text = 'ollama:max_loaded_models=4+keep_alive_by_model={"a": 120, "b": 60}'
    document = yaml.safe_load(written(text, ["c"]))
    assert document["environment"] == {"OLLAMA_MAX_LOADED_MODELS": "4", "OLLAMA_KEEP_ALIVE": "300s"}
    assert document["keep_alive"] == {"a": 120, "b": 60}
    forever = yaml.safe_load(written("ollama:keep_alive=-1", []))
    assert forever["environment"]["OLLAMA_KEEP_ALIVE"] == "-1"


def expanded(expression, variables):
    """The sets of a matrix expression such as ``m0 & m1 & (m2 | m3)``."""
    parts = [re.findall(r"m\d+", part) for part in expression.split("&")]
    return [[variables[name] for name in choice] for choice in itertools.product(*parts)]


def test_llama_swaps_matrix_has_the_sets_that_were_replayed():
    sets = [["a", "b", "c"], ["a", "b", "big"]]
    text = f"llama-swap:matrix={sets}+evict_costs={{a: 4, b: 3}}".replace("'", '"')
    document = yaml.safe_load(written(text, []))
    matrix = document["matrix"]
    assert expanded(matrix["sets"]["kept"], matrix["vars"]) == sets
    assert {matrix["vars"][key]: cost for key, cost in matrix["evict_costs"].items()} == {"a": 4, "b": 3}
    assert set(document["models"]) == set(MODELS)


def test_a_matrix_of_a_single_set_lets_all_of_it_be_there():
    """Beside a the only other one fits: "a or b" would let one be there at a time."""
    text = next(text for text in candidates("llama-swap", Card(100, {"a": 10, "b": 20}, ["a", "b"]), {})[2:])
    assert server_of(text)[1]["matrix"] == [["a", "b"]]
    matrix = yaml.safe_load(written(text, []))["matrix"]
    assert expanded(matrix["sets"]["kept"], matrix["vars"]) == [["a", "b"]]


def test_localai_is_given_a_number_where_its_default_is_no_limit():
    """Two by two in phases: the least recently used is the right one, and no pin beats the default of 0."""
    models = {name: spec(40, 1000) for name in "abc"}
    rows = [(9.0 * i, name) for i, name in enumerate("ababababbcbcbcbccacacaca")]
    found = export(resolve_case(trace_of(*rows), config_of(100), models), "localai")
    assert found.figures["latency_mean_s"] == found.before["latency_mean_s"]
    assert yaml.safe_load(found.text)["environment"] == {"LOCALAI_MAX_ACTIVE_BACKENDS": "2"}


def test_pins_and_counts_are_written_as_the_servers_call_them():
    localai = yaml.safe_load(written('localai:max_active_backends=3+pinned=["a"]', []))
    assert localai == {
        "environment": {"LOCALAI_MAX_ACTIVE_BACKENDS": "3"}, "models": {"a": {"pinned": True}}
    }  # fmt: skip
    lemonade = yaml.safe_load(written('lemonade:max_loaded_models=2+pinned=["a"]', []))
    assert lemonade == {"serve": "--max-loaded-models 2", "pinned": ["a"]}
    vramd = yaml.safe_load(written("vramd:max_inflight=4+idle_timeout=3600", []))
    assert vramd["environment"] == {"VRAMD_IDLE_EVICT_SEC": "3600", "VRAMD_MAX_INFLIGHT": "4"}


def test_what_nothing_can_be_said_of_is_refused():
    one = resolve_case(trace_of((0, "a"), (9, "a")), config_of(100), MODELS)
    with pytest.raises(InputError, match="several models"):
        export(one, "ollama")
    decided = resolve_case(trace_of(*ROWS), config_of(100), MODELS, mode="decide")
    with pytest.raises(InputError, match="simulate"):
        export(decided, "ollama")


def test_a_card_that_fits_no_model_is_refused_and_zones_that_serve_nobody_are_told():
    with pytest.raises(InputError, match="5 MB for models, of which none fits"):
        export(case(5), "localai")
    zone = {"flexible": {"size_mb": 5, "max_models": None, "min_retention_time": 0}}
    config = config_of(100, zones=zone, scoring={"policy": "seed_fixed"})
    found = export(resolve_case(trace_of(*ROWS), config, MODELS), "localai")
    assert "vramlab's own         all 120 refused" in found.text
