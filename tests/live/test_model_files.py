"""Model files are refused before anything loads them: cut, foreign, tampered with, or reaching outside."""

import hashlib
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vramlab.config.errors import InputError
from vramlab.live.errors import BadModelFile, CorruptModel
from vramlab.live.model_files import check_model_file
from vramlab.live.values import InputInfo


def small_model(initializers=(), nodes=None, inputs=None):
    """y = x + 1 over (batch, 3), or the nodes given."""
    one = numpy_helper.from_array(np.ones(3, np.float32), "one")
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    nodes = nodes or [helper.make_node("Add", ["x", "one"], ["y"])]
    graph = helper.make_graph(nodes, "small", inputs, [output], [one, *initializers])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def external_tensor(location, name="far", count=3, **entries):
    tensor = TensorProto(name=name, dims=[count], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def saved(folder, model, name="m.onnx"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def test_a_good_file(tmp_path):
    model = small_model()
    helper.set_model_props(model, {"author": "us"})
    path = saved(tmp_path, model)
    checked = check_model_file(path)
    assert checked.size_bytes == path.stat().st_size
    assert checked.metadata == {"author": "us"}
    assert checked.inputs == (InputInfo("x", ("batch", 3), "tensor(float)"),)
    assert check_model_file(path, hashlib.sha256(path.read_bytes()).hexdigest().upper()) == checked


def test_initializers_that_old_files_list_as_inputs_are_none(tmp_path):
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("one", TensorProto.FLOAT, [3]),
    ]
    assert [info.name for info in check_model_file(saved(tmp_path, small_model(inputs=inputs))).inputs] == [
        "x"
    ]


def test_what_is_no_model(tmp_path):
    whole = small_model().SerializeToString()
    cases = {
        "empty": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\n",
        "zip": b"PK\x03\x04" + bytes(100),
        "zeros": bytes(100),
        "page": b"<!DOCTYPE html><html><body>404</body></html>",
        "appended": whole + b"\n<html>",
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(BadModelFile, match=r"found .*, expected a whole ONNX model"):
            check_model_file(path)


def test_every_cut_is_seen_that_onnx_itself_sees_or_that_loses_the_graph(tmp_path):
    whole = small_model().SerializeToString()
    path = tmp_path / "m.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            graph_is_whole = onnx.load_model_from_string(whole[:length]).graph.output
        except Exception:  # protobuf's own
            graph_is_whole = False
        if graph_is_whole:
            check_model_file(path)
        else:
            with pytest.raises(BadModelFile):
                check_model_file(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(BadModelFile, match="no such file or directory, expected a readable ONNX file"):
        check_model_file(tmp_path / "gone.onnx")
    with pytest.raises(BadModelFile, match="no regular file"):
        check_model_file(tmp_path)


def test_a_refusal_is_bad_input_and_a_corrupt_model(tmp_path):
    with pytest.raises(InputError) as caught:
        check_model_file(tmp_path / "gone.onnx")
    assert isinstance(caught.value, CorruptModel)
    assert caught.value.kind == "corrupt"
    assert "\n" not in str(caught.value)


def test_a_wrong_checksum_and_a_file_that_changes(tmp_path):
    path = saved(tmp_path, small_model())
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(BadModelFile, match=f"sha256: found {right}, expected {'0' * 64}"):
        check_model_file(path, "0" * 64)
    check_model_file(path, right)
    changed = small_model()
    changed.graph.name = "changed"  # another length: the answer for the old file must not be remembered
    saved(tmp_path, changed)
    with pytest.raises(BadModelFile, match="sha256"):
        check_model_file(path, right)


def test_external_data_beside_the_model(tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(20))
    path = saved(tmp_path, small_model([external_tensor("weights.bin", offset=8, length=12)]))
    checked = check_model_file(path)
    assert checked.external == (tmp_path / "weights.bin",)
    assert checked.size_bytes == path.stat().st_size + 20


@pytest.mark.parametrize("location", ["../weights.bin", "a/../../weights.bin", "", "ABSOLUTE", "link.bin"])
def test_external_data_outside_the_folder(tmp_path, location):
    outside = tmp_path / "weights.bin"
    outside.write_bytes(bytes(12))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link.bin").symlink_to(outside)
    location = str(outside) if location == "ABSOLUTE" else location
    path = saved(folder, small_model([external_tensor(location)]))
    with pytest.raises(BadModelFile, match=r"external_data: found '.*', expected a file inside the model's"):
        check_model_file(path)


def test_external_data_hidden_in_a_branch_is_found(tmp_path):
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [3])
    branch = helper.make_graph(
        [helper.make_node("Identity", ["far"], ["z"])],
        "branch",
        [],
        [output],
        [external_tensor("../far.bin")],
    )
    condition = helper.make_node(
        "Constant", [], ["c"], value=numpy_helper.from_array(np.array(True), "condition")
    )
    choice = helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch)
    nodes = [condition, choice, helper.make_node("Add", ["x", "w"], ["y"])]
    with pytest.raises(BadModelFile, match=r"external_data: found '\.\./far\.bin'"):
        check_model_file(saved(tmp_path, small_model(nodes=nodes)))


def test_links_to_a_folder_of_blobs_are_a_model_of_that_folder(tmp_path):
    blobs = tmp_path / "blobs"
    real = saved(blobs, small_model([external_tensor("weights.bin", length=12)]), "a1b2")
    (blobs / "c3d4").write_bytes(bytes(12))
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "m.onnx").symlink_to(real)
    (snapshot / "weights.bin").symlink_to(blobs / "c3d4")
    assert len(check_model_file(snapshot / "m.onnx").external) == 1


def test_external_data_that_is_missing_or_short(tmp_path):
    path = saved(tmp_path, small_model([external_tensor("weights.bin", offset=8, length=12)]))
    with pytest.raises(BadModelFile, match=r"external_data: found no 'weights\.bin'"):
        check_model_file(path)
    (tmp_path / "weights.bin").write_bytes(bytes(12))
    with pytest.raises(BadModelFile, match=r"found 12 bytes in 'weights\.bin', expected at least 20"):
        check_model_file(path)


def test_graphs_without_end_are_refused(tmp_path):
    def field(number, content):
        length = len(content)
        size = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
        return bytes([number << 3 | 2]) + size + content

    graph = b""
    for _ in range(50):  # a graph as the attribute of a node of a graph
        graph = field(1, field(5, field(6, graph)))
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08" + field(7, graph))
    with pytest.raises(BadModelFile, match="nested more than"):
        check_model_file(path)


@pytest.mark.parametrize(("key", "value"), [("offset", "-8"), ("length", "-1")])
def test_external_data_before_the_beginning_of_a_file(tmp_path, key, value):
    entries = {"location": "weights.bin", "offset": "0", "length": "4"} | {key: value}
    path = tmp_path / "m.onnx"
    path.write_bytes(_with_external_data(entries))
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    with pytest.raises(BadModelFile, match="negative offset or length"):
        check_model_file(path)


@pytest.mark.parametrize("location", ["loop.bin", "n" * 300, "a\0b"])
def test_external_data_that_no_system_can_look_for(tmp_path, location):
    (tmp_path / "loop.bin").symlink_to(tmp_path / "loop.bin")
    path = tmp_path / "m.onnx"
    path.write_bytes(_with_external_data({"location": location}))
    with pytest.raises(BadModelFile):
        check_model_file(path)


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "loop"])
def test_a_path_that_no_system_can_look_for(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(BadModelFile, match="a readable ONNX file"):
        check_model_file(tmp_path / name)


def _with_external_data(entries):
    tensor = TensorProto(dims=[1], data_type=TensorProto.FLOAT, name="w", data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph([], "g", [], [], [tensor])
    return helper.make_model(graph).SerializeToString()


def test_a_file_that_was_changed_behind_its_time_is_hashed_again(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(_with_external_data({}))
    good = path.read_bytes()
    sha256 = hashlib.sha256(good).hexdigest()
    check_model_file(path, sha256)
    status = path.stat()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(BadModelFile):
        check_model_file(path, sha256)
