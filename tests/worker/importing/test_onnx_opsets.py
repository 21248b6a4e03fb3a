"""ONNX of any age: files as Caffe's and MXNet's converters wrote them, and ones from tomorrow."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.worker.importing.originals import served
from worker.errors import ModelUnsupported, PickleRefused, WeightsInvalid
from worker.importing import onnx_opsets
from worker.importing.converted import Conversion, Converted
from worker.importing.held import ConversionWrong, require_same
from worker.runtimes import onnx as runtime

DICE = np.random.default_rng(0)
WEIGHT = DICE.standard_normal((4, 3)).astype(np.float32)
BIAS = DICE.standard_normal(3).astype(np.float32)
ROWS = DICE.standard_normal((5, 4)).astype(np.float32)


def write(folder: Path, opset: int, *nodes: onnx.NodeProto, domain: str = "") -> Path:
    """Write a graph of `x`, `w`, `b` to `y` as old converters did: weights are inputs too."""
    info = helper.make_tensor_value_info
    weights = [numpy_helper.from_array(a, n) for a, n in ((WEIGHT, "w"), (BIAS, "b"))]
    graph = helper.make_graph(
        list(nodes), "old",
        [info("x", TensorProto.FLOAT, ["N", 4]), info("w", TensorProto.FLOAT, [4, 3]),
         info("b", TensorProto.FLOAT, [3])],
        [info("y", TensorProto.FLOAT, ["N", 3])], weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid(domain, opset)]
    path = folder / "old.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=3).SerializeToString()
    )
    return path


def gemm(opset: int) -> list[onnx.NodeProto]:
    """Inner product, dropout, softmax, as Caffe's nets end."""
    dropout = {"is_test": 1} if opset < 7 else {}
    product = {"broadcast": 1} if opset < 7 else {}
    return [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"], **product),
        helper.make_node("Dropout", ["z"], ["d"], ratio=0.5, **dropout),
        helper.make_node("Softmax", ["d"], ["y"], axis=1),
    ]


@pytest.mark.parametrize("opset", [3, 6])
def test_convert__older_than_is_run__is_upgraded_and_answers_the_same(
    opset: int, tmp_path: Path
) -> None:
    path = write(tmp_path, opset, *gemm(opset))
    with pytest.raises(ModelUnsupported, match=f"opset {opset} is older than 7") as caught:
        runtime.open_session(path, "cpu")
    assert "model check old.onnx" in caught.value.hint

    made = onnx_opsets.convert(Conversion("onnx", str(path)))

    (tmp_path / "new.onnx").write_bytes(made.model)
    got = served(tmp_path / "new.onnx", {"x": ROWS})["y"]
    powers = np.exp(ROWS @ WEIGHT + BIAS)
    np.testing.assert_allclose(got, powers / powers.sum(1, keepdims=True), atol=1e-5)
    assert made.version == f"ONNX opset {opset}"


def test_convert__operators_that_onnx_has_a_reference_of__are_held_to_it(tmp_path: Path) -> None:
    path = write(
        tmp_path, 1,
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "b"], ["q"], broadcast=1, axis=1),
        helper.make_node("Relu", ["q"], ["y"], consumed_inputs=[0]),
    )  # fmt: skip
    made = onnx_opsets.convert(Conversion("onnx", str(path)))
    (tmp_path / "new.onnx").write_bytes(made.model)
    assert set(made.answers) == {"y"}
    assert require_same(made, runtime.open_session(tmp_path / "new.onnx", "cpu")[0]) <= 1e-6


def test_require_same__rows_that_the_graph_does_not_take__are_wrong_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, 13, helper.make_node("Gemm", ["x", "w", "b"], ["y"]))
    words = {"x": np.array(["a stranger's process", "left words"])}
    made = Converted(path.read_bytes(), "ONNX opset 13", rows=words, answers={"y": ROWS})
    with pytest.raises(ConversionWrong, match="the ONNX graph failed"):
        require_same(made, runtime.open_session(path, "cpu")[0])


def test_convert__of_today__stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, 13, helper.make_node("Gemm", ["x", "w", "b"], ["y"]))
    assert onnx_opsets.convert(Conversion("onnx", str(path))).model == path.read_bytes()


@pytest.mark.parametrize(("domain", "newest"), [("", runtime.NEWEST), ("ai.onnx.ml", 5)])
def test_convert__newer_than_is_run__names_the_newest(
    domain: str, newest: int, tmp_path: Path
) -> None:
    path = write(tmp_path, 99, helper.make_node("Relu", ["x"], ["y"]), domain=domain)
    for read in (
        lambda: onnx_opsets.convert(Conversion("onnx", str(path))),
        lambda: runtime.open_session(path, "cpu"),
    ):
        with pytest.raises(ModelUnsupported, match=f"opset 99 .* is newer than {newest}"):
            read()


def test_convert__operator_that_no_converter_knows__says_to_export_anew(tmp_path: Path) -> None:
    path = write(tmp_path, 6, helper.make_node("Unheard", ["x"], ["y"]))
    with pytest.raises(ModelUnsupported, match="does not upgrade") as caught:
        onnx_opsets.convert(Conversion("onnx", str(path)))
    assert "opset 18" in caught.value.hint


def nested(depth: int) -> bytes:
    """Return a ModelProto whose graph holds a node that holds a graph, and so on."""

    def field(number: int, body: bytes) -> bytes:
        size, length = len(body), b""
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + body

    graph = field(2, b"deep")
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))  # graph.node.attribute.g
    return field(7, graph)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (nested(20_000), WeightsInvalid),
        (b"\x80\x04K\x01.", PickleRefused),
        (b"PK\x03\x04 torch.save", PickleRefused),
        (b"\x08\x03", WeightsInvalid),
        (b"not protobuf at all", WeightsInvalid),
    ],
    ids=["recursive", "pickle", "zip", "no graph", "text"],
)
def test_convert__hostile_file__refused_here_and_by_operators(
    data: bytes, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "hostile.onnx"
    path.write_bytes(data)
    with pytest.raises(error):
        onnx_opsets.convert(Conversion("onnx", str(path)))
    with pytest.raises(error):
        runtime.open_session(path, "cpu")
