"""A server in anyone's SimPy model: an ordinary citizen of it, and the same as a replay to the last byte."""

import ast
import doctest
from math import inf, nextafter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simpy
import simpy.rt
from hypothesis import given
from hypothesis import strategies as st

import vramlab
from tests.simulation.workloads import plain_cache
from vramlab.config.errors import InputError
from vramlab.config.faults import FaultPlan
from vramlab.config.schema import ModelSpec
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep
from vramlab.servers.preset import as_asked
from vramlab.simulation import server as module
from vramlab.simulation.server import Server, delay_until
from vramlab.traces.trace import Trace

ROOT = Path(__file__).parents[2]


def spec(**values):
    """10 MB; 0.5 s to load, a quarter of a second to run: times that binary fractions hold exactly."""
    given = {"priority": "medium", "vram_size_mb": 10, "load_time_ms": 500, "inference_ms": 250}
    return ModelSpec(**given | values)


def serve(*overrides, capacity_mb=20, env=None, **more):
    """(environment, server) with room for two of three models."""
    env = env or simpy.Environment()
    inventory = {"a": spec(), "b": spec(), "c": spec()}
    return env, Server(env, plain_cache(capacity_mb, *overrides), inventory, **more)


def answers_to(env, server, *requests):
    """The records of requests, each ``(time, model)`` from a process of its own."""
    found = []

    def ask(time_s, model):
        yield env.timeout(time_s)
        found.append((yield server.infer(model)))

    for request in requests:
        env.process(ask(*request))
    env.run()
    return found


# -- in the environment ----------------------------------------------------------------------------------


def test_the_example_of_its_docstring(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(module)
    assert (result.attempted, result.failed) == (6, 0)
    assert vramlab.Server is Server


def test_worked_by_hand():
    env, server = serve()
    cold, joined, hit, other = answers_to(env, server, (1, "a"), (1.25, "a"), (2, "a"), (2.125, "b"))
    assert cold == (0, "a", Outcome.COLD_START, 1.0, 1.75, "")  # loaded until 1.5, run until 1.75
    assert joined == (1, "a", Outcome.WAIT, 1.25, 2.0, "")
    assert hit == (2, "a", Outcome.HIT, 2.0, 2.25, "")
    assert (other.outcome, other.latency_s, other.ran_on, other.served) == (
        Outcome.COLD_START, 0.75, "gpu", True
    )  # fmt: skip
    assert env.now == 2.875
    tables = server.frames()
    assert tables["requests"].latency_s.tolist() == [0.75, 0.75, 0.25, 0.75]
    assert tables["requests"].outcome.tolist() == ["cold_start", "wait", "hit", "cold_start"]
    assert tables["loads"].model.tolist() == ["a", "b"]


def test_a_request_is_an_event_like_any_other():
    env, server = serve()
    seen = []

    def model(env):
        both = yield server.infer("a") & server.infer("b")
        seen.append((env.now, sorted(record.model for record in both.values())))
        first = server.infer("a")
        yield first | env.timeout(10)
        seen.append((env.now, first.triggered, first.value.outcome))
        yield env.timeout(1)
        seen.append((yield first).outcome)  # long since processed
        quick = yield server.infer("a") | env.timeout(0.125, "too slow")
        seen.append(list(quick.values()))

    env.process(model(env))
    env.run()
    assert seen == [(1.25, ["a", "b"]), (1.5, True, Outcome.HIT), Outcome.HIT, ["too slow"]]


def test_who_leaves_a_with_block_early_gives_up():
    """Two wait for the one stream until 2.0 s: one has had enough at 1.9375 s, one is interrupted before."""
    env, server = serve()
    seen = []

    def patient(env):
        yield env.timeout(1)
        seen.append((yield server.infer("a")).finish_s)
        seen.append((yield server.infer("a")).finish_s)

    def hasty(env):
        yield env.timeout(1.8125)
        with server.infer("a") as request:
            result = yield request | env.timeout(0.125)
            seen.append(request in result)
        seen.append((yield request).outcome)

    def interrupted(env):
        yield env.timeout(1.8125)
        try:
            with server.infer("a") as request:
                yield request
        except simpy.Interrupt:
            seen.append((yield request).outcome)

    env.process(patient(env))
    env.process(hasty(env))
    victim = env.process(interrupted(env))

    def interrupter(env):
        yield env.timeout(1.875)
        victim.interrupt()

    env.process(interrupter(env))
    env.run()
    assert seen == [1.75, Outcome.CANCELLED, False, Outcome.CANCELLED, 2.0]
    assert [Outcome(outcome) for outcome in server.records.outcomes].count(Outcome.CANCELLED) == 2


def test_what_runs_already_goes_on_and_who_was_interrupted_hurts_nobody():
    env, server = serve()
    seen = []

    def given_up(env):
        with server.infer("a") as request:
            yield env.timeout(0.625)  # it is running by then
        seen.append((env.now, (yield request).outcome, env.now))

    def without_a_block(env):
        try:
            yield server.infer("b")
        except simpy.Interrupt:
            seen.append("interrupted")

    env.process(given_up(env))
    victim = env.process(without_a_block(env))

    def interrupter(env):
        yield env.timeout(0.25)
        victim.interrupt()

    env.process(interrupter(env))
    env.run()
    assert seen == ["interrupted", (0.625, Outcome.COLD_START, 0.75)]
    assert server.records.outcomes.tolist() == [Outcome.COLD_START] * 2  # nobody gave that one up
    request = server.infer("a")
    env.run(request)
    request.cancel()  # too late, and no harm
    assert request.value.outcome is Outcome.HIT


def test_refused_and_failed_are_results():
    env, server = serve(capacity_mb=5)
    (refused,) = answers_to(env, server, (0, "a"))
    assert (refused.outcome, refused.served, refused.ran_on) == (Outcome.REFUSED, False, "")
    assert refused.why
    plan = FaultPlan.model_validate({"load_failures": [{"at_s": [0], "why": "corrupt"}]})
    env, server = serve(faults=plan)
    failed, later = answers_to(env, server, (0, "a"), (5, "a"))
    assert (failed.outcome, failed.why) == (Outcome.FAILED, "corrupt: by the fault plan")
    assert later.outcome is Outcome.COLD_START
    assert server.records.faults["load_failures"] == 1


@pytest.mark.parametrize(
    ("request_", "key", "expected"),
    [
        ({"model": "aa"}, "model", "did you mean 'a'"),
        ({"model": "a", "items": 0}, "items", "a whole number from 1 on"),
        ({"model": ["a"]}, "model", "a model of the inventory"),
        ({"model": "a", "items": True}, "items", "a whole number from 1 on"),
        ({"model": "a", "priority": "urgent"}, "priority", "one of critical, high"),
        ({"model": "a", "requester": ["me"]}, "requester", "text, a whole number"),
        ({"model": "a", "input_key": {}}, "input_key", "text, a whole number"),
    ],
)
def test_bad_input_is_one_clear_error_where_it_is_asked_for(request_, key, expected):
    _, server = serve()
    with pytest.raises(InputError, match=f"^request: {key}: found .*{expected}"):
        server.infer(**request_)
    assert len(server.records) == 0


def test_what_numpy_draws_and_numbers_as_names_are_taken_and_the_journal_is_followed(tmp_path):
    rng, journal = np.random.default_rng(0), Journal()
    env, server = serve(journal=journal)
    for number in range(3):
        model = rng.choice(list(server.inventory))
        server.infer(model, items=rng.integers(1, 4), requester=number, input_key=np.int64(number))
    env.run()
    lines = list(journal)
    arrivals = [line for line in lines if line.event == "arrival"]
    assert [line.detail["requester"] for line in arrivals] == ["0", "1", "2"]
    assert all(type(line.model) is str and type(line.detail["items"]) is int for line in arrivals[:2])
    (tmp_path / "journal.jsonl").write_text("".join(journal.texts()), encoding="utf-8")
    again = read_journal(tmp_path / "journal.jsonl")
    assert lockstep(again, server.config, server.inventory).differences == []


@pytest.mark.parametrize(
    ("overrides", "inventory", "expected"),
    [
        ((), {"a": spec(priority="critical", vram_size_mb=100)}, "critical"),
        (("serving.batching=true",), {"a": spec()}, "splits: true"),
    ],
)
def test_settings_and_inventory_must_fit(overrides, inventory, expected):
    """As they must for a replay and for a live runtime."""
    with pytest.raises(InputError, match=expected):
        Server(simpy.Environment(), plain_cache(20, *overrides), inventory)


def test_a_journal_is_no_path():
    with pytest.raises(InputError, match=r"^server: journal: found 'journal\.jsonl', expected a Journal"):
        serve(journal="journal.jsonl")


def test_it_serves_as_a_model_server_of_today_where_the_settings_say_so():
    _, server = serve("server=ollama")
    assert server.config.serving.order == load_as("ollama").serving.order != plain_cache(20).serving.order


def load_as(name):
    return as_asked(plain_cache(20, f"server={name}"), {"a": spec(), "b": spec(), "c": spec()})[0]


def test_what_is_under_way_has_no_outcome_yet():
    env, server = serve()
    for name in "abc":
        server.infer(name)
    env.run(until=0.875)
    requests = server.frames()["requests"]
    assert requests.outcome.isna().tolist() == [False, True, True]
    assert requests.outcome[0] == "cold_start"
    env.run()
    assert server.frames()["requests"].outcome.tolist() == ["cold_start"] * 3


def test_a_plan_and_a_trace_must_fit():
    plan = FaultPlan.model_validate({"load_failures": [{"models": ["nobody"], "probability": 1}]})
    with pytest.raises(InputError, match="nobody"):
        serve(faults=plan)
    env, server = serve(env=simpy.Environment(5))
    early = Trace.from_frame(pd.DataFrame({"time_s": [4.0], "model": ["a"]}), "early.csv")
    env.process(server.replay(early))
    with pytest.raises(InputError, match=r"early.csv: row 1 column time_s: found 4.0, expected .*5 s"):
        env.run()


def test_files_may_be_named():
    env = simpy.Environment()
    server = Server(env, ROOT / "config" / "scenarios" / "tight.yaml", ROOT / "config" / "model_config.yaml")
    (answer,) = answers_to(env, server, (1, "genderage.onnx"))
    assert answer.served
    assert {load.reason for load in server.records.loads} == {"start", "request"}


# -- what never ends -------------------------------------------------------------------------------------

UNUSED = (
    "optimization.monitor=true",
    "optimization.monitoring_interval=10",
    "optimization.unused_after_s=60",
    "optimization.optimization_threshold=0.4",
    "optimization.pressure_available_mb=0",
)


def test_an_environment_comes_to_its_end_although_the_monitor_does_not():
    env, server = serve(*UNUSED)
    answers_to(env, server, (0, "a"), (100, "b"))
    assert env.now == 100.75
    assert server.records.evictions[0][:2] == (
        70.001,
        "a",
    )  # the first look after a minute


def test_what_the_monitor_did_while_nobody_asked_is_made_up_for():
    env, server = serve(*UNUSED)
    server.infer("a")
    env.run(until=1000)
    assert env.now == 1000
    assert [(gone.time_s, gone.model, gone.reason) for gone in server.records.evictions] == [
        (70.001, "a", "unused")
    ]


def test_two_servers_and_somebody_elses_resource_in_one_environment():
    env = simpy.Environment()
    _, near = serve(env=env)
    _, far = serve(env=env)
    desk = simpy.Resource(env)
    seen = []

    def customer(env, name, server):
        with desk.request() as turn:
            yield turn
            yield env.timeout(0.5)
            answer = yield server.infer("a")
            seen.append((name, answer.outcome.name, env.now))

    for name, server in (("first", near), ("second", far), ("third", near)):
        env.process(customer(env, name, server))
    env.run()
    assert seen == [("first", "COLD_START", 1.25), ("second", "COLD_START", 2.5), ("third", "HIT", 3.25)]


def test_in_real_time():
    env, server = serve(env=simpy.rt.RealtimeEnvironment(factor=0.01, strict=False))
    records = answers_to(env, server, (0, "a"), (1, "a"))
    assert [record.latency_s for record in records] == [0.75, 0.25]


def test_a_closed_loop_is_that_of_a_plain_resource():
    """Thirty users think, ask and wait; all models are there, so the GPU is a SimPy resource of one."""
    names, users, rounds = "abc", 30, 20

    def run(make):
        rng, latencies = np.random.default_rng(4), []
        thinking = rng.exponential(2.0, (users, rounds)).tolist()
        asked = rng.choice(list(names), (users, rounds)).tolist()
        env = simpy.Environment()
        served = make(env)

        def user(env, number):
            for think_s, name in zip(thinking[number], asked[number], strict=True):
                yield env.timeout(think_s)
                begin_s = env.now
                yield from served(name)
                latencies.append(env.now - begin_s)

        for number in range(users):
            env.process(user(env, number))
        env.run()
        return latencies

    def ours(env):
        inventory = {name: spec(inference_ms=60, always_loaded=True) for name in names}
        server = Server(env, plain_cache(100, "serving.order=fifo"), inventory)

        def served(name):
            assert (yield server.infer(name)).outcome is Outcome.HIT

        return served

    def twin(env):
        gpu = simpy.Resource(env)

        def served(name):
            with gpu.request() as turn:
                yield turn
                yield env.timeout(0.06)

        return served

    mine, its = run(ours), run(twin)
    assert len(mine) == users * rounds
    assert max(mine) > 0.3
    np.testing.assert_allclose(mine, its, rtol=1e-9)


# -- time ---------------------------------------------------------------------------------------------------


@given(
    st.floats(0, 1e9), st.floats(0, 1e9) | st.floats(0, 1e-3)
)  # fmt: skip
def test_a_delay_ends_at_its_time_to_the_last_bit(now_s, later_s):
    time_s = now_s + later_s
    assert now_s + delay_until(time_s, now_s) == time_s


@given(st.floats(-1e9, 0), st.floats(-1e9, 1e9))
def test_below_zero_a_delay_ends_at_its_time_or_just_after(now_s, time_s):
    if time_s >= now_s:
        delay_s = delay_until(time_s, now_s)
        assert now_s + delay_s >= time_s
        assert delay_s == 0 or now_s + nextafter(delay_s, -inf) <= time_s


def test_nothing_of_simpys_own_is_touched():
    """No name with an underscore of an environment or an event."""
    env = simpy.Environment()
    private = {name for thing in (env, env.timeout(0)) for name in vars(thing) if name.startswith("_")}
    assert {"_queue", "_eid", "_now", "_value"} <= private
    for path in (ROOT / "vramlab" / "simulation").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not used & private, path.name
