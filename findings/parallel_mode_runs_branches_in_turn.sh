#!/usr/bin/env bash
# ONNX Runtime: ExecutionMode.ORT_PARALLEL runs independent branches one after the other on a CPU.
#
# Guess before running: with ORT_PARALLEL and two inter-op threads, two heavy branches of a model overlap in
# the profile, on two threads.
# Seen: nothing ever overlaps. All CPU nodes form one stream, which runs from end to end as in sequential mode;
# with four inter-op threads a whole run merely moves to another thread. (Since 1.14: microsoft/onnxruntime
# 16158; a change that splits the stream, 29817, was open in 2026.) So a simulator that takes a critical path
# through the branches for the service time, or counts inter-op threads as busy cores, is wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys
from itertools import pairwise

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIZE, BRANCHES, LAYERS, RUNS = 384, 4, 3, 8


def branches():
    """Four branches of three products from inputs of their own, joined by nothing."""
    info = helper.make_tensor_value_info
    weights = np.random.default_rng(0).standard_normal((SIZE, SIZE), np.float32)
    names = [[f"b{branch}_{layer}" for layer in range(LAYERS + 1)] for branch in range(BRANCHES)]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [line[layer], f"w{branch}"], [line[layer + 1]])
            for branch, line in enumerate(names)
            for layer in range(LAYERS)
        ],
        "branches",
        [info(line[0], TensorProto.FLOAT, ["N", SIZE]) for line in names],
        [info(line[-1], TensorProto.FLOAT, ["N", SIZE]) for line in names],
        [numpy_helper.from_array(weights * np.float32(branch + 1), f"w{branch}") for branch in range(BRANCHES)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def overlaps(mode, inter_threads):
    """The nodes that ran, those that began before the one before had ended, and the threads."""
    options = onnxruntime.SessionOptions()
    options.execution_mode = mode
    options.intra_op_num_threads, options.inter_op_num_threads = 1, inter_threads
    options.enable_profiling = True
    session = onnxruntime.InferenceSession(branches(), options, providers=["CPUExecutionProvider"])
    feeds = {one.name: np.ones((SIZE, SIZE), np.float32) for one in session.get_inputs()}
    for _ in range(RUNS):
        session.run(None, feeds)
    with open(session.end_profiling()) as file:
        nodes = [one for one in json.load(file) if one.get("args", {}).get("op_name") == "MatMul"]
    nodes.sort(key=lambda one: one["ts"])
    early = sum(after["ts"] < before["ts"] + before["dur"] for before, after in pairwise(nodes))
    return len(nodes), early, len({one["tid"] for one in nodes})


print("onnxruntime", onnxruntime.__version__)
changed = False
for mode, inter_threads in (("ORT_SEQUENTIAL", 1), ("ORT_PARALLEL", 2), ("ORT_PARALLEL", 4)):
    count, early, threads = overlaps(getattr(onnxruntime.ExecutionMode, mode), inter_threads)
    print(f"{mode}, {inter_threads} inter-op threads: {count} nodes, {early} overlap, on {threads} threads in all")
    changed |= count != BRANCHES * LAYERS * RUNS or early > 0
sys.exit(changed)
PYTHON
