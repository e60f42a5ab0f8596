"""Preloading by predicted use: the specification's rule, by hand, and its options."""

import numpy as np
import pandas as pd
import pytest

from tests.engine.hand import settings, spec
from vramlab.allocator.invariants import check
from vramlab.config.errors import InputError
from vramlab.engine.engine import Engine
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.runs.lockstep import lockstep
from vramlab.runs.recorder import Recorder
from vramlab.simulation.driver import SimulatedDriver
from vramlab.simulation.replaying import play, simulate
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.synthetic import zipf_trace
from vramlab.traces.trace import Trace

MODELS = {"a": spec(100), "b": spec(100), "c": spec(100), "d": spec(50)}
ON = "optimization.predictor=tests.engine.test_preloading:Told"


class Told:
    """Knows the probabilities of its options: ``{model: [[from_s, probability], ...]}``."""

    def __init__(self, models, *, told=None):
        self.told, self.seen = told or {}, []

    def observe(self, model, now_s):
        self.seen.append((now_s, model))

    def probability(self, model, now_s, horizon_s):
        known = [value for from_s, value in self.told.get(model, []) if from_s <= now_s]
        return known[-1] if known else 0.0


def trace_of(*rows):
    return Trace.from_frame(pd.DataFrame(rows, columns=["time_s", "model"]))


def run(capacity_mb, told, *rows, overrides=()):
    told = ", ".join(f"{name}: {values}" for name, values in told.items())
    options = f"optimization.predictor_options={{told: {{{told}}}}}"
    config = settings(capacity_mb, ON, options, "optimization.monitor=false", *overrides)
    journal = Journal()
    records = simulate(trace_of(*rows), config, MODELS, journal=journal)
    assert lockstep(list(journal), config, MODELS).differences == []
    return records


def preloads(records):
    return [(p.time_s, p.model, p.fate) for p in records.preloads]


def test_the_most_probable_is_loaded_first_and_only_above_the_threshold():
    told = {"a": [[0, 0.8]], "b": [[0, 0.9]], "c": [[0, 0.7]]}  # 0.7 is not above 0.7
    records = run(350, told, (0.0, "d"), (100.0, "a"), (101.0, "c"))
    # loads take 0.1 s each; both at the first look, after 60 s
    assert [(p.time_s, p.model) for p in records.preloads] == [(60.0, "b"), (pytest.approx(60.1), "a")]
    assert [p.fate for p in records.preloads] == ["", "useful"]
    cold, hit = Outcome.COLD_START, Outcome.HIT
    assert list(records.outcomes) == [cold, hit, cold]


def test_it_takes_free_room_only():
    records = run(150, {"a": [[0, 0.99]]}, (0.0, "b"), (200.0, "a"))  # 50 MB are free
    assert preloads(records) == []
    assert [load.reason for load in records.loads] == ["request", "request"]


def test_with_the_option_it_takes_the_place_of_a_model_that_is_less_likely():
    told = {"a": [[0, 0.9]], "b": [[0, 0.5]]}
    records = run(150, told, (0.0, "b"), (200.0, "a"), overrides=["optimization.preload_may_evict=true"])
    assert preloads(records) == [(pytest.approx(60.001), "a", "useful")]
    assert [(e.model, e.reason) for e in records.evictions] == [("b", "preload")]


def test_it_never_takes_the_place_of_a_model_that_is_as_likely():
    told = {"a": [[0, 0.9]], "b": [[0, 0.9]]}
    records = run(150, told, (0.0, "b"), (200.0, "a"), overrides=["optimization.preload_may_evict=true"])
    assert preloads(records) == []


def test_what_is_evicted_before_it_was_asked_for_is_wasted():
    records = run(250, {"a": [[0, 0.9], [61, 0.0]]}, (0.0, "d"), (100.0, "b"), (200.0, "c"), (300.0, "d"))
    assert preloads(records) == [(60.0, "a", "wasted")]


def test_what_is_not_used_in_time_is_unloaded_and_not_preloaded_again_before_it_was_asked_for():
    overrides = ["optimization.unpreload_after_s=100"]
    rows = [(0.0, "d"), (1000.0, "a"), (1030.0, "b"), (1031.0, "c"), (2000.0, "d")]
    records = run(250, {"a": [[0, 0.9]]}, *rows, overrides=overrides)
    # preloaded at 60 s; due at 160.1 s, so taken back at the look at 180 s; not again until asked for
    assert preloads(records)[0] == (60.0, "a", "wasted")
    assert records.preloads[0].settled_s == 180.0
    assert len([p for p in records.preloads if p.time_s < 1000]) == 1


def test_a_request_that_joins_the_preload_makes_it_useful():
    records = run(350, {"a": [[0, 0.9]]}, (0.0, "d"), (60.05, "a"))
    assert preloads(records) == [(60.0, "a", "useful")]
    assert records.outcomes[1] == Outcome.WAIT


def test_a_busy_load_channel_belongs_to_requests():
    records = run(350, {"a": [[0, 0.9]]}, (0.0, "d"), (59.95, "b"), (130.0, "d"))
    assert preloads(records) == [(120.0, "a", "")]


def test_the_horizon_of_a_model_can_follow_from_its_load_time():
    class Asked(Told):
        def probability(self, model, now_s, horizon_s):
            asked.append((model, horizon_s))
            return 0.0

    asked = []
    config = settings(350, "optimization.predictor=ewma", "optimization.preload_horizon_load_factor=50")
    engine = Engine(config, MODELS, Recorder(list(config.zones)))
    engine.preloading.predictor = Asked([])
    engine.preloading.probability(engine.allocator.models["a"], 0.0)
    assert asked == [("a", 5.0)]


def test_without_a_predictor_nothing_is_done():
    config = settings(350)
    assert Engine(config, MODELS, Recorder(list(config.zones))).preloading is None


def test_an_unknown_predictor_is_one_clear_error():
    config = settings(350, "optimization.predictor=clairvoyant")
    with pytest.raises(InputError, match="clairvoyant"):
        Engine(config, MODELS, Recorder(list(config.zones)))


def test_options_that_it_does_not_take_are_one_clear_error():
    config = settings(350, "optimization.predictor=ewma", "optimization.predictor_options={half: 1}")
    with pytest.raises(InputError, match="half"):
        Engine(config, MODELS, Recorder(list(config.zones)))


class Checked(SimulatedDriver):
    """Looks at the ledgers after each step."""

    def resume(self, task, now_s, value):
        super().resume(task, now_s, value)
        check(self.engine.allocator)


@pytest.mark.parametrize("placement", ["paged", "contiguous"])
@pytest.mark.parametrize("evicts", ["true", "false"])
@pytest.mark.parametrize("predictor", ["ewma", "combined"])
def test_ledgers_hold_every_preload_is_accounted_for_and_runs_are_equal(predictor, evicts, placement):
    inventory = {f"m{i}": spec(40 + 17 * i, zone=f"z{i % 2}") for i in range(8)}
    config = settings(
        500,
        "zones={z0: {size_mb: 260, min_retention_time: 0}, z1: {size_mb: 240, max_models: 3}}",
        f"placement={placement}",
        f"optimization.predictor={predictor}",
        f"optimization.preload_may_evict={evicts}",
        "optimization.preload_prediction_threshold=0.2",
        "optimization.preload_interval=5",
        "optimization.preload_horizon_s=60",
        "optimization.unpreload_after_s=40",
    )
    trace = zipf_trace(np.random.default_rng(7), models=list(inventory), requests=600, rate_per_s=0.5)

    def once():
        journal, recorder = Journal(), Recorder(list(config.zones))
        recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
        engine = Engine(config, inventory, recorder, journal)
        play(trace, Checked(engine, SpecTimes(config, inventory)))
        return list(journal), recorder.records()

    lines, records = once()
    assert lines == once()[0]
    assert lockstep(lines, config, inventory).differences == []
    assert len(records.preloads) > 5
    assert {p.fate for p in records.preloads} <= {"useful", "wasted", "failed", ""}
    fates = [line.what for line in lines if line.event == "action" and line.task == "preloading"]
    for fate in ("useful", "wasted"):
        assert fates.count(f"preload {fate}") == sum(p.fate == fate for p in records.preloads) > 0
    for name, room_mb in (("z0", 260), ("z1", 240)):
        index = records.zone_names.index(name)
        assert max(usage.held_bytes[index] for usage in records.usage) <= room_mb * 2**20


def test_a_gap_of_years_is_passed_in_a_few_looks_and_ends_with_the_next_request():
    told = "{told: {b: [[1.0e+10, 0.9]]}}"
    config = settings(300, ON, f"optimization.predictor_options={told}", "optimization.monitor=false")
    trace = trace_of((0.0, "a"), (1e10, "a"), (1e10 + 200.0, "b"))
    records = simulate(trace, config, MODELS)
    (preload,) = records.preloads
    assert preload.model == "b"
    assert 0 <= preload.time_s - 1e10 <= 60.0  # and not at the next of the looks far apart
    assert [Outcome(outcome) for outcome in records.outcomes][-1] is Outcome.HIT
