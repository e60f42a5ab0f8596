"""Each rule by itself, worked by hand; every run's journal is followed in lock-step too."""

import pytest

from tests.servers.running import config_of, run, spec, trace_of
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import check_fit
from vramlab.config.schema import VramConfig
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.replay import replay
from vramlab.simulation.decide import decide


def left(found):
    return [(time, name) for time, name, _ in found.left]


# -- keep_alive ----------------------------------------------------------------------------------------

SMALL = {"a": spec(10), "b": spec(10), "c": spec(10)}


def test_a_model_leaves_when_nobody_has_used_it_for_its_time_out():
    """a loads at 0, runs from 1 to 1.1 and is idle: it leaves at 1.1 + 60. b, asked for at 50 and at 100,
    never is for 60 s until the end of the trace, so it stays."""
    rules = {"keep_alive_s": 60}
    found = run([(0, "a"), (50, "b"), (100, "b")], SMALL, config_of(rules=rules))
    assert found.left == [(61.1, "a", "keep_alive")]


def test_time_runs_anew_from_the_end_of_each_run():
    found = run([(0, "a"), (50, "a"), (111, "b"), (300, "b")], SMALL, config_of(rules={"keep_alive_s": 60}))
    assert left(found)[0] == (110.1, "a")  # 50.1 + 60, and not 61.1


def test_a_time_out_of_nothing_sends_a_model_away_as_soon_as_it_is_idle():
    rules = {"keep_alive_s": 0}
    found = run([(0, "a"), (1, "a"), (5, "a"), (9, "b")], SMALL, config_of(rules=rules))
    # the first two run from 1.0 to 1.1 side by side; the third needs a load of its own
    assert left(found) == [(1.1, "a"), (6.1, "a")]
    assert len(found.loads) == 3


def test_time_outs_may_differ_by_model_and_be_none():
    rules = {"keep_alive_s": 10, "keep_alive_by_model": {"a": 20, "b": None}}
    found = run([(0, "a"), (0, "b"), (0, "c"), (100, "c")], SMALL, config_of(rules=rules))
    # loaded one after the other: a until 1 s, b until 2 s, c until 3 s
    assert left(found) == [(13.1, "c"), (21.1, "a")]


def test_looks_may_be_seldom():
    rules = {"keep_alive_s": 60, "keep_alive_every_s": 15}
    found = run([(0, "a"), (200, "b")], SMALL, config_of(rules=rules))
    assert left(found)[0] == (75.0, "a")  # 61.1 s, and the look after that


def test_pinned_models_are_there_from_the_start_and_never_leave():
    models = {"a": spec(60), "b": spec(60), "c": spec(60)}
    found = run(
        [(0, "b"), (10, "c"), (20, "b")], models, config_of(160, rules={"pinned": ["a"], "keep_alive_s": 5})
    )
    assert "a" in [name for _, name in found.loads]
    assert "a" not in [name for _, name, _ in found.left]


# -- one victim, headroom, caps ------------------------------------------------------------------------


def test_one_victim_leaves_and_then_it_is_decided_anew():
    """d wants the room of a and b; unloading takes 5 s. At 12 s, while a is leaving, b is used, so it is no
    longer the least recently used when a is gone, and c goes in its place. Without the rule both are gone,
    and b's return sends c away as well."""
    models = {"a": spec(30), "b": spec(30), "c": spec(30), "d": spec(60)}
    rows = [(0, "a"), (2, "b"), (4, "c"), (10, "d"), (12, "b")]
    slow = {"unload_time_ms": 5000}
    together = run(rows, models, config_of(serving=slow))
    assert [name for _, name in left(together)] == ["a", "b", "c"]
    one = run(rows, models, config_of(serving=slow, rules={"one_victim": True}))
    assert left(one) == [(15.0, "a"), (20.0, "c")]
    assert one.latencies[4] == pytest.approx(0.1)  # b was still there
    assert one.loads[3] == (20.0, "d")


def test_headroom_is_room_that_a_load_wants_on_top():
    """Two models of 40 MB fit in 100 MB; where the second wants 50 they still do, where it wants 64 not."""
    models = {"a": spec(40), "b": spec(40)}
    rows = [(0, "a"), (10, "b")]
    for factor, gone in ((1.25, []), (1.6, [(10.0, "a")])):
        assert left(run(rows, models, config_of(rules={"headroom_factor": factor}))) == gone
    for mb, gone in ((20, []), (21, [(10.0, "a")])):
        assert left(run(rows, models, config_of(rules={"headroom_mb": mb}))) == gone


def test_headroom_may_not_count_where_nothing_else_is_there():
    """A model of 90 of 100 MB with a quarter more would never fit: alone it is loaded anyway."""
    models = {"a": spec(90), "b": spec(10)}
    rules = {"headroom_factor": 1.25, "headroom_alone": False}
    found = run([(0, "b"), (10, "a"), (20, "b")], models, config_of(rules=rules))
    assert found.outcomes == ["COLD_START"] * 3
    # b leaves for a; and a for b: 100 - 90 leaves 10, and b wants 12.5
    assert left(found) == [(10.0, "b"), (20.0, "a")]


def test_a_count_caps_models_however_small():
    zones = {"flexible": {"size_mb": 100, "max_models": 2, "min_retention_time": 0}}
    found = run([(0, "a"), (10, "b"), (20, "c")], SMALL, config_of(zones=zones))
    assert left(found) == [(20.0, "a")]


# -- groups and sets -----------------------------------------------------------------------------------

FIVE = {name: spec(10) for name in "abcde"}


def rows_of(names, step=10):
    return [(step * place, name) for place, name in enumerate(names)]


def test_members_of_a_swapping_group_take_turns_and_exclusive_groups_send_others_away():
    rules = {
        "groups": {
            "big": {"members": ["a", "b"], "swap": True, "exclusive": True},
            "small": {"members": ["c", "d"], "swap": False, "exclusive": False},
            "always": {"members": ["e"], "swap": False, "exclusive": False, "persistent": True},
        }
    }
    found = run(rows_of("ecdab"), FIVE, config_of(rules=rules))
    # c and d stand side by side; a sends both away, and not e; b sends its sibling away
    assert left(found) == [(30.0, "c"), (30.0, "d"), (40.0, "a")]
    found = run(rows_of("ac"), FIVE, config_of(rules=rules))
    assert left(found) == []  # the small group is not exclusive


def test_a_group_waits_for_a_sibling_in_use():
    """b is asked for while a runs, until 11: a leaves then, and b is there a second later."""
    models = {"a": spec(10, run_ms=10_000), "b": spec(10)}
    rules = {"groups": {"one": {"members": ["a", "b"]}}}
    found = run([(0, "a"), (5, "b")], models, config_of(rules=rules))
    assert left(found) == [(11.0, "a")]
    assert found.loads == [(0.0, "a"), (11.0, "b")]


def test_of_the_sets_with_a_model_the_one_that_costs_least_is_brought_about():
    sets = [["a", "b"], ["a", "c"], ["c", "d"]]
    found = run(rows_of("abc"), FIVE, config_of(rules={"sets": sets}))
    # for c: {a, c} leaves b out, {c, d} leaves a and b out
    assert left(found) == [(20.0, "b")]
    # b is dear: {a, c} costs 9 and {c, d} 10, so it is the same; if a is cheap too, still
    found = run(rows_of("abc"), FIVE, config_of(rules={"sets": sets, "evict_costs": {"b": 9}}))
    assert left(found) == [(20.0, "b")]
    # of equals the first of the file: for d only {c, d}; for e none, so all leave
    found = run(rows_of("abde"), FIVE, config_of(rules={"sets": sets}))
    assert left(found) == [(20.0, "a"), (20.0, "b"), (30.0, "d")]


def test_costs_decide_between_sets():
    sets = [["a", "c"], ["b", "c"]]
    models = {name: spec(10) for name in "abc"}
    both = config_of(rules={"sets": [*sets, ["a", "b"]]})
    assert left(run(rows_of("abc"), models, both)) == [(20.0, "b")]  # 1 each, the first set
    dear = config_of(rules={"sets": [*sets, ["a", "b"]], "evict_costs": {"b": 5}})
    assert left(run(rows_of("abc"), models, dear)) == [(20.0, "a")]


def test_sets_hold_in_decide_mode_too():
    sets = config_of(rules={"sets": [["a", "b"], ["c"]], "keep_alive_s": 5})
    records = replay(trace_of(*rows_of("abca")), sets, FIVE, "decide").records
    assert [(row.time_s, row.model) for row in records.evictions] == [(20, "a"), (20, "b"), (30, "c")]


def test_decide_sees_who_was_sent_away_for_a_model_that_then_finds_no_room():
    """b sends a away, as they take turns, and still lacks room beside the pinned c: a has to load anew."""
    models = {"a": spec(30), "b": spec(50), "c": spec(60)}
    rules = {"pinned": ["c"], "groups": {"one": {"members": ["a", "b"]}}}
    trace = trace_of((0, "a"), (1, "a"), (2, "b"), (3, "a"))
    records = decide(trace, config_of(100, rules=rules), models)
    assert [Outcome(code).name for code in records.outcomes] == ["COLD_START", "HIT", "REFUSED", "COLD_START"]
    assert [(row.time_s, row.model) for row in records.evictions] == [(2.0, "a")]


def test_decide_refuses_rules_that_clear_first_on_a_map():
    config = config_of(100, rules={"one_victim": True}, placement="contiguous")
    with pytest.raises(InputError, match="contiguous, expected paged"):
        decide(trace_of((0, "a")), config, SMALL)


# -- refusals ------------------------------------------------------------------------------------------


def test_a_load_that_would_churn_is_refused():
    """Two models of 60 MB: a was used at 0, so at 50 b is refused, and at 130 a is old enough to leave."""
    models = {"a": spec(60), "b": spec(60)}
    found = run([(0, "a"), (50, "b"), (130, "b")], models, config_of(rules={"churn_age_s": 120}))
    assert found.outcomes == ["COLD_START", "REFUSED", "COLD_START"]
    assert left(found) == [(130.0, "a")]
    assert found.figures["refused"] == 1


def test_a_queue_that_is_full_refuses_who_needs_a_load():
    """a loads until 5 s; b and c wait too, so d is refused; at 6 s a is there and needs no place."""
    models = {name: spec(10, load_ms=5000) for name in "abcd"}
    rows = [(0, "a"), (1, "b"), (2, "c"), (3, "d"), (6, "a")]
    found = run(rows, models, config_of(rules={"max_waiting": 3}))
    assert [(row.number, row.why) for row in found.records.lost] == [(3, "3 requests wait already")]


def test_a_model_takes_so_many_requests_at_once():
    models = {"a": spec(10, run_ms=10_000), "b": spec(10)}
    rows = [(0, "a"), (2, "a"), (3, "a"), (4, "b")]
    found = run(rows, models, config_of(rules={"max_per_model": 2}))
    assert [row.number for row in found.records.lost] == [2]


# -- who waits ----------------------------------------------------------------------------------------


def waiting_run(waited_for):
    """One stream. a runs until 22; b is there and waited for; at 5 s c, which needs b's room, comes."""
    models = {"a": spec(40, run_ms=20_000), "b": spec(60, run_ms=1000), "c": spec(60, run_ms=1000)}
    rows = [(0, "b"), (0.5, "a"), (4, "b"), (5, "c"), (6, "c")]
    config = config_of(
        serving={"gpu_streams": 1, "max_wait_s": 1e9, "order": "vramlab.servers.orders:one_pending"},
        rules={"waited_for": waited_for},
    )
    return run(rows, models, config)


def test_a_model_that_is_waited_for_is_in_use_or_not_as_the_rule_says():
    assert waiting_run("in_use").left[0][0] == pytest.approx(23.0)  # after its second run
    assert waiting_run("ignored").left[0][0] < 22.5


# -- settings ------------------------------------------------------------------------------------------


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"vram_management\.rules\.pinned: found 'x', expected a model"):
        check_fit(config_of(rules={"pinned": ["x"]}), SMALL, "c.yaml", "m.yaml")
    with pytest.raises(ValueError, match="an order that runs at once what it loads for"):
        config_of(rules={"waited_for": "ignored"}, serving={"order": "fifo"})
    with pytest.raises(ValueError, match="an order that decides late"):
        config_of(rules={"one_victim": True}, serving={"order": "arrival"})


def test_settings_without_rules_keep_their_fingerprint():
    """As it was before there were rules."""
    plain = VramConfig()
    assert fingerprint(plain) == fingerprint(VramConfig.model_validate({"rules": {}}))
    assert fingerprint(plain) != fingerprint(VramConfig.model_validate({"rules": {"one_victim": True}}))
    assert "rules" not in str(sorted(plain.model_dump(exclude_defaults=True)))
