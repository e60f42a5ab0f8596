"""The model that shows whether a device works, and its answer.

It has a Conv: cuDNN is opened for one alone, and a check without would pass where it is missing.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from vramlab.live.graphs import IR_VERSION, OPSET

IMAGE = np.ones((1, 1, 4, 4), np.float32)
TRUE_ANSWER = np.full((1, 1, 3, 3), 16, np.float32)
"""What a 2 x 2 kernel of fours makes of an image of ones."""


@cache
def a_conv() -> bytes:
    """Return the model."""
    kernel = numpy_helper.from_array(np.full((1, 1, 2, 2), 4, np.float32), "kernel")
    node = helper.make_node("Conv", ["x", "kernel"], ["y"], kernel_shape=[2, 2])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, 3, 3])
    graph = helper.make_graph([node], "check", [x], [y], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
