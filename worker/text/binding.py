"""llama.cpp's C API as the wheel `xllamacpp` carries it: structures, signatures, one check.

The wheel's own interface gives neither the logits of a prompt nor the log-probabilities of tokens
that are half a character. Structures are those of the pinned version; defaults that the library
itself returns are compared before anything is called, so that another version is refused.
Source: llama.cpp, include/llama.h.
"""

import ctypes
import importlib.util
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from oracle.errors import ConfigInvalid

PACKAGE, PINNED = "xllamacpp", "2026.10.11549"
INSTALL = "pip install 'tallystick[text]'"


class EngineMissing(ConfigInvalid):
    """The package that runs text models is not installed, or another version of it."""


class ModelParams(ctypes.Structure):
    """`llama_model_params`."""

    _fields_ = (
        ("devices", c_void_p), ("tensor_buft_overrides", c_void_p), ("n_gpu_layers", c_int32),
        ("split_mode", c_int32), ("load_mode", c_int32), ("lazy_mode", c_int32),
        ("main_gpu", c_int32), ("tensor_split", c_void_p), ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p), ("kv_overrides", c_void_p),
        ("vocab_only", c_bool), ("check_tensors", c_bool), ("use_extra_bufts", c_bool),
        ("no_host", c_bool), ("no_alloc", c_bool), ("load_mtp", c_bool),
    )  # fmt: skip


class ContextParams(ctypes.Structure):
    """`llama_context_params`."""

    _fields_ = (
        *((name, c_uint32) for name in (
            "n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max",
            "n_outputs_max_per_seq",
        )),
        *((name, c_int32) for name in (
            "n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type", "pooling_type",
            "attention_type", "flash_attn_type",
        )),
        *((name, c_float) for name in (
            "rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor",
            "yarn_beta_fast", "yarn_beta_slow",
        )),
        ("yarn_orig_ctx", c_uint32), ("defrag_thold", c_float), ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p), ("type_k", c_int32), ("type_v", c_int32),
        ("abort_callback", c_void_p), ("abort_callback_data", c_void_p), ("reserved", c_void_p),
        ("embeddings", c_bool), ("offload_kqv", c_bool), ("no_perf", c_bool),
        ("op_offload", c_bool), ("swa_full", c_bool), ("kv_unified", c_bool),
        ("samplers", c_void_p), ("n_samplers", c_size_t), ("ctx_other", c_void_p),
    )  # fmt: skip


class Batch(ctypes.Structure):
    """`llama_batch`: token, position, sequence of each row, and whether its logits are wanted."""

    _fields_ = (
        ("n_tokens", c_int32), ("token", POINTER(c_int32)), ("embd", c_void_p),
        ("pos", POINTER(c_int32)), ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))), ("logits", POINTER(c_int8)),
    )  # fmt: skip


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (ModelParams, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParams)),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParams)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_n_ctx_train": (c_int32, (c_void_p,)),
    "llama_model_chat_template": (c_char_p, (c_void_p, c_char_p)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_vocab_is_eog": (c_bool, (c_void_p, c_int32)),
    "llama_tokenize": (
        c_int32,
        (c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool),
    ),
    "llama_token_to_piece": (
        c_int32,
        (c_void_p, c_int32, ctypes.c_char_p, c_int32, c_int32, c_bool),
    ),
    "llama_batch_init": (Batch, (c_int32, c_int32, c_int32)),
    "llama_decode": (c_int32, (c_void_p, Batch)),
    "llama_set_n_threads": (None, (c_void_p, c_int32, c_int32)),
    "llama_get_logits_ith": (POINTER(c_float), (c_void_p, c_int32)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_log_set": (None, (c_void_p, c_void_p)),
}  # fmt: skip


def require() -> Path:
    """Return the library's path.

    Raises:
        EngineMissing: it is not installed, or another version is.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EngineMissing(f"text models need the package {PACKAGE}", hint=INSTALL)
    if version(PACKAGE) != PINNED:
        raise EngineMissing(f"{PACKAGE} {version(PACKAGE)} is not {PINNED}", hint=INSTALL)
    found = next(Path(spec.origin).parent.glob("xllamacpp*.so"), None)
    if found is None:
        raise EngineMissing(f"{PACKAGE} holds no library for this platform", hint=INSTALL)
    return found


@cache
def library() -> Any:
    """Load the library, whose structures are those above.

    Raises:
        EngineMissing: see `require`.
    """
    loaded = ctypes.CDLL(str(require()))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    model, context = loaded.llama_model_default_params(), loaded.llama_context_default_params()
    fits = (
        (model.n_gpu_layers, model.load_mode, model.use_extra_bufts) == (-1, -1, True)
        and (context.n_ctx, context.n_batch, context.n_ubatch) == (512, 2048, 512)
        and (context.n_threads, context.n_threads_batch, context.flash_attn_type) == (4, 4, -1)
        and (context.type_k, context.type_v, context.defrag_thold) == (1, 1, -1.0)
        and (context.embeddings, context.swa_full, context.kv_unified) == (False, True, False)
    )
    if not fits:
        raise EngineMissing(f"{PACKAGE} has other structures than {PINNED}", hint=INSTALL)
    loaded.llama_backend_init()
    return loaded
