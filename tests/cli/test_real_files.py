"""Models as people have them, on the command line: failures are seen, sizes are true, files told apart."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

ONE_ROW = """g (float[N,2] x) => (float[a,b] y) {
    one = Constant<value=int64[2] {1, 2}>()
    y = Reshape(x, one)
}"""
PLAIN = "g (float[N,2] x) => (float[N,2] y) { y = Relu(x) }"


def saved(path, graph):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}').SerializeToString()
    )
    return path


def inventory_of(folder, **files):
    entries = ", ".join(
        f"{name}: {{priority: medium, vram_size_mb: 1, load_time_ms: 1, path: {file}}}"
        for name, file in files.items()
    )
    path = folder / "models.yaml"
    path.write_text(f"models: {{g: {{{entries}}}}}")
    return path


def test_requests_that_fail_are_seen_live_and_simulated(vramlab, tmp_path):
    saved(tmp_path / "one.onnx", ONE_ROW)
    saved(tmp_path / "plain.onnx", PLAIN)
    models = inventory_of(tmp_path, one="one.onnx", plain="plain.onnx")
    trace = tmp_path / "trace.csv"
    rows = [(0.0, "one", 1), (0.05, "one", 2), (0.1, "plain", 2), (0.15, "one", 3), (0.2, "one", 1)]
    trace.write_text("time_s,model,items\n" + "".join(f"{t},{m},{i}\n" for t, m, i in rows))
    run = tmp_path / "run"
    arguments = ("record", "--workload", trace, "--models", models, "--device", "cpu-emulated", "--out", run)
    status, out, _ = vramlab(*arguments)
    assert status == 1
    assert "requests without an answer" in out
    assert "Reshape" in out
    status, out, _ = vramlab("verify", run, "--json", "--service-times", "spec", "--warm-up", "0")
    assert status == 0
    found = json.loads(out)
    assert found["lockstep"]["differences"] == []
    for side in ("live", "simulated"):
        figures = found["fidelity"][side]
        assert (figures["failed"], figures["requests"]) == (2, 5)
        (loss,) = figures["losses"]
        assert (loss["model"], loss["outcome"], loss["requests"]) == ("one", "failed", 2)
    assert "Reshape" in found["fidelity"]["live"]["losses"][0]["why"]
    _, out, _ = vramlab("verify", run)
    assert "failed" in out


def test_a_recording_whose_inputs_cannot_be_made_is_refused_before_it_begins(vramlab, tmp_path):
    graph = (
        "g (float[N,2] x) => (float[a,b] y) { s = Constant<value=int64[2] {7, 77777}>() y = Reshape(x, s) }"
    )
    saved(tmp_path / "never.onnx", graph)
    models = inventory_of(tmp_path, never="never.onnx")
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,model\n0,never\n")
    run = tmp_path / "run"
    arguments = ("record", "--workload", trace, "--models", models, "--device", "cpu-emulated", "--out", run)
    status, _, err = vramlab(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "models.never.inputs: found no inputs that it runs with" in err
    assert "expected true inputs named there" in err
    assert not run.exists()


def test_more_items_than_a_fixed_batch_are_refused_before_a_recording_begins(vramlab, tmp_path):
    saved(tmp_path / "two.onnx", "g (float[2,2] x) => (float[2,2] y) { y = Relu(x) }")
    models = inventory_of(tmp_path, two="two.onnx")
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,model,items\n0,two,3\n")
    arguments = ("record", "--workload", trace, "--models", models, "--device", "cpu-emulated")
    status, _, err = vramlab(*arguments, "--out", tmp_path / "run")
    assert (status, err.count("\n")) == (2, 1)
    assert "items: found 3, expected 2: the file of two fixes its batch" in err


@pytest.fixture
def with_external_data(tmp_path):
    """A graph of a few hundred bytes whose weights of 3 MB lie in two files beside it."""
    weights = [numpy_helper.from_array(np.ones((512, 768), np.float32), name) for name in ("w0", "w1")]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    nodes[1] = helper.make_node("MatMul", ["h", "w1t"], ["y"])
    nodes.insert(1, helper.make_node("Transpose", ["w1"], ["w1t"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 512])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = tmp_path / "big"
    folder.mkdir()
    onnx.save(model, str(folder / "model.onnx"), save_as_external_data=True, all_tensors_to_one_file=False)
    return folder / "model.onnx"


def test_external_data_counts(vramlab, with_external_data, tmp_path):
    out = tmp_path / "profiled.yaml"
    options = ("--loads", 1, "--runs", 1, "--device", "cpu-emulated", "--json")
    status, printed, err = vramlab("profile", with_external_data, "--out", out, *options)
    assert status == 0, err
    (spec,) = json.loads(printed).values()
    assert 3 <= spec["vram_size_mb"] < 8  # of which the graph itself has less than a kilobyte
    assert with_external_data.stat().st_size < 2000


def test_two_files_of_one_name_are_told_apart_by_their_folders(vramlab, tmp_path):
    files = [saved(tmp_path / folder / "model.onnx", PLAIN) for folder in ("ocr", "faces")]
    options = ("--loads", 1, "--runs", 1, "--device", "cpu-emulated", "--json")
    status, printed, err = vramlab("profile", *files, "--out", tmp_path / "profiled.yaml", *options)
    assert status == 0, err
    assert list(json.loads(printed)) == ["ocr/model.onnx", "faces/model.onnx"]


def test_onnxruntimes_own_format_is_profiled(vramlab, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(
        saved(tmp_path / "m.onnx", PLAIN).read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    few = ("--loads", 1, "--runs", 1, "--device", "cpu-emulated", "--json")
    status, printed, err = vramlab("profile", tmp_path / "m.ort", "--out", tmp_path / "p.yaml", *few)
    assert status == 0, err
    assert json.loads(printed)["m.ort"]["inference_ms"] > 0
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,model,items\n0,m.ort,1\n0.1,m.ort,3\n")
    run = ("--models", tmp_path / "p.yaml", "--device", "cpu-emulated", "--out", tmp_path / "run", "--json")
    status, printed, err = vramlab("record", "--workload", trace, *run)
    assert (status, json.loads(printed)["failed"]) == (0, 0), err


def test_a_model_that_no_guess_fits_is_said_by_profile_and_the_others_are_measured(vramlab, tmp_path):
    graph = (
        "g (float[N,2] x) => (float[a,b] y) { s = Constant<value=int64[2] {7, 77777}>() y = Reshape(x, s) }"
    )
    never, plain = saved(tmp_path / "never.onnx", graph), saved(tmp_path / "plain.onnx", PLAIN)
    few = ("--loads", 1, "--runs", 1, "--device", "cpu-emulated")
    status, _, err = vramlab("profile", never, plain, "--out", tmp_path / "p.yaml", *few)
    assert status == 1
    assert "not measured: never.onnx" in err
    assert "made-up inputs" in err
    assert "plain.onnx" in (tmp_path / "p.yaml").read_text()
