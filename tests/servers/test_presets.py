"""Presets by hand, from the sources that they name: one example per rule of each server."""

import re
from pathlib import Path

import pytest

from tests.servers.running import config_of, run, spec
from vramlab import servers
from vramlab.config.errors import InputError
from vramlab.config.loading import check_fit
from vramlab.config.schema import Priority
from vramlab.servers import as_server, server_names, server_of
from vramlab.servers.victims import LongestIdlePerLoad


def served(text, rows, models, memory_mb=100, **serving):
    config, inventory = as_server(text, config_of(memory_mb, serving=serving), models)
    return run(rows, inventory, config)


def left(found):
    return [(time, name) for time, name, _ in found.left]


TEN = {name: spec(10) for name in "abcde"}


# -- all of them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", server_names())
def test_every_preset_serves_and_says_where_it_comes_from(name):
    server, _ = server_of(name)
    assert server.name == name
    assert server.source and server.version and server.read == "August 2026"  # noqa: PT018
    assert server.approximations
    models = {"a": spec(40, priority="critical"), "b": spec(40, priority="low"), "c": spec(40)}
    config, inventory = as_server(name, config_of(100), models)
    check_fit(config, inventory, "c.yaml", "m.yaml")
    assert config.server == name
    assert config.total_memory_mb == 100
    assert {spec.zone for spec in inventory.values()} == {"flexible"}
    again = as_server(name, config, inventory)
    assert again == (config, inventory)  # once more changes nothing
    found = run([(0, "a"), (10, "b"), (20, "c"), (30, "a")], inventory, config)
    assert sum(found.figures[key] for key in ("hits", "cold_starts", "waits", "refused")) == 4


def test_options_are_checked():
    _, options = server_of("ollama:keep_alive=-1+max_loaded_models=2+keep_alive_by_model={a: 5, b: -1}")
    assert (options["keep_alive"], options["max_loaded_models"]) == (-1, 2)
    assert options["keep_alive_by_model"] == {"a": 5, "b": -1}
    with pytest.raises(InputError, match=r"server: found 'olama', expected one of .*did you mean 'ollama'"):
        server_of("olama")
    with pytest.raises(InputError, match=r"server: ollama: found 'ttl=3', expected an option: keep_alive"):
        server_of("ollama:ttl=3")
    with pytest.raises(InputError, match="keep_alive"):
        as_server("ollama:keep_alive=soon", config_of(100), TEN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ollama:keep_alive_by_model=5", r"ollama:keep_alive_by_model: found 5, expected a mapping"),
        ("ollama:keep_alive_by_model=[a]", r"expected a mapping, as in \{a: 5\}"),
        ("ollama:keep_alive_by_model={a: soon}", r"found 'soon'.*expected a number"),
        ("llama-swap:groups=5", r"groups: found 5, expected a mapping"),
        ("llama-swap:groups={g: 5}", r"groups.g: found 5, expected a mapping with members"),
        ("llama-swap:groups={g: {}}", r"groups.g: found \{\}, expected a mapping with members"),
        ("llama-swap:ttl_by_model=7", r"ttl_by_model: found 7, expected a mapping"),
        ("llama-swap:matrix=a", r"matrix: found 'a', expected a list"),
        ("localai:concurrency_groups=[a]", r"concurrency_groups: found \['a'\], expected a mapping"),
        ("lemonade:pinned=a", r"pinned: found 'a', expected a list"),
        ("modelmesh:loading_threads=-1", r"loading_threads: found -1, expected 0 or more"),
        ("ollama:keep_alive=1+keep_alive=2", r"keep_alive: found two values, expected one"),
    ],
)
def test_a_value_of_another_kind_is_one_clear_error(text, expected):
    with pytest.raises(InputError, match=expected):
        as_server(text, config_of(100), TEN)


def test_every_option_that_is_empty_by_default_has_its_kind():
    for name in server_names():
        for option, default in server_of(name)[0].options.items():
            if default is None:
                with pytest.raises(InputError, match=r"expected a (list|mapping), as in"):
                    server_of(f"{name}:{option}=true")


def test_priorities_mean_something_to_vramd_alone():
    models = {"a": spec(10, priority="critical"), "b": spec(10, priority="low")}
    assert {s.priority for s in as_server("ollama", config_of(100), models)[1].values()} == {Priority.MEDIUM}
    of_vramd = as_server("vramd", config_of(1000), models)[1]
    assert [s.priority for s in of_vramd.values()] == [Priority.HIGH, Priority.MEDIUM]


# -- Ollama --------------------------------------------------------------------------------------------


def test_ollama_sends_the_shortest_keep_alive_away_however_recent():
    """c was used just now, and its keep_alive of 100 s is the shortest: it leaves, though a is older.
    Unloading takes a second. With equal ones the path decides."""
    rows = [(0, "a"), (10, "b"), (20, "c"), (30, "d")]
    assert left(served("ollama:keep_alive_by_model={c: 100}", rows, TEN))[0] == (31.0, "c")
    assert left(served("ollama", rows[::-1] and [(0, "c"), (10, "b"), (20, "a"), (30, "d")], TEN))[0] == (
        31.0,
        "a",
    )


def test_ollama_loads_what_fits_in_four_fifths_of_what_is_free():
    """a of 20 leaves 80 free, of which 64 may be taken: b of 64 comes beside it, b of 65 sends it away."""
    assert left(served("ollama", [(0, "a"), (10, "b")], {"a": spec(20), "b": spec(64)})) == []
    assert left(served("ollama", [(0, "a"), (10, "b")], {"a": spec(20), "b": spec(65)})) == [(11.0, "a")]
    # alone it is loaded whatever its size
    assert served("ollama", [(0, "b"), (5, "b")], {"b": spec(100), "a": spec(1)}).outcomes == [
        "COLD_START",
        "HIT",
    ]


def test_ollama_looks_again_after_each_victim_has_gone():
    """d of 60 wants 75: 70 are free, so one of three models of 10 goes, and then there is room enough."""
    models = TEN | {"d": spec(60)}
    found = served("ollama:max_loaded_models=9", [(0, "a"), (10, "b"), (20, "c"), (30, "d")], models)
    assert left(found) == [(31.0, "a")]
    assert found.loads[3] == (31.0, "d")


def test_ollama_unloads_after_five_minutes_and_keeps_for_ever_what_is_minus_one():
    rows = [(0, "a"), (0, "b"), (1000, "c")]
    assert left(served("ollama:keep_alive_by_model={a: -1}", rows, TEN)) == [
        (pytest.approx(303.1, abs=0.01), "b")
    ]


def test_ollama_thinks_of_one_load_at_a_time_and_lets_others_run_meanwhile():
    """b is in use until 30 s, and d cannot have its room before; c, which would fit, waits behind d. A
    request for b itself goes at once."""
    models = {"b": spec(60, run_ms=28_900), "d": spec(60), "c": spec(10)}
    found = served("ollama", [(0, "b"), (5, "d"), (6, "c"), (7, "b")], models)
    assert found.latencies[3] == pytest.approx(28.9)  # from 7 to 35.9
    assert [name for _, name in found.loads] == ["b", "d", "c"]
    assert found.loads[1][0] == pytest.approx(36.9)


# -- llama-swap ----------------------------------------------------------------------------------------


def test_llama_swap_without_groups_has_one_model_at_a_time():
    assert left(served("llama-swap", [(0, "a"), (10, "b"), (20, "a")], TEN)) == [(10.0, "a"), (20.0, "b")]


def test_llama_swap_with_groups_as_its_documentation_has_them():
    """Models of a group that does not swap stand together, and a persistent group stays beside all."""
    text = (
        "llama-swap:groups={duo: {members: [a, b], swap: false, exclusive: true}, "
        "forever: {members: [c], persistent: true, swap: false, exclusive: false}}"
    )
    found = served(text, [(0, "c"), (10, "a"), (20, "b"), (30, "d"), (40, "e"), (50, "a")], TEN)
    # d is of the group of the others, which is exclusive and swaps
    assert left(found) == [(30.0, "a"), (30.0, "b"), (40.0, "d"), (50.0, "e")]


def test_llama_swap_with_a_matrix_leaves_out_what_costs_least():
    text = "llama-swap:matrix=[[a, b], [a, c]]+evict_costs={a: 10}"
    assert left(served(text, [(0, "a"), (10, "b"), (20, "c"), (30, "d")], TEN)) == [
        (20.0, "b"), (30.0, "a"), (30.0, "c"),
    ]  # fmt: skip


def test_llama_swap_answers_429_and_unloads_after_its_ttl():
    models = {"a": spec(10, run_ms=50_000), "b": spec(10)}
    found = served("llama-swap", [(i / 10, "a") for i in range(12)] + [(300, "b")], models, gpu_streams=16)
    assert [row.number for row in found.records.lost] == [10, 11]
    found = served("llama-swap:ttl=60", [(0, "a"), (500, "b")], TEN)
    assert left(found) == [(pytest.approx(61.1), "a")]


def test_llama_swap_walks_its_queue_past_a_load_that_would_send_a_busy_model_away():
    """b would send a away, which is in use; c may stand beside a, and is loaded first."""
    models = {"a": spec(10, run_ms=50_000), "b": spec(10), "c": spec(10)}
    found = served("llama-swap:matrix=[[a, c], [b]]", [(0, "a"), (5, "b"), (6, "c")], models)
    assert [name for _, name in found.loads] == ["a", "c", "b"]
    assert found.loads[1][0] == 6.0


# -- those that count models ---------------------------------------------------------------------------


def test_llama_cpp_has_four_models_or_as_many_as_always_fit():
    rows = [(10 * i, name) for i, name in enumerate("abcadc")]
    five = [(10 * i, name) for i, name in enumerate("abcde")]
    assert left(served("llama-cpp", five, TEN)) == [(40.0, "a")]
    # the largest is of 40 MB, so two always fit; the least recently used leaves
    assert left(served("llama-cpp", rows, TEN | {"e": spec(40)}))[:2] == [(20.0, "a"), (30.0, "b")]
    assert left(served("llama-cpp:models_max=1", rows[:2], TEN)) == [(10.0, "a")]


def test_localai_sends_the_least_recent_or_the_largest_away():
    models = {"a": spec(10), "b": spec(30), "c": spec(20), "d": spec(10)}
    rows = [(0, "a"), (10, "b"), (20, "c"), (30, "d")]
    assert left(served("localai", rows, models)) == [(30.0, "a")]  # of 30 MB, three always fit
    assert left(served("localai:largest_first=true", rows, models)) == [(30.0, "b")]
    assert left(served("localai:max_active_backends=2", rows[:3], models)) == [(20.0, "a")]
    groups = served("localai:concurrency_groups={heavy: [a, c]}", rows[:3], models)
    assert left(groups) == [(20.0, "a")]  # b is of no group
    pinned = served("localai:pinned=[a]+max_active_backends=2", rows[:3], models)
    assert left(pinned) == [(20.0, "b")]


def test_lemonade_has_one_model_of_a_type_and_its_engine_goes_by_idle_time_over_load_time():
    rows = [(0, "a"), (10, "b"), (30, "c")]
    assert left(served("lemonade", rows, TEN)) == [(10.0, "a"), (30.0, "b")]
    models = {"a": spec(40, load_ms=8000), "b": spec(40, load_ms=1000), "c": spec(40)}
    # at 30 s a is idle for 30 s, over a load of 8 s; b for 20 s, over one of 1 s: b leaves
    assert left(served("lemonade:eviction_engine=true", rows, models)) == [(30.0, "b")]
    assert LongestIdlePerLoad.__doc__


def test_lm_studio_has_one_model_for_an_hour():
    found = served("lm-studio", [(0, "a"), (10, "b"), (9000, "c")], TEN)
    assert left(found) == [(10.0, "a"), (pytest.approx(3611.1), "b")]


# -- ModelMesh, Triton, vramd --------------------------------------------------------------------------


def test_modelmesh_rejects_a_load_while_the_oldest_model_is_young():
    """A load time-out of 90 s makes an age of 300: at 100 s a, used at 0, is too young; at 400 it is not."""
    models = {"a": spec(60), "b": spec(60)}
    found = served("modelmesh", [(0, "a"), (100, "b"), (400, "b")], models)
    assert found.outcomes == ["COLD_START", "REFUSED", "COLD_START"]
    assert left(found) == [(400.0, "a")]
    assert served("modelmesh:churn_guard=false", [(0, "a"), (100, "b")], models).figures["refused"] == 0


def test_modelmesh_keeps_an_unload_buffer():
    """Eight threads: a quarter of 8 x 45 MB, at most a tenth of 100: two models of 46 do not fit beside."""
    models = {"a": spec(45), "b": spec(45)}
    assert left(served("modelmesh", [(0, "a"), (400, "b")], models)) == []
    models = {"a": spec(46), "b": spec(46)}
    assert left(served("modelmesh", [(0, "a"), (400, "b")], models)) == [(400.0, "a")]


def test_triton_keeps_what_is_there_and_refuses_what_does_not_fit():
    models = {"a": spec(60), "b": spec(60), "c": spec(30)}
    rows = [(0, "a"), (10, "b"), (20, "c"), (30, "a")]
    found = served("triton", rows, models)
    assert found.outcomes == ["COLD_START", "REFUSED", "COLD_START", "HIT"]
    found = served("triton:models=[b]", rows, models)
    assert found.outcomes == ["REFUSED", "HIT", "COLD_START", "REFUSED"]
    assert found.left == []


def test_vramd_sends_the_most_mib_per_point_of_priority_away_however_recent():
    """9,000 MiB of priority 20 used just now go before 500 MiB of priority 10 that are idle for long."""
    models = {"big": spec(9000, priority="high"), "small": spec(400), "new": spec(1000)}
    found = served("vramd:idle_timeout=9999", [(0, "small"), (100, "big"), (110, "new")], models, 10_240)
    assert left(found) == [(110.0, "big")]


def test_vramd_wants_384_mib_on_top():
    models = {"a": spec(500), "b": spec(116)}
    assert left(served("vramd", [(0, "a"), (10, "b")], models, 1000)) == []
    models = {"a": spec(500), "b": spec(117)}
    assert left(served("vramd", [(0, "a"), (10, "b")], models, 1000)) == [(10.0, "a")]


def test_a_preset_is_no_longer_than_eighty_lines():
    folder = Path(servers.__file__).parent
    for name in server_names():
        text = (folder / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 80
        assert re.search(r"read=\"August 2026\"", text)
