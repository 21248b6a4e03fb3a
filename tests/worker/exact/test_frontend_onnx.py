"""ONNX files: the float graph equals onnxruntime, the integers are close, the rest is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from worker.errors import ModelUnsupported, WeightsInvalid
from worker.exact import floats
from worker.exact.compiler import compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.graph import OperatorUnsupported

RNG = np.random.default_rng(0)


def model(
    nodes: Sequence[Any], shape: Sequence[int], **constants: np.ndarray[Any, Any]
) -> onnx.ModelProto:
    """Return a model from "x" to "y"."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=f"the_{output}", **attributes)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype("f4")


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


IMAGE, ROWS = (1, 3, 6, 6), (1, 5, 8)
MODELS = {
    "gemm": model(
        [node("Flatten", "x", "f"), node("Gemm", "f w b", "y", transB=1)], ROWS,
        w=normal(4, 40), b=normal(4),
    ),
    "matmul add relu": model(
        [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Relu", "a", "y")], ROWS,
        w=normal(8, 6), b=normal(6),
    ),
    "conv norm pool": model(
        [
            node("Conv", "x w b", "c", pads=[1, 0, 0, 1], strides=[2, 1]),
            node("BatchNormalization", "c s o m v", "n"), node("Relu", "n", "r"),
            node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[1, 1]),
            node("GlobalAveragePool", "p", "y"),
        ],
        IMAGE, w=normal(4, 3, 3, 3), b=normal(4), s=normal(4), o=normal(4), m=normal(4),
        v=np.abs(normal(4)) + 0.5,
    ),
    "same padding": model(
        [node("Conv", "x w", "y", auto_pad="SAME_UPPER", strides=[2, 2])], IMAGE,
        w=normal(2, 3, 3, 3),
    ),
    "average": model(
        [node("AveragePool", "x", "y", kernel_shape=[2, 3], strides=[2, 3])], IMAGE
    ),
    "gelu by hand": model(
        [
            node("Div", "x k", "d"), node("Erf", "d", "e"), node("Add", "e one", "a"),
            node("Mul", "x a", "m"), node("Mul", "m half", "y"),
        ],
        ROWS, k=np.float32(np.sqrt(2)), one=np.float32(1), half=np.float32(0.5),
    ),
    "norm": model(
        [node("LayerNormalization", "x s b", "y", axis=-1)], ROWS, s=normal(8), b=normal(8)
    ),
    "softmax of a slice": model(
        [node("Slice", "x from to axes step", "s"), node("Softmax", "s", "y")], ROWS,
        **{"from": ints(1, 0), "to": ints(2**31, -1)}, axes=ints(2, 1), step=ints(2, 1),
    ),
    "split and concat": model(
        [
            helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=2),
            node("Sigmoid", "b", "s"), node("Concat", "s a", "c", axis=-1),
            node("Transpose", "c", "y", perm=[0, 2, 1]),
        ],
        ROWS, sizes=ints(3, 5),
    ),
    "gather one": model([node("Gather", "x at", "y", axis=1)], ROWS, at=np.array(-1)),
    "sums": model(
        [node("ReduceSum", "x axes", "s", keepdims=0), node("Clip", "s low high", "y")], ROWS,
        axes=ints(1), low=np.float32(-1), high=np.float32(2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_from_onnx__operators__are_close_to_onnxruntime(name: str) -> None:
    proto = MODELS[name]
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    samples = [{"x": normal(*shape)} for _ in range(16)]
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    graph = from_onnx(proto, samples[0])
    program = compile_graph(graph, samples)

    want = [session.run(None, sample)[0] for sample in samples]
    got = [program.run(sample) for sample in samples]

    for sample, value in zip(samples, want, strict=True):
        np.testing.assert_allclose(floats.run(graph, sample), value, atol=1e-5, rtol=1e-4)
    assert np.std(np.ravel(got) - np.ravel(want)) < 0.02 * np.std(want)


def test_from_onnx__unknown_operator__is_named_with_its_node() -> None:
    proto = model([node("NonZero", "x", "y")], ROWS)

    with pytest.raises(OperatorUnsupported, match="NonZero at node the_y") as caught:
        from_onnx(proto, {"x": normal(*ROWS)})

    assert "float" in caught.value.hint


def test_from_onnx__not_a_model__is_refused(tmp_path: Any) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\xff\xff\xff no protobuf")

    with pytest.raises(WeightsInvalid):
        from_onnx(path, {"x": normal(*ROWS)})


def test_from_onnx__weights_elsewhere__is_refused() -> None:
    proto = model([node("MatMul", "x w", "y")], ROWS, w=normal(8, 2))
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(ModelUnsupported, match="another file"):
        from_onnx(proto, {"x": normal(*ROWS)})


def test_from_onnx__input_missing__is_named() -> None:
    with pytest.raises(ModelUnsupported, match="no input 'x'"):
        from_onnx(MODELS["norm"], {"z": normal(*ROWS)})


def test_from_onnx__axes_are_an_input__are_those_of_the_sample() -> None:
    proto = model([node("ReduceSum", "x axes", "y")], ROWS)
    proto.graph.input.append(helper.make_tensor_value_info("axes", TensorProto.INT64, [1]))
    samples = [{"x": normal(*ROWS), "axes": ints(1)} for _ in range(8)]

    program = compile_graph(from_onnx(proto, samples[0]), samples)

    assert [code.name for code in program.inputs] == ["x"]
    assert np.abs(program.run(samples[0]) - samples[0]["x"].sum(1, keepdims=True)).max() < 0.2


def test_compile_graph__divisor_near_zero__is_refused() -> None:
    proto = model([node("MatMul", "x w", "m"), node("Div", "x m", "y")], ROWS, w=normal(8, 8))
    samples = [{"x": normal(*ROWS)} for _ in range(8)]

    with pytest.raises(OperatorUnsupported, match="it divides by"):
        compile_graph(from_onnx(proto, samples[0]), samples)


def pipeline(**classifier: Any) -> onnx.ModelProto:
    """Return what skl2onnx makes of a scaler and a logistic regression on 4 columns."""
    domain, rng = "ai.onnx.ml", np.random.default_rng(3)
    given: dict[str, Any] = {
        "classlabels_ints": [0, 1, 2], "coefficients": rng.normal(size=12).tolist(),
        "intercepts": [0.1, 0.0, -0.2], "multi_class": 1, "post_transform": "SOFTMAX",
        **classifier,
    }  # fmt: skip
    nodes = [
        helper.make_node(
            "Scaler", ["x"], ["s"], domain=domain, offset=[1.0, 2.0, 3.0, 4.0],
            scale=[1.0, 0.5, 2.0, 0.1],
        ),
        helper.make_node("LinearClassifier", ["s"], ["label", "p"], domain=domain, **given),
        helper.make_node("Normalizer", ["p"], ["shares"], domain=domain, norm="L1"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("shares", TensorProto.FLOAT, [1, 3]),
        ],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(domain, 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def test_compile__pipeline_of_scikit_learn__gives_label_and_shares() -> None:
    rng = np.random.default_rng(4)
    spread = np.array([1.0, 2.0, 0.5, 10.0])
    samples = [
        {"x": (rng.normal(size=(1, 4)) * spread + [1, 2, 3, 4]).astype("f4")} for _ in range(64)
    ]
    model = pipeline()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    program = compile_graph(from_onnx(model, samples[0]), samples)

    same = 0
    for sample in samples:
        label, shares = session.run(None, sample)
        answers = program.answers(sample)
        same += int(answers["label"].item() == label.item())
        np.testing.assert_allclose(answers["shares"].reshape(1, 3), shares, atol=0.02)
    assert same >= 63


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"classlabels_ints": [1, 2, 3]}, "not numbered from 0"),
        ({"post_transform": "PROBIT"}, "post_transform PROBIT"),
        ({"post_transform": "SOFTMAX_ZERO"}, "post_transform SOFTMAX_ZERO"),
    ],
    ids=["labels", "probit", "softmax zero"],
)
def test_from_onnx__classifier_of_another_kind__refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelUnsupported, match=said):
        from_onnx(pipeline(**changed), {"x": np.zeros((1, 4), np.float32)})
