"""Every model of the catalogue loads in plain onnxruntime and takes its true inputs, with equal answers."""

import numpy as np
import onnxruntime
import pytest

from .catalogue import CATALOGUE, FOLDER, RealModel


@pytest.fixture(scope="module", params=CATALOGUE, ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> RealModel:
    if not FOLDER.is_dir():
        pytest.skip("the real models are not here: make real-models")
    if not request.param.path.is_file():
        pytest.skip(f"{request.param.package} has no wheel for this Python or system")
    return request.param


def test_a_real_model_answers_its_true_inputs_twice_alike(model: RealModel) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    inputs = model.inputs(np.random.default_rng(1))
    assert set(inputs) == {argument.name for argument in session.get_inputs()}
    first, second = session.run(None, inputs), session.run(None, inputs)
    assert len(first) == len(session.get_outputs())
    for one, other in zip(first, second, strict=True):
        if isinstance(one, list):  # a sequence of maps
            assert one
            assert one == other
            continue
        np.testing.assert_array_equal(one, other)
        assert one.size
        assert one.dtype.kind != "f" or np.isfinite(one).all()


def test_true_inputs_depend_on_the_generator_alone(model: RealModel) -> None:
    first, second = (model.inputs(np.random.default_rng(7)) for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_no_two_models_share_a_name_or_a_file() -> None:
    assert len({model.name for model in CATALOGUE}) == len(CATALOGUE)
    assert len({model.file for model in CATALOGUE}) == len(CATALOGUE)
