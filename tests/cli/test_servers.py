"""``replay --as``, ``compare --servers`` and the like, as users type them."""

import json

import pytest

import vramlab as package
from vramlab.config.errors import InputError
from vramlab.servers import server_names

TIGHT = ("traces/synthetic_tight.csv.gz", "--config", "config/scenarios/tight.yaml")


def test_a_trace_is_replayed_as_a_server_would_serve_it(vramlab):
    status, out, _ = vramlab("replay", *TIGHT, "--as", "ollama:keep_alive=5", "--json")
    assert status == 0
    figures = json.loads(out)
    assert figures["server"] == "ollama:keep_alive=5"
    _, out, _ = vramlab("replay", *TIGHT, "--set", "server=ollama:keep_alive=5", "--json")
    assert json.loads(out)["config_sha256"] == figures["config_sha256"]
    assert json.loads(out)["loads"] == figures["loads"]
    _, out, _ = vramlab("replay", *TIGHT, "--json")
    assert json.loads(out)["server"] is None
    assert json.loads(out)["loads"] != figures["loads"]


def test_servers_stand_beside_our_own_settings(vramlab):
    asked = "ollama,llama-swap:groups={g: {members: [], swap: false}},vramd"
    status, out, _ = vramlab("compare", *TIGHT, "--servers", asked, "--json")
    assert status == 0
    document = json.loads(out)
    assert [row["server"] for row in document["rows"]] == [
        None,
        *[one["server"] for one in document["servers"]],
    ]
    assert [one["name"] for one in document["servers"]] == ["ollama", "llama-swap", "vramd"]
    assert all(one["approximations"] and one["version"] for one in document["servers"])
    assert document["floor"]["requests"] == document["rows"][0]["requests"]
    status, out, _ = vramlab("compare", *TIGHT, "--servers", "all")
    assert status == 0
    assert all(f"as {name}" in out for name in server_names())
    assert "approximat" not in out
    assert "as ollama (fb30760): models that do not fit are refused" in out


def test_servers_are_an_axis_of_a_sweep_and_of_comparisons_in_python(vramlab, tmp_path):
    table = tmp_path / "swept.parquet"
    status, _, err = vramlab(
        "sweep", *TIGHT, "--grid", "server=ollama,lm-studio", "--jobs", "1", "--out", table
    )
    assert (status, "Traceback" in err) == (0, False)
    import pandas as pd

    swept = pd.read_parquet(table)
    result = package.compare(TIGHT[0], TIGHT[2], servers=["ollama", "lm-studio"])
    rows = result.frame().set_index("server")
    assert swept["loads"].tolist() == rows.loc[["ollama", "lm-studio"], "loads"].tolist()
    assert rows.loc["ollama", "policy"] == "as ollama"


def test_what_cannot_be_is_said_in_one_line(vramlab):
    status, _, err = vramlab("replay", *TIGHT, "--as", "olama")
    assert (status, err.count("\n")) == (2, 1)
    assert "did you mean 'ollama'" in err
    status, _, err = vramlab("replay", *TIGHT, "--as", "ollama", "--policy", "lru")
    assert (status, "which has its own" in err) == (2, True)
    status, _, err = vramlab("compare", *TIGHT, "--servers", "ollama", "--mode", "decide")
    assert (status, "mode simulate" in err) == (2, True)
    status, _, err = vramlab("compare", *TIGHT, "--servers", "ollama:kep_alive=3")
    assert (status, "did you mean 'keep_alive'" in err) == (2, True)
    with pytest.raises(InputError, match="expected one of ollama"):
        package.compare(TIGHT[0], TIGHT[2], servers=["x"])


def test_questions_are_answered_with_a_table_a_picture_and_a_document(vramlab, tmp_path):
    picture = tmp_path / "curve.png"
    status, out, _ = vramlab("keep-alive", *TIGHT, "--memory-mb", "300", "--plot", picture)
    assert status == 0
    assert "one time-out for all models" in out
    assert picture.stat().st_size > 5000
    status, out, _ = vramlab("keep-alive", *TIGHT, "--memory-mb", "300", "--json")
    document = json.loads(out)
    held = sum(row["mean_bytes"] for row in document["models"])
    assert held <= document["memory_bytes"]
    same = document["same_for_all"]
    assert same == sorted(same, key=lambda row: -row["load_s"])
    # no one time-out that holds no more has fewer load seconds
    load_s = sum(row["load_s"] for row in document["models"])
    assert all(row["load_s"] >= load_s for row in same if row["mean_bytes"] <= held)

    picture = tmp_path / "why.png"
    run = "traces/recorded_tight"
    status, out, _ = vramlab("explain", run, "--model", "arcface_r100.onnx", "--plot", picture)
    assert status == 0
    assert "evictions of arcface_r100.onnx" in out
    assert picture.stat().st_size > 5000
    _, out, _ = vramlab("explain", run, "--model", "arcface_r100.onnx", "--json")
    document = json.loads(out)
    assert document["cost_s"] == pytest.approx(sum(one["cost_s"] for one in document["evictions"]))
    status, _, err = vramlab("explain", run, "--model", "arcface")
    assert (status, "did you mean 'arcface_r100.onnx'" in err) == (2, True)


def test_settings_that_a_server_has_of_its_own_are_told_to_be_unread(vramlab):
    settings = (
        "--set",
        "rules.keep_alive_s=5",
        "--set",
        "serving.gpu_streams=2",
        "--set",
        "scoring.policy=lfu",
    )
    status, _, err = vramlab("replay", *TIGHT, "--as", "ollama", *settings)
    assert status == 0
    told = [line for line in err.splitlines() if "is not read" in line]
    assert [line.split()[1] for line in told] == ["rules.keep_alive_s", "scoring.policy"]


def test_a_replay_in_decide_mode_has_no_journal_to_explain(vramlab, tmp_path):
    folder = tmp_path / "run"
    assert vramlab("replay", *TIGHT, "--mode", "decide", "--out", folder)[0] == 0
    status, _, err = vramlab("explain", folder, "--model", "arcface_r100.onnx", *TIGHT[1:])
    assert status == 2
    assert "`vramlab replay --out`, which decide mode writes no journal of" in err


def test_sets_of_a_matrix_are_no_names_of_servers(vramlab):
    matrix = "llama-swap:matrix=[[arcface_r100.onnx,genderage.onnx],[model.onnx]]"
    status, out, err = vramlab("compare", *TIGHT, "--servers", f"{matrix},lm-studio", "--json")
    assert (status, err.count("vramlab:")) == (0, 0)
    assert [row["server"] for row in json.loads(out)["rows"]] == [None, matrix, "lm-studio"]


def test_a_configuration_that_is_a_servers_has_no_policies_to_compare(vramlab):
    status, _, err = vramlab("compare", *TIGHT, "--set", "server=ollama", "--policies", "lru,fifo")
    assert status == 2
    assert "'lru', 'fifo', expected none beside server ollama" in err
    status, out, _ = vramlab("compare", *TIGHT, "--set", "server=ollama", "--json")
    assert [row["server"] for row in json.loads(out)["rows"]] == ["ollama"]
