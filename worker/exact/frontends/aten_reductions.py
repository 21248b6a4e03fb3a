"""ATen's pools and reductions in the float graph."""

from collections.abc import Mapping

from worker.exact.frontends.tracing import (
    Converter,
    GraphRecorder,
    OperatorCall,
    Values,
    first,
    pair,
)
from worker.exact.lowering.expressions import X


def _max_pool(trace: GraphRecorder, call: OperatorCall) -> Values:
    _require_whole(trace, call)
    padding = pair(call["padding"])
    name = trace.emit(
        "max_pool", [call["self"].name], call.output, call.shape,
        kernel=pair(call["kernel_size"]), stride=pair(call["stride"] or call["kernel_size"]),
        padding=padding * 2, dilation=pair(call["dilation"]),
    )  # fmt: skip
    return first(call, name)


def _require_whole(trace: GraphRecorder, call: OperatorCall) -> None:
    if call.arguments.get("ceil_mode"):
        raise trace.refuse(call.name, "ceil_mode", instead="ceil_mode=False and explicit padding")


def _avg_pool(trace: GraphRecorder, call: OperatorCall) -> Values:
    _require_whole(trace, call)
    padding = pair(call["padding"])
    if (padding != (0, 0) and not call["count_include_pad"]) or call["divisor_override"]:
        raise trace.refuse(
            "avg_pool2d", "its divisor depends on the place", instead="count_include_pad=True"
        )
    name = trace.emit(
        "avg_pool", [call["self"].name], call.output, call.shape, padding=padding * 2,
        kernel=pair(call["kernel_size"]), stride=pair(call["stride"] or call["kernel_size"]),
    )  # fmt: skip
    return first(call, name)


def _adaptive_pool(trace: GraphRecorder, call: OperatorCall) -> Values:
    rows, cols = call["self"].shape[-2:]
    out_rows, out_cols = call.shape[-2:]
    if rows % out_rows or cols % out_cols:
        raise trace.refuse(
            "adaptive pooling", f"{rows} × {cols} is no multiple of {out_rows} × {out_cols}",
            instead="use avg_pool2d with a kernel and a stride",
        )  # fmt: skip
    kernel = (rows // out_rows, cols // out_cols)
    name = trace.emit(
        "avg_pool", [call["self"].name], call.output, call.shape,
        kernel=kernel, stride=kernel, padding=(0, 0, 0, 0),
    )  # fmt: skip
    return first(call, name)


def _reduce(trace: GraphRecorder, call: OperatorCall) -> Values:
    given = call["self"]
    dims, keep = call.arguments.get("dim"), bool(call.arguments.get("keepdim"))
    dims = range(len(given.shape)) if dims in (None, []) else dims
    dims = [dims] if isinstance(dims, int) else dims
    dims = tuple(sorted(dim % len(given.shape) for dim in dims))
    name = trace.emit(call.name, [given.name], call.output, call.shape, dims=dims, keep=keep)
    return first(call, name)


def _any(trace: GraphRecorder, call: OperatorCall) -> Values:
    """Whether one along a dimension is not zero: the greatest of what is 0 or 1."""
    given, dim = call["self"], call["dim"] % len(call["self"].shape)
    truths = trace.function(("ne", X, 0.0), given)
    return trace.done(call, trace.apply("max", truths, dims=(dim,)))


def _norm(trace: GraphRecorder, call: OperatorCall) -> Values:
    given, dims = call["self"], call["dim"]
    last = ([-1], [len(given.shape) - 1])
    if call.arguments.get("ord", call.arguments.get("p", 2)) not in (2, 2.0) or dims not in last:
        raise trace.refuse(
            "norm", "only a final division by the length of the last dimension is known",
            instead="torch.nn.functional.normalize(x, dim=-1)",
        )  # fmt: skip
    return first(call, trace.emit("norm", [given.name], call.output, call.shape))


def _argmax(trace: GraphRecorder, call: OperatorCall) -> Values:
    given, dim = call["self"], call["dim"]
    if dim not in (-1, len(given.shape) - 1):
        raise trace.refuse("argmax", "it is not over the last dimension", instead="transpose")
    return first(call, trace.emit("argmax", [given.name], call.output, call.shape))


REDUCTIONS: Mapping[str, Converter] = {
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices"), _max_pool),
    "avg_pool2d": _avg_pool,
    **dict.fromkeys(("adaptive_avg_pool2d", "_adaptive_avg_pool2d"), _adaptive_pool),
    **dict.fromkeys(("mean", "sum"), _reduce),
    **dict.fromkeys(("linalg_vector_norm", "norm"), _norm),
    "argmax": _argmax,
    "any": _any,
}
