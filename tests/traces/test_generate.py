"""Generators: each ingredient of a spec has the effect that it is named for, and bad specs are refused."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest

from vramlab.config.errors import InputError
from vramlab.traces.files import read_trace, write_trace
from vramlab.traces.generate import SPEC_KEY, generate
from vramlab.traces.popularity import draw, reused
from vramlab.traces.spec import Reuse, load_spec, make_spec, spec_yaml


def made(seed=1, duration_s=10_000.0, decimals=9, **stream):
    stream = {"rate_per_s": 5.0, **stream}
    if "pipeline" not in stream:
        stream.setdefault("models", 10)
    return generate(
        make_spec({"seed": seed, "duration_s": duration_s, "decimals": decimals, "streams": [stream]})
    )


def times_of(trace, model):
    return trace.times_s[(trace.frame["model"] == model).to_numpy()]


def per(trace, seconds, duration_s=10_000.0):
    return np.histogram(trace.times_s, np.arange(0, duration_s + seconds, seconds))[0]


# -- arrivals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("burstiness", [0.3, 1.0, 4.0])
def test_rate_and_burstiness(burstiness):
    trace = made(burstiness=burstiness)
    gaps = np.diff(trace.times_s)
    assert len(trace) == pytest.approx(50_000, rel=0.06)
    assert gaps.std() / gaps.mean() == pytest.approx(burstiness, rel=0.08)


def test_poisson_counts_have_their_variance():
    counts = per(made(), 1)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.05)


def test_clock():
    assert made(burstiness=0, duration_s=1.0, rate_per_s=4).times_s.tolist() == [0.25, 0.5, 0.75]


def test_from_and_until():
    trace = made(from_s=1_000, until_s=2_000)
    assert trace.times_s.min() >= 1_000
    assert trace.times_s.max() < 2_000
    assert len(trace) == pytest.approx(5_000, rel=0.06)


def test_markov_states_keep_the_mean_and_bunch_the_requests():
    states = [{"factor": 1, "mean_s": 20}, {"factor": 9, "mean_s": 5}]
    trace = made(markov=states, duration_s=100_000)
    assert len(trace) == pytest.approx(500_000, rel=0.05)
    counts = per(trace, 1, 100_000)
    # rates of 5 / 2.6 and 45 / 2.6 per second for 4/5 and 1/5 of the time: variance of the rate 37.9
    assert counts.var() - counts.mean() == pytest.approx(4 / 5 * 1 / 5 * (40 / 2.6) ** 2, rel=0.15)
    three = [{"factor": 0, "mean_s": 50}, {"factor": 1, "mean_s": 50}, {"factor": 5, "mean_s": 50}]
    silent = (per(made(markov=three, rate_per_s=20, duration_s=50_000), 1, 50_000) == 0).mean()
    assert silent == pytest.approx(1 / 3, abs=0.06)
    assert len(made(markov=[{"factor": 7, "mean_s": 1}])) == pytest.approx(50_000, rel=0.02)


def test_daily_and_weekly_cycle():
    week_s = 7 * 86_400.0
    cycle = {"daily": [1, 3], "weekly": [1, 1, 1, 1, 1, 0, 2]}
    trace = made(cycle=cycle, duration_s=2 * week_s, rate_per_s=0.5)
    halves = per(trace, 43_200, 2 * week_s).reshape(2, 7, 2)
    mean = 0.5 * 43_200
    assert halves.mean(axis=(0, 1, 2)) == pytest.approx(mean, rel=0.02)
    assert halves.sum(axis=(0, 2))[5] == 0
    assert halves.sum(axis=(0, 2))[6] == pytest.approx(2 * halves.sum(axis=(0, 2))[0], rel=0.05)
    assert halves[0, :5, 1] / halves[0, :5, 0] == pytest.approx(3, rel=0.1)
    # time 0 is Saturday, 12:00: the second half of the silent day comes first
    shifted = made(cycle={**cycle, "starts_at_s": 5.5 * 86_400}, duration_s=86_400, rate_per_s=0.5)
    assert shifted.times_s.min() >= 43_200


def test_flash_crowd():
    crowd = {"at_s": 5_000, "peak": 10, "rise_s": 100, "half_life_s": 200, "model": "new"}
    trace = made(flash_crowds=[crowd])
    # area of the rise and of the fall, in seconds at the peak
    extra = 5 * 10 * (100 / 2 + 200 / np.log(2))
    assert len(trace) == pytest.approx(50_000 + extra, rel=0.02)
    new = times_of(trace, "new")
    assert len(new) == pytest.approx(extra, rel=0.05)
    assert new.min() >= 5_000
    assert np.median(new) == pytest.approx(5_260, abs=25)
    assert ((new > 5_100) & (new < 5_300)).sum() == pytest.approx(50 * 200 / np.log(2) / 2, rel=0.08)
    assert "new" not in made(flash_crowds=[{**crowd, "model": None}]).model_names
    assert "m3" in made(flash_crowds=[{**crowd, "model": "m3"}]).model_names


# -- models ------------------------------------------------------------------------------------------


def test_draw_has_the_weights():
    codes = draw(np.random.default_rng(1), [1, 0, 3], 100_000)
    assert np.bincount(codes) / 100_000 == pytest.approx([0.25, 0, 0.75], abs=0.01)


def test_models_by_list_weights_and_number():
    assert set(made(models=["a", "b"]).model_names) == {"a", "b"}
    shares = made(models={"a": 1, "b": 4}).frame["model"].value_counts(normalize=True)
    assert shares["b"] == pytest.approx(0.8, abs=0.01)
    assert sorted(made(models=11, prefix="x").model_names) == [f"x{number:02}" for number in range(11)]


def test_reuse_copies_and_keeps_popularity():
    rng = np.random.default_rng(2)
    chosen = draw(rng, 1 / np.arange(1.0, 21), 200_000)
    copied = reused(rng, chosen, [Reuse(probability=0.4, lags=(5, 5)), Reuse(probability=0.2, lags=(1, 2))])
    before, after = (np.bincount(codes, minlength=20) / 200_000 for codes in (chosen, copied))
    assert after == pytest.approx(before, abs=0.01)
    # Yule-Walker for DAR(p): r(k) = sum of a(j) r(|k - j|), where r is the autocorrelation
    lags = {5: 0.4, 1: 0.1, 2: 0.1}
    same = {lag: (copied[lag:] == copied[:-lag]).mean() for lag in range(1, 10)}
    chance = (after**2).sum()
    correlation = {0: 1.0, **{lag: (value - chance) / (1 - chance) for lag, value in same.items()}}
    for lag in (1, 2, 5, 6):
        expected = sum(weight * correlation[abs(lag - other)] for other, weight in lags.items())
        assert correlation[lag] == pytest.approx(expected, abs=0.02)


def test_reuse_with_a_lag_longer_than_the_trace_changes_nothing():
    chosen = np.arange(5)
    rules = [Reuse(probability=1, lags=(9, 9))]
    assert reused(np.random.default_rng(0), chosen, rules).tolist() == [0, 1, 2, 3, 4]
    rules = [Reuse(probability=1, lags=(2, 2))]
    assert reused(np.random.default_rng(0), chosen, rules).tolist() == [0, 1, 0, 1, 0]


def test_drift_changes_ranks_between_periods():
    trace = made(models=20, exponent=1.5, drift={"period_s": 500, "share": 1.0})
    tops = [trace.between(start, start + 500).frame["model"].mode()[0] for start in range(0, 10_000, 500)]
    assert len(set(tops)) > 8


PIPELINE = [
    {"model": "detect"},
    {"model": "check", "delay_s": 0.5},
    {"name": "recognise", "model": {"a": 3, "b": 1}, "probability": 0.6, "delay_s": 0.25},
    {"model": "age", "after": "detect", "probability": 0.5, "delay_s": 0.1},
    {"model": "store", "after": "recognise", "delay_s": 1.0},
]


def test_pipeline():
    labels = {"requesters": {"distinct": 5}, "input_keys": {"distinct": 10**6}}
    trace = made(pipeline=PIPELINE, rate_per_s=1, duration_s=20_000, decimals=6, **labels)
    detect, check, age, store = (times_of(trace, name) for name in ("detect", "check", "age", "store"))
    recognised = np.sort(np.concatenate([times_of(trace, "a"), times_of(trace, "b")]))
    assert len(detect) - len(check) in (0, 1)  # the last check may come after the end
    assert np.isin(np.round(check - 0.5, 5), np.round(detect, 5)).mean() > 0.99
    assert len(recognised) / len(detect) == pytest.approx(0.6, abs=0.02)
    assert len(times_of(trace, "a")) / len(recognised) == pytest.approx(0.75, abs=0.02)
    assert len(age) / len(detect) == pytest.approx(0.5, abs=0.02)
    assert np.abs(store[:100] - recognised[:100] - 1).max() < 1e-5
    # all requests of a run have the same requester and input
    keyed = trace.frame.groupby("input_key")
    firsts = keyed["time_s"].transform("min")
    alone = (trace.frame["time_s"] - firsts) < 2
    assert keyed["requester"].nunique()[trace.frame[alone]["input_key"].unique()].max() <= 2
    assert keyed["model"].agg(set).map(lambda models: "detect" in models).mean() > 0.999


def test_pipeline_stages_at_one_time_stay_in_order():
    stages = [{"model": "z"}, {"model": "a"}]
    trace = made(pipeline=stages, burstiness=0, duration_s=10)
    assert trace.frame["model"].tolist() == ["z", "a"] * (len(trace) // 2)


# -- the whole ---------------------------------------------------------------------------------------

MIXTURE = {
    "title": "a mixture",
    "seed": 3,
    "requests": 5_000,
    "decimals": 3,
    "streams": [
        {
            "rate_per_s": 4,
            "models": ["a", "b", "c"],
            "drift": {"period_s": 60},
            "reuse": [{"probability": 0.2, "lags": [1, 9]}],
            "markov": [{"factor": 1, "mean_s": 30}, {"factor": 4, "mean_s": 3}],
            "items": {1: 3, 8: 1},
            "requesters": {"distinct": 12, "exponent": 1.0, "share": 0.8},
            "priority": "low",
        },
        {"rate_per_s": 1, "pipeline": [{"model": "d"}, {"model": "e", "probability": 0.5}]},
        {"rate_per_s": 0.5, "models": {"f": 1}, "from_s": 100, "cycle": {"daily": [1, 2]}},
    ],
}


def test_mixture_of_so_many_requests():
    trace = generate(make_spec(MIXTURE))
    assert len(trace) == 5_000
    assert set(trace.model_names) == set("abcdef")
    assert trace.times_s.tolist() == np.round(trace.times_s, 3).tolist()
    of_first = trace.frame["model"].isin(["a", "b", "c"])
    assert set(trace.frame["items"][of_first]) == {1, 8}
    assert (trace.frame["items"][of_first] == 8).mean() == pytest.approx(0.25, abs=0.03)
    assert trace.frame["requester"][of_first].notna().mean() == pytest.approx(0.8, abs=0.03)
    assert trace.frame["priority"][of_first].eq("low").all()
    assert trace.frame["priority"][~of_first].isna().all()
    assert times_of(trace, "f").min() >= 100


def test_same_seed_same_trace_and_a_new_stream_leaves_the_others():
    spec = make_spec(MIXTURE)
    assert generate(spec).sha256 == generate(spec).sha256
    assert generate(spec).sha256 == generate(spec, np.random.default_rng(3)).sha256
    assert generate(spec).sha256 != generate(spec, 4).sha256
    whole, part = (
        generate(make_spec({"duration_s": 500, "streams": MIXTURE["streams"][:count]})) for count in (3, 2)
    )
    assert whole.frame[whole.frame["model"] != "f"]["time_s"].tolist() == part.times_s.tolist()


def test_spec_is_kept_and_makes_the_same_trace(tmp_path):
    trace = generate(make_spec(MIXTURE), 11)
    write_trace(trace, tmp_path / "t.parquet")
    kept = read_trace(tmp_path / "t.parquet").metadata[SPEC_KEY]
    (tmp_path / "again.yaml").write_text(kept)
    assert generate(load_spec(tmp_path / "again.yaml")).sha256 == trace.sha256
    assert spec_yaml(load_spec(tmp_path / "again.yaml")) == kept
    assert trace.head(3).metadata == trace.metadata


def test_same_trace_in_another_process_with_another_hash_seed(tmp_path):
    (tmp_path / "spec.yaml").write_text(spec_yaml(make_spec(MIXTURE)))
    code = (
        "import sys; from vramlab.traces.generate import generate; from vramlab.traces.spec import load_spec;"
        "print(generate(load_spec(sys.argv[1])).sha256)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "spec.yaml")]
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert io.StringIO(said).readline().strip() == generate(make_spec(MIXTURE)).sha256


ONE = {"rate_per_s": 1, "models": ["a"]}
BAD_SPECS = {
    "no end": ({"streams": [ONE]}, ": found a mapping, expected either duration_s or requests"),
    "two ends": (
        {"requests": 1, "duration_s": 1, "streams": [ONE]},
        ": found a mapping, expected either duration_s or requests",
    ),
    "no stream": ({"requests": 1, "streams": []}, ": found a mapping, expected at least one stream"),
    "unknown key": (
        {"requests": 1, "strems": [], "streams": [ONE]},
        "strems: found an unknown key, expected",
    ),
    "no models": (
        {"requests": 1, "streams": [{"rate_per_s": 1}]},
        "streams.0: found a mapping, expected either models or a pipeline",
    ),
    "rate": (
        {"requests": 1, "streams": [{**ONE, "rate_per_s": -1}]},
        "streams.0.rate_per_s: found -1, expected",
    ),
    "rate text": (
        {"requests": 1, "streams": [{**ONE, "rate_per_s": "5"}]},
        "streams.0.rate_per_s: found '5' (text), expected",
    ),
    "model twice": (
        {"requests": 1, "streams": [{**ONE, "models": ["a", "a"]}]},
        "streams.0: found a mapping, expected each model once",
    ),
    "empty name": ({"requests": 1, "streams": [{**ONE, "models": [""]}]}, "streams.0.models"),
    "window": (
        {"requests": 1, "streams": [{**ONE, "from_s": 5, "until_s": 4}]},
        "streams.0: found a mapping, expected until_s after from_s",
    ),
    "lags": (
        {"requests": 1, "streams": [{**ONE, "reuse": [{"probability": 0.1, "lags": [3, 2]}]}]},
        "streams.0.reuse.0: found a mapping, expected the first lag not above the last",
    ),
    "much reuse": (
        {"requests": 1, "streams": [{**ONE, "reuse": [{"probability": 0.6}, {"probability": 0.6}]}]},
        "streams.0: found a mapping, expected probabilities of reuse that add up to 1 at most",
    ),
    "after": (
        {"requests": 1, "streams": [{"rate_per_s": 1, "pipeline": [{"model": "a", "after": "b"}]}]},
        "streams.0: found a mapping, expected stage a after an earlier stage, not 'b'",
    ),
    "stage twice": (
        {"requests": 1, "streams": [{"rate_per_s": 1, "pipeline": [{"model": "a"}, {"model": "a"}]}]},
        "streams.0: found a mapping, expected stage a once, or another name for it",
    ),
    "silent week": (
        {"requests": 1, "streams": [{**ONE, "cycle": {"weekly": [0] * 7}}]},
        "streams.0.cycle: found a mapping, expected at least one part of the day",
    ),
    "silent states": (
        {"requests": 1, "streams": [{**ONE, "markov": [{"factor": 0, "mean_s": 1}]}]},
        "streams.0: found a mapping, expected a Markov state with a factor above 0",
    ),
}


@pytest.mark.parametrize(("data", "message"), BAD_SPECS.values(), ids=BAD_SPECS.keys())
def test_bad_spec(data, message):
    with pytest.raises(InputError) as caught:
        make_spec(data, "my.yaml")
    assert str(caught.value).startswith(f"my.yaml: {message}".replace("my.yaml: :", "my.yaml:"))


def test_specs_that_make_nothing_or_too_much():
    with pytest.raises(InputError, match="found no request in 1 s, expected at least one"):
        made(rate_per_s=1e-9, duration_s=1)
    with pytest.raises(InputError, match=r"found 1e\+12 requests, expected at most"):
        made(rate_per_s=1e9, duration_s=1_000)
    with pytest.raises(InputError, match=r"found 1e\+09 changes of rate in 1e\+06 s, expected at most"):
        made(rate_per_s=1e-3, duration_s=1e6, markov=[{"factor": 1, "mean_s": 1e-3}])
    with pytest.raises(InputError, match="seed: found -1, expected 0 or more"):
        generate(make_spec(MIXTURE), -1)
    until = {"requests": 100, "streams": [{**ONE, "until_s": 20}]}
    with pytest.raises(InputError, match="requests: found 100, expected no more than the streams have"):
        generate(make_spec(until))
    silent = {"requests": 100, "streams": [{**ONE, "from_s": 1e9}]}
    assert generate(make_spec(silent)).times_s.min() >= 1e9


def test_missing_spec_file(tmp_path):
    with pytest.raises(InputError, match="a readable YAML file"):
        load_spec(tmp_path / "none.yaml")
