"""Sweeps: tables that hold what single replays say, on processes and clusters, and after interruptions."""

import json
import signal

import numpy as np
import pandas as pd
import pytest

from tests.experiments.studying import POOL, TRACE
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import load_config
from vramlab.experiments.replay import flat, replay
from vramlab.experiments.results_store import ResultsStore, journal_path, manifest_path
from vramlab.experiments.shared_traces import share
from vramlab.experiments.sweep import sweep
from vramlab.traces.files import read_trace

GRID = {"zones.flexible.size_mb": [260, 400]}
POLICIES = ["lru", "gdsf"]
TIMED = ["wall_s", "requests_per_s"]


def run(**options):
    return sweep(TRACE, POOL, grid=GRID, policies=POLICIES, mode="decide", **({"jobs": 1} | options))


def same(one, other):
    pd.testing.assert_frame_equal(one.table.drop(columns=TIMED), other.table.drop(columns=TIMED))


@pytest.fixture(scope="module")
def reference():
    return run()


def test_each_row_is_the_replay_of_its_settings(reference):
    table = reference.table
    assert list(zip(table["policy"], table["zones.flexible.size_mb"], strict=True)) == [
        ("lru", 260), ("lru", 400), ("gdsf", 260), ("gdsf", 400),
    ]  # fmt: skip
    for row in table.to_dict("records"):
        size = f"zones.flexible.size_mb={row['zones.flexible.size_mb']}"
        alone = flat(
            replay(TRACE, POOL, mode="decide", overrides=[f"scoring.policy={row['policy']}", size]).figures
        )
        for key in set(alone) - set(TIMED):
            assert row[key] == alone[key] or (row[key] is None and alone[key] is None), key
    assert table["load_cost_s"].nunique() > 1, "the settings must matter, or this test shows nothing"
    assert table["error"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 3}, r"seeds: found 3, expected a list of seeds, as \[3\]"),
        (
            {"grid": {"zones.flexible.size_mb": 260}},
            r"size_mb: found 260, expected a list of values, as \[260\]",
        ),
        ({"grid": {"admission": "always"}}, r"admission: found 'always', expected a list of values"),
        ({"grid": {"admission": []}}, "admission: found no values"),
    ],
)
def test_one_value_where_a_list_is_meant_is_said(options, message):
    with pytest.raises(InputError, match=message):
        sweep(TRACE, POOL, mode="decide", jobs=1, **options)


def test_two_jobs_give_the_table_of_one(reference):
    same(reference, run(jobs=2))


def test_several_traces_and_seeds_are_axes():
    table = sweep([TRACE, read_trace(TRACE).head(100)], POOL, seeds=(1, 2), mode="decide", jobs=1).table
    assert table[["requests", "seed"]].to_numpy().tolist() == [[743, 1], [743, 2], [100, 1], [100, 2]]


def test_a_run_that_fails_is_a_row_with_its_error():
    # the weights that lru does not have: only where they meet
    grid = {"scoring.policy": ["lru", "decayed"], "scoring.weights.cost": [None, -2.0]}
    table = sweep(TRACE, POOL, grid=grid, mode="decide", jobs=2).table
    failed = table["error"].notna().tolist()
    assert failed == [False, True, False, False]
    assert "scoring.weights" in table["error"][1]
    assert table["load_cost_s"].isna().tolist() == failed
    assert table["zones.flexible.size_mb"].notna().all()


def test_the_manifest_says_what_the_results_were_made_from(tmp_path):
    out = tmp_path / "found" / "s.parquet"
    result = run(out=out)
    manifest = json.loads(manifest_path(out).read_text())
    assert manifest == result.manifest
    assert manifest["config_sha256"] == fingerprint(load_config(POOL))
    assert manifest["traces"] == [
        {"source": str(TRACE), "trace_sha256": read_trace(TRACE).sha256, "requests": 743}
    ]
    assert (manifest["runs"], manifest["failed"], manifest["resumed"]) == (4, 0, 0)
    assert manifest["grid"] == {"scoring.policy": POLICIES} | GRID
    assert set(manifest["versions"]) >= {"vramlab", "python", "numpy"}
    assert not journal_path(out).exists()
    pd.testing.assert_frame_equal(pd.read_parquet(out), result.table, check_dtype=False)


class Stop(KeyboardInterrupt):
    pass


def interrupted(out, after, **options):
    ended = []

    def done(row):
        ended.append(row)
        if len(ended) == after:
            raise Stop

    with pytest.raises(Stop):
        run(out=out, done=done, **options)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_study_goes_on_where_it_was(tmp_path, reference, jobs):
    out = tmp_path / "s.parquet"
    interrupted(out, 3, jobs=jobs)
    assert not out.exists()
    assert len(journal_path(out).read_text().splitlines()) == 3
    again = []
    result = run(out=out, resume=True, done=again.append)
    assert len(again) == 1
    assert result.manifest["resumed"] == 3
    same(reference, result)


def test_a_line_that_was_cut_short_is_one_run_to_do_again(tmp_path, reference):
    out = tmp_path / "s.parquet"
    interrupted(out, 3)
    text = journal_path(out).read_text()
    journal_path(out).write_text(text[: len(text) - 40])
    again = []
    same(reference, run(out=out, resume=True, done=again.append))
    assert len(again) == 2


def test_a_finished_study_can_grow(tmp_path):
    out = tmp_path / "s.parquet"
    run(out=out)
    again = []
    sizes = {"zones.flexible.size_mb": [260, 300, 400]}
    grown = sweep(
        TRACE, POOL, grid=sizes, policies=POLICIES, mode="decide", jobs=1, out=out, resume=True,
        done=again.append,
    )  # fmt: skip
    assert [row["zones.flexible.size_mb"] for row in again] == [300, 300]
    anew = sweep(TRACE, POOL, grid=sizes, policies=POLICIES, mode="decide", jobs=1)
    pd.testing.assert_frame_equal(
        grown.table.drop(columns=TIMED), anew.table.drop(columns=TIMED), check_dtype=False
    )


def test_failed_runs_are_tried_again(tmp_path):
    out = tmp_path / "s.parquet"
    run(out=out)
    table = pd.read_parquet(out)
    table["error"] = table["error"].astype(object)
    table.loc[1, "error"] = "its process died"
    table.to_parquet(out)
    again = []
    run(out=out, resume=True, done=again.append)
    assert [row["run"] for row in again] == [1]


def test_an_unfinished_study_is_not_thrown_away_by_mistake(tmp_path):
    out = tmp_path / "s.parquet"
    interrupted(out, 2)
    with pytest.raises(InputError, match="2 runs of an unfinished study"):
        run(out=out)


def test_a_finished_study_is_not_thrown_away_by_mistake(tmp_path):
    out = tmp_path / "s.parquet"
    run(out=out)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="the results of an earlier study, expected --resume"):
        run(out=out)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run(out=out, resume=True).manifest["resumed"] == 4  # which has no run to make


def test_no_runs_are_no_study(tmp_path):
    out = tmp_path / "s.parquet"
    manifest_path(out).write_text("{}")
    journal_path(out).touch()
    assert len(run(out=out).table) == 4
    assert not journal_path(out).exists()


def test_results_of_other_code_are_not_mixed_in(tmp_path):
    out = tmp_path / "s.parquet"
    interrupted(out, 2)
    manifest = json.loads(manifest_path(out).read_text())
    manifest_path(out).write_text(json.dumps(manifest | {"code_sha256": "0" * 64}))
    with pytest.raises(InputError, match="code_sha256: found 000000000000"):
        run(out=out, resume=True)


def test_a_wrong_key_is_an_error_before_the_first_run(tmp_path):
    out = tmp_path / "s.parquet"
    with pytest.raises(InputError, match=r"did you mean 'admission'"):
        sweep(TRACE, POOL, grid={"admision": ["always"]}, out=out)
    assert not list(tmp_path.iterdir())


def test_a_cluster_gives_the_same_table(cluster, reference):
    address, _ = cluster
    same(reference, run(dask=address))


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_shared_trace_is_the_trace_and_a_view_of_the_shared_bytes(tmp_path, on_disk):
    frame = pd.DataFrame({
        "time_s": [0.0, 1.5, 1.5], "model": ["b", "a", "b"], "items": [1, 4, 2],
        "priority": ["high", None, "low"], "input_key": [None, "k", "k"], "note": ["not", "shared", "this"],
    })  # fmt: skip
    trace = type(read_trace(TRACE)).from_frame(frame)
    shared = share(trace, tmp_path if on_disk else None)
    opened = shared.open()
    assert opened.sha256 == trace.sha256
    del opened.__dict__["sha256"]
    assert opened.sha256 == trace.sha256, "and also where it is worked out anew"
    assert opened.model_names == ["b", "a"]
    for column in ("times_s", "model_codes", "items"):
        values = getattr(opened, column)
        np.testing.assert_array_equal(values, getattr(trace, column))
        assert not values.flags.owndata
        assert not values.flags.writeable
    assert opened.priorities.tolist() == ["high", None, "low"]
    assert opened.input_keys.tolist() == [None, "k", "k"]
    assert shared.open() is opened, "opened once per process"


def test_a_sweep_on_a_cluster_gives_the_same_table_though_a_worker_is_killed_midway(cluster, reference):
    address, workers = cluster
    seeds = list(range(6))
    ended = []

    def kill_one(row):
        ended.append(row)
        if len(ended) == 4:
            workers[0].send_signal(signal.SIGKILL)

    result = run(dask=address, seeds=seeds, done=kill_one)
    workers[0].wait(timeout=30)
    assert result.failed == 0
    assert len(ended) == len(result.table) == 24
    same(run(seeds=seeds), result)


def test_two_studies_never_write_at_one_place_at_a_time(tmp_path):
    path = tmp_path / "out.parquet"
    manifest = {"code_sha256": "c", "models_sha256": "m", "faults_sha256": None, "mode": "decide"}
    first = ResultsStore(path, manifest, resume=False)
    for resume in (False, True):
        with pytest.raises(InputError, match="another process that writes it now"):
            ResultsStore(path, manifest, resume)
    first.add({"run": 0, "run_key": "k"})
    first.close()
    second = ResultsStore(path, manifest, resume=True)
    assert list(second.earlier) == ["k"]
    second.close()
    with pytest.raises(InputError, match="unfinished study"):
        ResultsStore(path, manifest, resume=False)
    ResultsStore(path, manifest, resume=True).close()  # the refusal has let go of it


def test_a_full_disk_is_one_error_and_lines_of_another_kind_are_no_rows(tmp_path, monkeypatch):
    path = tmp_path / "out.parquet"
    manifest = {"code_sha256": "c", "models_sha256": "m", "faults_sha256": None, "mode": "decide"}
    store = ResultsStore(path, manifest, resume=False)
    store.add({"run": 0, "run_key": "k"})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="no space left on device, expected a disk with room"):
        store.add({"run": 1, "run_key": "l"})
    monkeypatch.undo()
    store.close()
    with journal_path(path).open("a") as lines:
        lines.write('7\n["run_key"]\n{"run_key": 1}\n' + "[" * 100_000 + "\n")
    store = ResultsStore(path, manifest, resume=True)
    assert {"k"} <= store.earlier.keys() <= {"k", "l"}
    store.close()
