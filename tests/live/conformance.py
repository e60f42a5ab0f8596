"""The ONNX project's own test cases, as they come with the package: a model, inputs, and what each must give.

`python -m tests.live.conformance` plays all of them through one live runtime, beside plain onnxruntime with
the same options, and says which answers differ (``make conformance``).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

import vramlab
from vramlab.config.schema import ModelSpec
from vramlab.live.values import equal_answers

# The newest that onnxruntime 1.31 knows. Cases are written for onnx's own newest, and most say nothing new.
_OPSET, _IR_VERSION = 26, 13
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")


class Case(NamedTuple):
    """One model and its inputs."""

    name: str
    path: Path
    inputs: dict[str, Any]


def cases(folder: Path) -> list[Case]:
    """Every case that has a model and inputs; models that exist only in memory are saved in `folder`."""
    found = []
    for kind in KINDS:
        for test in load_model_tests(kind=kind):
            name = f"{kind}/{test.name}"
            if test.model is not None:
                path = folder / f"{test.name}.onnx"
                test.model.ir_version = min(test.model.ir_version, _IR_VERSION)
                for opset in test.model.opset_import:
                    if opset.domain in ("", "ai.onnx"):
                        opset.version = min(opset.version, _OPSET)
                path.write_bytes(test.model.SerializeToString())
                names = _asked_for(test.model.graph)
                values = test.data_sets[0][0]
                inputs = dict(zip((info.name for info in names), map(_with_texts, values), strict=False))
                found.append(Case(name, path, inputs))
            elif test.model_dir is not None:
                path = Path(test.model_dir) / "model.onnx"
                found.append(Case(name, path, _inputs(path)))
    return found


def _asked_for(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    given = {value.name for value in graph.initializer}
    return [info for info in graph.input if info.name not in given]


def _inputs(path: Path) -> dict[str, Any]:
    infos = _asked_for(onnx.load(path, load_external_data=False).graph)
    files = [path.parent / "test_data_set_0" / f"input_{number}.pb" for number in range(len(infos))]
    return {
        info.name: _with_texts(numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())))
        for info, file in zip(infos, files, strict=True)
        if file.exists()
    }


def _with_texts(value: Any) -> Any:
    """Texts as texts: they are read as bytes, which onnxruntime would take for the text of their repr."""
    if isinstance(value, list):
        return [_with_texts(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype == object and value.size:
        return np.vectorize(lambda item: item.decode() if isinstance(item, bytes) else item, otypes=[object])(
            value
        )
    return value


def plain(case: Case) -> Any:
    """What onnxruntime answers; its exception where it has none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(case.path), options, providers=["CPUExecutionProvider"])
        answers = [session.run(None, case.inputs) for _ in range(2)]
    except Exception as error:  # onnxruntime's exceptions share no base
        return error
    return answers[0] if equal_answers(*answers) else None  # None: it answers differently each time


async def live(some: list[Case]) -> list[Any]:
    """What a runtime answers with default settings, in the order of `some`; exceptions in their place."""
    config = vramlab.load_config(
        None, ["total_memory_mb=20000", "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
               "zones={flexible: {size_mb: 20000, max_models: null}}"]
    )  # fmt: skip
    models = {
        case.name: ModelSpec(priority="medium", vram_size_mb=1, load_time_ms=1, path=str(case.path))
        for case in some
    }
    async with vramlab.LiveRuntime(config, models, device="cpu-emulated") as runtime:
        return [await _answer(runtime, case) for case in some]


async def _answer(runtime: Any, case: Case) -> Any:
    try:
        return await runtime.infer(case.name, case.inputs)
    except Exception as error:
        return error


def compare(some: list[Case]) -> tuple[Counter[str], list[str]]:
    """How many cases ended in which way, and one line for each answer that is not onnxruntime's."""
    counts: Counter[str] = Counter()
    wrong = []
    for case, found in zip(some, asyncio.run(live(some)), strict=True):
        expected = plain(case)
        if expected is None:
            counts["not repeatable in onnxruntime"] += 1
        elif isinstance(expected, Exception):
            answered = not isinstance(found, Exception)
            counts[
                "answered, where plain onnxruntime has no numpy type" if answered else "refused by both"
            ] += 1
            if answered and not _needs_our_types(expected):
                wrong.append(f"{case.name}: answered, where onnxruntime says {expected}")
        elif isinstance(found, Exception) or not equal_answers(found, expected):
            counts["different"] += 1
            wrong.append(f"{case.name}: {found if isinstance(found, Exception) else 'another answer'}")
        else:
            counts["equal"] += 1
    return counts, wrong


def _needs_our_types(error: Exception) -> bool:
    return "Numpy" in str(error) or "numpy" in str(error)


def main() -> int:
    """Play all cases, print the counts, and exit with 1 if an answer differs."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")  # of the cases that are made: casts that overflow on purpose
    with tempfile.TemporaryDirectory() as folder:
        counts, wrong = compare(cases(Path(folder)))
    for what, number in counts.most_common():
        print(f"{number:5d} {what}")
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
