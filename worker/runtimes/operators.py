"""Which torch operators an exported graph may call: pure functions of their arguments, no others.

Allowed are the Core ATen operators (torch marks them) and the composites below that
`torch.export.export` leaves in place. Refused is whatever writes to its arguments, draws random
numbers, returns uninitialised memory, or reaches outside of tensors.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

from worker.errors import ModelUnsupported

_COMPOSITES = """
    conv1d.default conv2d.default conv3d.default conv_transpose1d.default
    conv_transpose2d.input linear.default _unsafe_view.default
    matmul.default bmm.default baddbmm.default einsum.default
    batch_norm.default layer_norm.default group_norm.default instance_norm.default rms_norm.default
    flatten.using_ints reshape.default unflatten.int contiguous.default transpose.int t.default
    movedim.int unbind.int chunk.default split.Tensor split.default split_with_sizes.default
    stack.default expand_as.default view_as.default type_as.default squeeze.default
    to.dtype to.dtype_layout to.device lift_fresh_copy.default detach.default detach_.default
    dropout.default feature_dropout.default scaled_dot_product_attention.default
    softmax.int log_softmax.int silu.default mish.default hardswish.default hardsigmoid.default
    softplus.default relu6.default selu.default celu.default log_sigmoid.default glu.default
    prelu.default threshold.default clamp_min.default clamp_max.default
    max_pool1d.default max_pool2d.default max_pool3d.default avg_pool1d.default
    adaptive_avg_pool1d.default adaptive_avg_pool2d.default adaptive_max_pool2d.default
    upsample_nearest2d.vec upsample_bilinear2d.vec pixel_shuffle.default pad.default
    one_hot.default masked_fill.Scalar masked_fill.Tensor tril.default triu.default
    ones.default zeros.default ones_like.default zeros_like.default new_zeros.default
    new_ones.default new_full.default arange.default arange.start roll.default
    max.default min.default std.dim std.correction var_mean.correction norm.ScalarOpt_dim
    linalg_vector_norm.default logsumexp.default square.default rsub.Scalar rsub.Tensor
    __and__.Tensor __or__.Tensor where.ScalarOther where.ScalarSelf where.Scalar
     floor_divide.default true_divide.Tensor repeat_interleave.self_int
    lstm.input gru.input rnn_tanh.input rnn_relu.input
    _assert_tensor_metadata.default sym_constrain_range_for_size.default
"""
_ALLOWED = frozenset(_COMPOSITES.split())
_UNINITIALISED = ("empty", "new_empty", "empty_like", "empty_strided", "resize")
_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    f"_operator.{function.__name__}": function
    for function in (
        operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv,
        operator.mod, operator.neg, operator.eq, operator.ne, operator.lt, operator.le,
        operator.gt, operator.ge,
    )
}  # fmt: skip
_PREFIX = "torch.ops.aten."


def resolve(target: str) -> Callable[..., Any]:
    """Return the function that a graph's node names.

    Raises:
        ModelUnsupported: not on the list.
    """
    if target in _ARITHMETIC:
        return _ARITHMETIC[target]
    name, _, overload = target.removeprefix(_PREFIX).partition(".")
    if not target.startswith(_PREFIX) or not (name + overload).isidentifier():
        raise _refused(target)
    function = getattr(getattr(torch.ops.aten, name, None), overload, None)
    if not isinstance(function, torch._ops.OpOverload) or name.startswith(_UNINITIALISED):
        raise _refused(target)
    if f"{name}.{overload}" in _ALLOWED:
        return _without_training(function)
    if (
        torch.Tag.core not in function.tags
        or torch.Tag.nondeterministic_seeded in function.tags
        or function._schema.is_mutable
    ):
        raise _refused(target)
    return function


def _without_training(function: torch._ops.OpOverload[..., Any]) -> Callable[..., Any]:
    """Refuse to run a layer in training mode, where it draws numbers or changes its weights."""
    names = [argument.name for argument in function._schema.arguments]
    watched = {"train", "training", "use_input_stats", "dropout_p"}.intersection(names)
    if not watched:
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if any(given.get(name) for name in watched):
            raise ModelUnsupported(
                f"{function} runs in training mode", hint="call model.eval() before exporting"
            )
        return function(*args, **kwargs)

    return call


def _refused(target: str) -> ModelUnsupported:
    return ModelUnsupported(
        f"operator {target:.80} is not one that a worker runs",
        hint="export with torch.export.export(model.eval(), …).run_decompositions({})",
    )
