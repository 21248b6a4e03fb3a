"""An ONNX graph while it is made: nodes and constants, whose names are numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from worker.importing.converted import Array

OPSETS, IR = {"": 18, "ai.onnx.ml": 3}, 9
Value = tuple[str, int, list[Any]]  # name, type of ONNX, shape


class Nodes:
    """Nodes and constants, in the order that they are added in."""

    def __init__(self) -> None:
        self.opsets = dict(OPSETS)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *given: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(given), [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        """Add a constant; return its name."""
        name = f"c{len(self.constants)}"
        array: Array = np.asarray(values)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def name(self, value: str, output: str) -> None:
        """Give a value the name of an output."""
        self.nodes.append(helper.make_node("Identity", [value], [output]))

    def model(
        self, name: str, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> onnx.ModelProto:
        """Return the file's message."""
        info = helper.make_tensor_value_info
        given, gives = ([info(*one) for one in some] for some in (inputs, outputs))
        graph = helper.make_graph(self.nodes, name, given, gives, self.constants)
        opsets = [helper.make_opsetid(*item) for item in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR)
