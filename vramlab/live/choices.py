"""What is chosen for a model by measuring it: prepacking, and whether its requests may be split.

Prepacking lays weights out anew for faster runs, in a second copy while the model loads. Left out, a model of
large matrices loads in half the time and runs as fast; an int8 or a recurrent one runs up to two thirds
longer. It also changes the last digits of an answer, and can make a row's answer depend on how many rows run
with it. So it is measured, and left out only where that gains something and costs nothing.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.live.batches import why_not_split
from vramlab.live.device_facts import Device
from vramlab.live.errors import SessionError
from vramlab.live.inputs import Recipe, make_inputs
from vramlab.live.model_files import check_model_file
from vramlab.live.onnx_sessions import Session, make_session

_SMALL_BYTES = 8 * MIB  # below, a load is short either way
_LOADS, _RUNS = 2, 7
_OVER_ONE_AXIS = {"Softmax", "LogSoftmax", "ArgMax", "ArgMin", "TopK", "Hardmax", "LpNormalization"}
_GAIN, _COST = 1.3, 1.05  # loads at least so much shorter, runs at most so much longer


@dataclass
class Choice:
    """A spec with what was chosen, and what a reader should know of it."""

    spec: ModelSpec
    notes: list[str] = field(default_factory=list)


def choose(spec: ModelSpec, device: Device, recipe: Recipe) -> Choice:
    """Measure and choose for one model; blocks.

    Parameters
    ----------
    spec : ModelSpec
        With its ``path``. ``batch_size`` above 1, or a batch that the file fixes, asks whether requests may
        be split.
    device : Device
        Where it will run. Prepacking is chosen only where sessions run on the CPU.
    recipe : Recipe
        Of inputs that the model runs with.

    Raises
    ------
    SessionError
        If the model cannot be loaded or run.
    """
    spec = spec.model_copy(update={"splits": False})
    why_not = _why_not_split(spec, device, recipe)
    chosen = Choice(spec.model_copy(update={"splits": why_not == ""}))
    if why_not:
        chosen.notes.append(f"requests are not split: {why_not}")
    if not device.keeps_ledger or not spec.session_options.prepacking:
        return chosen
    if check_model_file(str(spec.path)).size_bytes < _SMALL_BYTES:
        return chosen
    options = spec.session_options.model_copy(update={"prepacking": False})
    without = spec.model_copy(update={"session_options": options})
    load_s, run_s = _times(spec, device, recipe)
    load_without_s, run_without_s = _times(without, device, recipe)
    if load_s < _GAIN * load_without_s or run_without_s > _COST * run_s:
        return chosen
    if chosen.spec.splits and _why_not_split(without, device, recipe):
        return chosen
    chosen.spec = chosen.spec.model_copy(update={"session_options": options})
    chosen.notes.append(
        f"prepacking is left out: loads take {load_without_s / load_s:.2f} and runs "
        f"{run_without_s / run_s:.2f} times as long"
    )
    return chosen


def _why_not_split(spec: ModelSpec, device: Device, recipe: Recipe) -> str | None:
    """Why a request must not be split, empty if it may; None where nothing asks for it."""
    with closing(_session(spec, device)) as session:
        axis = session.axis
        if axis is None or (spec.batch_size == 1 and not axis.fixed):
            return None

        if (joining := _joining_operator(spec)) is not None:
            return f"it has {joining}, which may join items"

        def make(items: int) -> dict[str, object]:
            return make_inputs(session, items, np.random.default_rng(items), recipe, spec)

        return why_not_split(session.run, make, axis, session.batch_size)


def _joining_operator(spec: ModelSpec) -> str | None:
    """An operator that takes all items together: a scale for all, or work along the first axis.

    Only the graph itself is looked at. That an operator stands there does not mean that it meets the batch;
    but trying would not find a model that joins items only where they are large, say.
    """
    if check_model_file(str(spec.path)).is_ort_format:
        return None
    graph = onnx.load(str(spec.path), load_external_data=False).graph
    constants = {value.name: value for value in graph.initializer}
    for node in graph.node:
        kind = str(node.op_type)
        if kind.startswith("DynamicQuantize"):
            return kind
        given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if kind in _OVER_ONE_AXIS and given.get("axis", -1) == 0:
            return f"{kind} over axis 0"
        if kind.startswith("Reduce"):
            axes = given.get("axes")
            if axes is None and len(node.input) > 1 and node.input[1] in constants:
                axes = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
            if 0 in (axes or [0]) and (axes is not None or len(node.input) < 2):
                return f"{kind} over axis 0"
    return None


def _times(spec: ModelSpec, device: Device, recipe: Recipe) -> tuple[float, float]:
    """The shortest of some loads and of some runs, seconds."""
    loads_s, runs_s = [], []
    for _ in range(_LOADS):
        begin_s = time.perf_counter()
        session = _session(spec, device)
        loads_s.append(time.perf_counter() - begin_s)
        with closing(session):
            inputs = make_inputs(session, 1, np.random.default_rng(0), recipe, spec)
            for _ in range(_RUNS):
                begin_s = time.perf_counter()
                session.run(inputs)
                runs_s.append(time.perf_counter() - begin_s)
                if runs_s[-1] > 1.0:
                    break
    return min(loads_s), min(runs_s)


def _session(spec: ModelSpec, device: Device) -> Session:
    if spec.path is None:
        raise SessionError("a model without a file cannot be measured")
    return make_session(Path(spec.path), spec, device)
