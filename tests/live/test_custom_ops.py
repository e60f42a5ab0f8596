"""Libraries of custom operators and session options, per model."""

import numpy as np
import pytest
from onnx import TensorProto, helper, parser

from vramlab.config.errors import InputError
from vramlab.config.loading import load_inventory
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.live.emulated import CpuEmulatedDevice
from vramlab.live.errors import SessionError
from vramlab.live.onnx_sessions import make_session

SPEC = ModelSpec(priority="medium", vram_size_mb=1, load_time_ms=1)


def test_operators_of_a_library_run(tmp_path):
    extensions = pytest.importorskip("onnxruntime_extensions", reason="needs onnxruntime-extensions")
    nodes = [helper.make_node("StringUpper", ["x"], ["y"], domain="ai.onnx.contrib")]
    infos = [helper.make_tensor_value_info(name, TensorProto.STRING, ["N"]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos[:1], infos[1:]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)],
        ir_version=8,
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SessionError):
        make_session(path, SPEC, None)
    spec = SPEC.model_copy(update={"custom_ops": (extensions.get_library_path(),)})
    with make_session(path, spec, None) as session:
        assert session.run({"x": np.array(["a", "b"], dtype=object)})[0].tolist() == ["A", "B"]


def test_a_library_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "m.onnx"
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[N] y) { y = Relu(x) }'
    path.write_bytes(parser.parse_model(text).SerializeToString())
    (tmp_path / "models.yaml").write_text(
        "models: {g: {m: {priority: medium, vram_size_mb: 1, load_time_ms: 1, path: m.onnx,"
        " custom_ops: [ops.so], session_options: {prepacking: false, graph_optimization_level: basic,"
        " enable_mem_pattern: false, enable_cpu_mem_arena: false,"
        " config: {session.intra_op.allow_spinning: '0'}}}}}"
    )
    spec = load_inventory(tmp_path / "models.yaml")["m"]
    assert spec.custom_ops == (str(tmp_path / "ops.so"),)
    with pytest.raises(SessionError, match=r"loading m\.onnx: .*ops\.so"):
        make_session(spec.path, spec, None)
    device = CpuEmulatedDevice(4 * MIB)
    with pytest.raises(SessionError, match=r"loading m\.onnx: .*ops\.so"):
        make_session(spec.path, spec, device)
    assert device.memory().used_bytes == 0
    with make_session(spec.path, spec.model_copy(update={"custom_ops": ()}), None) as session:
        assert session.run({"x": np.array([-1, 2], np.float32)})[0].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{prepack: true}", "session_options.prepack: found an unknown key, expected .*prepacking"),
        ("{graph_optimization_level: most}", "graph_optimization_level: found 'most'"),
        ("{config: {a: 1}}", r"session_options\.config\.a: found 1, expected a text"),
    ],
)
def test_options_that_do_not_exist_are_refused(tmp_path, options, said):
    (tmp_path / "models.yaml").write_text(
        "models: {g: {m: {priority: medium, vram_size_mb: 1, load_time_ms: 1,"
        f" session_options: {options}}}}}}}"
    )
    with pytest.raises(InputError, match=said):
        load_inventory(tmp_path / "models.yaml")
