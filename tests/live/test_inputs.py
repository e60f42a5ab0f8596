"""Inputs that are made: as an inventory names them, else guessed and tried; a failed guess fails nobody."""

import asyncio

import numpy as np
import pytest
from onnx import parser

from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_inventory
from vramlab.config.schema import ModelSpec
from vramlab.live.inputs import NoInputs, Recipe, fitting_recipe, make_inputs
from vramlab.live.onnx_sessions import make_session
from vramlab.live.runtime import LiveRuntime, RequestFailed

RNG = np.random.default_rng(0)
SPEC = ModelSpec(priority="medium", vram_size_mb=1, load_time_ms=1)
HEIGHT_48 = """g (float[N,3,H,W] x) => (float[a,b] y) {
    shape = Constant<value=int64[2] {1, 48}>()
    rows = ReduceMean<axes=[0,1,3], keepdims=0>(x)
    y = Reshape(rows, shape)
}"""
NEVER = """g (float[N,2] x) => (float[3,3] y) {
    shape = Constant<value=int64[2] {7, 77777}>()
    y = Reshape(x, shape)
}"""


def saved(path, graph):
    path.write_bytes(
        parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}').SerializeToString()
    )
    return path


def shapes(path, items=2, **more):
    return {name: value.shape for name, value in make_inputs(path, items, RNG, **more).items()}


def test_the_batchs_name_counts_items_wherever_it_stands(tmp_path):
    graph = "g (float[N,3] x, float[2,N,3] s) => (float[2,N,3] t) { t = Add(x, s) }"
    assert shapes(saved(tmp_path / "m.onnx", graph)) == {"x": (2, 3), "s": (2, 2, 3)}


def test_sums_and_products_of_names_add_up(tmp_path):
    info = "int64[batch, past + sequence] mask, float[batch, past] p, float[batch, 2*sequence] d"
    graph = f"g ({info.replace('past + sequence', 'q').replace('2*sequence', 'r')}) => (int64[a,b] y) {{ y = Identity(mask) }}"  # noqa: E501
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}')
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "past + sequence"
    model.graph.input[2].type.tensor_type.shape.dim[1].dim_param = "2*sequence"
    for name in ("past", "sequence"):  # names that stand alone somewhere
        value = model.graph.input.add()
        value.CopyFrom(model.graph.input[1])
        value.name = name
        value.type.tensor_type.shape.dim[1].dim_param = name
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    found = shapes(path, recipe=Recipe(length=5))
    assert (found["mask"], found["p"], found["d"]) == ((2, 10), (2, 5), (2, 10))


def test_a_fixed_height_behind_an_open_axis_is_found_by_trying(tmp_path):
    with make_session(saved(tmp_path / "m.onnx", HEIGHT_48), SPEC, None) as session:
        assert fitting_recipe(session, SPEC).pixels == 48


def test_no_guess_that_fits_is_said_with_the_way_out(tmp_path):
    with (
        make_session(saved(tmp_path / "m.onnx", NEVER), SPEC, None) as session,
        pytest.raises(NoInputs, match=r"made-up inputs.*`inputs` in the inventory.*last try failed"),
    ):
        fitting_recipe(session, SPEC)


def test_a_failed_guess_fails_neither_load_nor_request(tmp_path, caplog):
    graph = "g (float[N,2] x) => (float[a,b] y) { s = Constant<value=int64[2] {7, 2}>() y = Reshape(x, s) }"
    spec = SPEC.model_copy(update={"path": str(saved(tmp_path / "m.onnx", graph))})

    async def main():
        async with LiveRuntime(load_config(), {"m": spec}, "cpu-emulated") as runtime:
            with pytest.raises(RequestFailed, match="Reshape"):
                await runtime.infer("m", {"x": np.zeros((1, 2), np.float32)})
            (output,) = await runtime.infer("m", {"x": np.ones((7, 2), np.float32)})
            assert output.shape == (7, 2)

    asyncio.run(main())
    assert len([record for record in caplog.records if "no first run of m" in record.message]) == 1


def test_true_inputs_come_from_a_file_beside_the_inventory(tmp_path):
    saved(tmp_path / "m.onnx", HEIGHT_48)
    np.savez(tmp_path / "true.npz", x=np.ones((1, 3, 48, 10), np.float32))
    (tmp_path / "models.yaml").write_text(
        "models: {g: {m: {priority: medium, vram_size_mb: 1, load_time_ms: 1, path: m.onnx,"
        " inputs: true.npz}}}"
    )
    spec = load_inventory(tmp_path / "models.yaml")["m"]
    assert shapes(spec.path, items=3, spec=spec) == {"x": (3, 3, 48, 10)}  # over and over
    with make_session(spec.path, spec, None) as session:
        fitting_recipe(session, spec)


def test_true_inputs_may_be_a_shape_and_a_range(tmp_path):
    saved(tmp_path / "m.onnx", "g (int64[N,L] ids) => (int64[N,L] y) { y = Identity(ids) }")
    (tmp_path / "models.yaml").write_text(
        "models: {g: {m: {priority: medium, vram_size_mb: 1, load_time_ms: 1, path: m.onnx,"
        " inputs: {ids: {shape: [items, 9], range: [100, 101]}}}}}"
    )
    spec = load_inventory(tmp_path / "models.yaml")["m"]
    made = make_inputs(spec.path, 2, RNG, spec=spec)["ids"]
    assert made.shape == (2, 9)
    assert set(made.ravel().tolist()) == {100, 101}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("gone.npz", r"gone\.npz: inputs: found no such file or directory, expected a \.npz file"),
        ("other.npz", r"other\.npz: inputs\.z: found an unknown input, expected an input of m\.onnx"),
        ("none.npz", r"none\.npz: inputs\.x: found nothing, expected a sample"),
        ("text.npz", r"text\.npz: inputs: found no such arrays, expected a \.npz file"),
    ],
)
def test_declared_inputs_that_do_not_fit_are_named(tmp_path, inputs, said):
    path = saved(tmp_path / "m.onnx", "g (float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    np.savez(tmp_path / "other.npz", z=np.zeros(1))
    np.savez(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    spec = SPEC.model_copy(update={"inputs": str(tmp_path / inputs)})
    with pytest.raises(InputError, match=said):
        make_inputs(path, 1, RNG, spec=spec)


def test_a_range_the_wrong_way_round_is_refused(tmp_path):
    (tmp_path / "models.yaml").write_text(
        "models: {g: {m: {priority: medium, vram_size_mb: 1, load_time_ms: 1,"
        " inputs: {x: {shape: [1], range: [2, 1]}}}}}"
    )
    with pytest.raises(InputError, match=r"models\.g\.m\.inputs\.x: found .*the least value first"):
        load_inventory(tmp_path / "models.yaml")
