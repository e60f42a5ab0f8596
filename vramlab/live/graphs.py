"""ONNX graphs of the stand-in models: structure and the shapes of the weights, without the weights.

Three roles, each like what people serve: a *detector* (convolutional backbone, heads on three scales), a
*recogniser* (residual backbone, then a fully connected layer to an embedding of length one, as ArcFace has)
and a *classifier*. A backbone costs the same few milliseconds however large the file is to be: the rest of
the bytes go into one pair of fully connected layers, which cost one multiplication per weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from onnx import GraphProto, NodeProto, TensorProto, helper

Role = Literal["detector", "recogniser", "classifier"]

OPSET, IR_VERSION = 17, 8  # old enough for every onnxruntime since 1.12, new enough for what is used here

# Weights in one tensor. Real models have many tensors of some MB; and allocators give blocks of 32 MB and
# more back to the system at once, so that loading few large ones costs several times as much in page faults.
_LARGEST_TENSOR = 4 << 20

_EMBEDDING = 512
_DETECTOR_OUTPUTS = 6  # box, score, class
_INPUT_PIXELS: dict[Role, int] = {"detector": 128, "recogniser": 112, "classifier": 128}


@dataclass(frozen=True)
class Weight:
    """One tensor of weights: uniform in +-``bound`` around ``mean``; a bound of 0 makes it constant."""

    name: str
    shape: tuple[int, ...]
    bound: float
    mean: float = 0.0

    @property
    def count(self) -> int:
        """Number of values, four bytes each."""
        return math.prod(self.shape)


@dataclass
class Graph:
    """A graph under construction: nodes, weights in the order in which they are drawn, small constants."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output; return the output's name."""
        name = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], name=name, **attributes))
        return name

    def weight(self, shape: tuple[int, ...], bound: float, mean: float = 0.0) -> str:
        """Declare a tensor of weights; return its name."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(Weight(name, shape, bound, mean))
        return name

    def integers(self, *values: int) -> str:
        """Declare a small constant of integers, such as a shape; return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> str:
        """Add a convolution that keeps the size, or divides it by `stride`."""
        # Kaiming's uniform bound for ReLU (He et al. 2015, eq. 10): activations keep their scale.
        bound = math.sqrt(6 / (inputs * kernel * kernel))
        weight = self.weight((outputs, inputs, kernel, kernel), bound)
        bias = self.weight((outputs,), 0.01)
        return self.add(
            "Conv",
            x,
            weight,
            bias,
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
        )

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        """Add a fully connected layer, in parts where its weights are many."""
        count = min(math.ceil(inputs * outputs / _LARGEST_TENSOR), outputs)
        shares = [outputs * (part + 1) // count - outputs * part // count for part in range(count)]
        parts = [self._dense_part(x, inputs, share) for share in shares]
        return parts[0] if count == 1 else self.add("Concat", *parts, axis=1)

    def _dense_part(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.weight((outputs, inputs), math.sqrt(3 / inputs))
        return self.add("Gemm", x, weight, self.weight((outputs,), 0.01), transB=1)

    def residual(self, x: str, channels: int) -> str:
        """Add a block of two convolutions and a shortcut, with a learned slope as ArcFace's have."""
        y = self.conv(x, channels, channels)
        y = self.add("PRelu", y, self.weight((channels, 1, 1), 0.05, mean=0.25))
        y = self.conv(y, channels, channels)
        return self.add("Relu", self.add("Add", x, y))

    def backbone(self, x: str, width: int, divide: int) -> list[tuple[str, int]]:
        """Add stages that each halve the size and double the channels; return (output, channels) of each."""
        stages, inputs = [], 3
        x = self.add("Relu", self.conv(x, inputs, width, stride=divide))
        inputs = width
        for stage in range(4):
            channels = width << stage
            x = self.add("Relu", self.conv(x, inputs, channels, stride=2))
            x = self.residual(x, channels)
            stages.append((x, channels))
            inputs = channels
        return stages


def build_graph(role: Role, width: int, hidden: int) -> tuple[GraphProto, list[Weight]]:
    """Graph without its weights, and what weights it needs.

    Parameters
    ----------
    role : str
        ``detector``, ``recogniser`` or ``classifier``.
    width : int
        Channels of the first stage of the backbone.
    hidden : int
        Width between the two fully connected layers, by which a file reaches its size.

    Returns
    -------
    GraphProto, list of Weight
        The input ``input`` is (batch, 3, pixels, pixels) in float32.
    """
    graph, pixels = Graph(), _INPUT_PIXELS[role]
    stages = graph.backbone("input", width, divide=1 if role == "recogniser" else 2)
    final, channels = stages[-1]
    shape: list[int | str]
    if role == "detector":
        shape = ["batch", sum((pixels // stride) ** 2 for stride in (8, 16, 32)), _DETECTOR_OUTPUTS]
        _detector_heads(graph, stages, hidden)
    elif role == "recogniser":
        shape = ["batch", _EMBEDDING]
        scale, shift = graph.weight((channels,), 0.1, mean=1.0), graph.weight((channels,), 0.1)
        mean, variance = graph.weight((channels,), 0.1), graph.weight((channels,), 0.1, mean=1.0)
        final = graph.add("BatchNormalization", final, scale, shift, mean, variance)
        final = graph.add("Flatten", final)
        final = graph.add("Relu", graph.dense(final, channels * (pixels // 16) ** 2, hidden))
        final = graph.dense(final, hidden, _EMBEDDING)
        length = graph.add("ReduceL2", final, axes=[1], keepdims=1)
        graph.add("Div", final, length)
    else:
        shape = ["batch", 3]
        final = graph.add("Flatten", final)
        final = graph.add("Relu", graph.dense(final, channels * (pixels // 32) ** 2, hidden))
        final = graph.dense(final, hidden, 3)
        graph.add("Softmax", final, axis=1)
    graph.nodes[-1].output[0] = "output"
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, pixels, pixels])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
    proto = helper.make_graph(graph.nodes, role, [image], [answer], initializer=graph.constants)
    return proto, graph.weights


def _detector_heads(graph: Graph, stages: list[tuple[str, int]], hidden: int) -> None:
    """Gate the deepest stage by its global context, then predict boxes on three scales."""
    deepest, channels = stages[-1]
    context = graph.add("Flatten", graph.add("GlobalAveragePool", deepest))
    context = graph.add("Relu", graph.dense(context, channels, hidden))
    gate = graph.add("Sigmoid", graph.dense(context, hidden, channels))
    gate = graph.add("Reshape", gate, graph.integers(0, channels, 1, 1))
    gated = graph.add("Mul", deepest, gate)
    scales = []
    for x, inputs in [*stages[1:-1], (gated, channels)]:
        x = graph.add("Relu", graph.conv(x, inputs, inputs // 2, kernel=1))
        x = graph.conv(x, inputs // 2, _DETECTOR_OUTPUTS, kernel=1)
        x = graph.add("Reshape", x, graph.integers(0, _DETECTOR_OUTPUTS, -1))
        scales.append(graph.add("Transpose", x, perm=[0, 2, 1]))
    graph.add("Concat", *scales, axis=1)
