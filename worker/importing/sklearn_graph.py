"""Gives a graph of skl2onnx the outputs that Tallystick's models have.

```
 features ─▶ skl2onnx ─▶ label ─────────▶ LabelEncoder ─▶ class: its place among the labels
                      └▶ probabilities ─▶ float32 ──────▶ probabilities | scores | value
```
Canonical tensors have no words, so a class is told by its place.
"""

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import TensorProto, helper

from worker.errors import ModelUnsupported
from worker.exact.trees.ensemble import Ensemble
from worker.exact.trees.files import FEATURES
from worker.importing.converted import Array
from worker.importing.nodes import IR, OPSETS
from worker.importing.tree_graph import as_onnx


def finished(model: onnx.ModelProto, name: str, classes: Array | None, width: int) -> bytes:
    """Return the file with our names of outputs, float32 numbers, and places of classes.

    Args:
        model: what skl2onnx made: label and numbers, or values alone.
        name: of the output of numbers.
        classes: of a classifier.
        width: how many numbers a row has.

    Raises:
        ModelUnsupported: labels that ONNX has no type for.
    """
    made = onnx.compose.add_prefix(model, "original/", rename_inputs=False)
    graph = made.graph
    given = [output.name for output in graph.output]
    graph.initializer.extend([
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("table", TensorProto.INT64, [2], [-1, 1] if width == 1 else [0, -1]),
    ])  # fmt: skip
    graph.node.extend([
        helper.make_node("Cast", [given[-1]], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "table"], [name]),
    ])  # fmt: skip
    info = helper.make_tensor_value_info
    outputs = [info(name, TensorProto.FLOAT, ["rows", width])]
    if classes is not None:
        graph.node.extend(_places(given[0], classes))
        others = [opset for opset in made.opset_import if opset.domain != "ai.onnx.ml"]
        del made.opset_import[:]  # LabelEncoder takes integers from version 2 on
        made.opset_import.extend([*others, helper.make_opsetid("ai.onnx.ml", OPSETS["ai.onnx.ml"])])
        outputs.append(info("class", TensorProto.INT64, ["rows"]))
    del graph.output[:]
    graph.output.extend(outputs)
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    return bytes(made.SerializeToString())


def then_trees(model: onnx.ModelProto, ensemble: Ensemble) -> bytes:
    """Return a pipeline's first steps with an ensemble of trees behind them.

    Trees round what they are given as scikit-learn does: to float32, of histograms not at all.

    Args:
        model: what skl2onnx made of the first steps: one output of numbers.
    """
    head = onnx.compose.add_prefix(model, "first/", rename_inputs=False)
    given = head.graph.output[0].name
    if ensemble.precision == "float32":
        head.graph.node.append(
            helper.make_node("Cast", [given], ["first/rounded"], to=TensorProto.FLOAT)
        )
        given = "first/rounded"
        kind = helper.make_tensor_value_info(given, TensorProto.FLOAT, ["rows", ensemble.features])
        del head.graph.output[:]
        head.graph.output.append(kind)
    trees = onnx.load_from_string(as_onnx(ensemble))
    trees = onnx.compose.add_prefix(trees, "trees/", rename_outputs=False)
    versions = {opset.domain: opset.version for opset in (*head.opset_import, *trees.opset_import)}
    for part in (head, trees):
        del part.opset_import[:]
        part.opset_import.extend(helper.make_opsetid(*item) for item in versions.items())
        part.ir_version = IR
    made = onnx.compose.merge_models(head, trees, io_map=[(given, f"trees/{FEATURES}")])
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    return bytes(made.SerializeToString())


def _places(label: str, classes: Array) -> Iterator[onnx.NodeProto]:
    """Yield nodes that turn labels into their places among the classes.

    Raises:
        ModelUnsupported: labels that ONNX has no type for.
    """
    places: dict[str, Any] = {"values_int64s": list(range(len(classes)))}
    if classes.dtype.kind in "US":
        keys: dict[str, Any] = {"keys_strings": [str(one) for one in classes]}
    elif classes.dtype.kind in "iub":
        keys = {"keys_int64s": [int(one) for one in classes]}
    else:
        raise ModelUnsupported(
            f"classes of type {classes.dtype}", hint="train with labels that are words or integers"
        )
    yield helper.make_node(
        "LabelEncoder", [label], ["place"], domain="ai.onnx.ml", default_int64=-1, **keys, **places
    )
    yield helper.make_node("Reshape", ["place", "flat"], ["class"])
