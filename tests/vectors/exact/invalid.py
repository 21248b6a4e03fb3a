"""Programs with one fault each, and the rule that names it: for whoever validates programs.

Faults are put into the words of a valid program, or into one operator of another shape.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from oracle.exact import dtypes
from oracle.exact.builder import ProgramBuilder
from oracle.exact.dtypes import DType, Spec
from oracle.exact.ops import ABSENT
from oracle.exact.program import Kind, Op, Opcode, Operand, Program
from oracle.types import ZERO32, Bytes32

I8, U8, I16, U16, I32, CHANNEL, NODE = DType
Fault = tuple[str, bytes, int | None, str]  # name, program, operator, part
ROOT = Bytes32(bytes(31) + b"\1")
# The operators of the network, by number.
GATHER, QK, SOFTMAX, COLUMNS, PV, ADD, LAYERNORM, TURNED, MEAN = range(9)


def invalid(network: Program) -> Iterator[Fault]:
    """Yield the faults."""
    yield from _before_operators(network)
    yield from _words(network)
    yield from _operands(network)
    yield from _params(network)
    yield from _shapes(network)
    yield from _bounds()


def _changed(program: Program, word: int, change: Callable[[int], int]) -> bytes:
    """Return a program's bytes with one word changed."""
    data = bytearray(program.encode())
    at = slice(32 * word, 32 * word + 32)
    data[at] = change(int.from_bytes(data[at])).to_bytes(32)
    return bytes(data)


def _word(program: Program, op: int, word: int) -> int:
    """Return where a word of an operator stands."""
    return 1 + len(program.inputs) + 9 * op + word


def _before_operators(p: Program) -> Iterator[Fault]:
    data = p.encode()
    for name, change in (
        ("format 0", lambda w: w & 0xFFFFFF),
        ("format 2", lambda w: w + (1 << 24)),
        ("a reserved bit of the header", lambda w: w | 1 << 255),
        ("no inputs", lambda w: w & ~0xFF0000),
        ("nine inputs", lambda w: w & ~0xFF0000 | 9 << 16),
        ("no operators", lambda w: w & ~0xFFFF),
        ("1,025 operators", lambda w: w & ~0xFFFF | 1025),
    ):
        yield name, _changed(p, 0, change), None, "header"
    yield "a word too many", data + bytes(32), None, "length"
    yield "a word too few", data[:-32], None, "length"
    for name, change in (
        ("a reserved bit of an input", lambda w: w | 1 << 72),
        ("an input of dtype 0", lambda w: w & ~(0xFF << 64)),
        ("an input of dtype 8", lambda w: w & ~(0xFF << 64) | 8 << 64),
        ("an input of channels", lambda w: w & ~(0xFF << 64) | CHANNEL << 64),
        ("an input without rows", lambda w: w & ~(0xFFFFFFFF << 32)),
        ("an input without columns", lambda w: w & ~0xFFFFFFFF),
        ("an input of more than 2^28 elements", lambda w: w | (1 << 28) << 32),
    ):
        yield name, _changed(p, 2, change), None, "input 1"


def _words(p: Program) -> Iterator[Fault]:
    for name, op, word, change, part in (
        ("a reserved bit of a head", QK, 0, lambda w: w | 1 << 88, "reserved"),
        ("opcode 0", QK, 0, lambda w: w & ~(0xFF << 72), "opcode"),
        ("opcode 16", QK, 0, lambda w: w & ~(0xFF << 72) | 16 << 72, "opcode"),
        ("a result of dtype 0", QK, 0, lambda w: w & ~(0xFF << 64), "result"),
        ("a result of dtype 255", QK, 0, lambda w: w | 0xFF << 64, "result"),
        ("a result without rows", QK, 0, lambda w: w & ~(0xFFFFFFFF << 32), "result"),
        ("a result of i32 from LAYERNORM", LAYERNORM, 0, lambda w: w & ~(0xFF << 64) | I32 << 64,
         "result"),
        ("a result of u16 from ADD", ADD, 0, lambda w: w & ~(0xFF << 64) | U16 << 64, "result"),
        ("no operands", QK, 0, lambda w: w & ~(0xFF << 80), "operands"),
        ("four operands", QK, 0, lambda w: w & ~(0xFF << 80) | 4 << 80, "operands"),
        ("a word after the operands", COLUMNS, 5, lambda _: 1, "operands"),
        ("a root after the operands", COLUMNS, 8, lambda _: 1, "operands"),
        ("a reserved bit of an operand", QK, 3, lambda w: w | 1 << 96, "operand 0"),
        ("an operand of kind 3", QK, 5, lambda w: w | 3 << 72, "operand 1"),
        ("an operand of kind 0 with a spec", QK, 5, lambda w: w & ~(0xFF << 72), "operand 1"),
    ):  # fmt: skip
        yield name, _changed(p, _word(p, op, word), change), op, part
    masked = replace(
        p.ops[MEAN], operands=(p.ops[MEAN].operands[0], ABSENT, p.ops[MEAN].operands[2])
    )
    without = Program(p.inputs, (*p.ops[:MEAN], masked))
    yield (
        "an absent operand with a root",
        _changed(without, _word(p, MEAN, 6), lambda _: 1),
        MEAN,
        "operand 1",
    )


def _with(p: Program, op: int, **changes: object) -> bytes:
    ops = list(p.ops)
    ops[op] = replace(ops[op], **changes)  # type: ignore[arg-type]
    return Program(p.inputs, tuple(ops)).encode()


def _operands(p: Program) -> Iterator[Fault]:
    def other(op: int, k: int, **changes: object) -> bytes:
        operands = list(p.ops[op].operands)
        operands[k] = replace(operands[k], **changes)  # type: ignore[arg-type]
        return _with(p, op, operands=tuple(operands))

    own = p.id_of(ADD)
    spec = p.ops[ADD].operands[1].spec
    yield "an operator that reads itself", other(ADD, 1, index=own), ADD, "operand 1"
    yield "an operator that reads a later one", other(ADD, 1, index=own + 1), ADD, "operand 1"
    yield "a tensor that does not exist", other(ADD, 1, index=65535), ADD, "operand 1"
    yield "a spec with another shape", other(QK, 0, spec=Spec(I8, 16, 5)), QK, "operand 0"
    yield "a spec with another dtype", other(QK, 0, spec=Spec(U8, 5, 16)), QK, "operand 0"
    yield "an activation with a root", other(QK, 0, root=ROOT), QK, "operand 0"
    yield "a constant without root", other(QK, 2, root=ZERO32), QK, "operand 2"
    yield "a constant of another dtype", other(QK, 2, spec=Spec(I8, 1, 1)), QK, "operand 2"
    yield "a constant without columns", other(QK, 2, spec=Spec(CHANNEL, 1, 0)), QK, "operand 2"
    yield "channels as a factor", other(QK, 1, kind=Kind.CONSTANT, root=ROOT,
          spec=Spec(CHANNEL, 5, 16)), QK, "operand 1"  # fmt: skip
    yield "an activation as table", other(GATHER, 1, kind=Kind.ACTIVATION, root=ZERO32, index=0,
          spec=p.inputs[0]), GATHER, "operand 1"  # fmt: skip
    yield "an activation as exponentials", other(SOFTMAX, 2, kind=Kind.ACTIVATION, root=ZERO32,
          index=0, spec=p.inputs[0]), SOFTMAX, "operand 2"  # fmt: skip
    yield (
        "no first factor",
        _with(p, QK, operands=(ABSENT, *p.ops[QK].operands[1:])),
        QK,
        "operand 0",
    )
    yield (
        "i32 as a factor",
        other(PV, 1, kind=Kind.CONSTANT, root=ROOT, spec=replace(spec, dtype=I32)),
        PV,
        "operand 1",
    )


def _params(p: Program) -> Iterator[Fault]:
    def lanes(op: int, **changes: int) -> bytes:
        params = list(p.ops[op].params)
        for name, value in changes.items():
            params[int(name[1:])] = value
        return _with(p, op, params=tuple(params))

    yield "groups of no rows", lanes(QK, k0=0), QK, "params"
    yield "DOT with a second parameter", lanes(QK, k1=1), QK, "params"
    yield "ADD with a parameter", lanes(ADD, k0=1), ADD, "params"
    yield "GATHER with a last parameter", lanes(GATHER, k15=1), GATHER, "params"
    yield "LAYERNORM with eps 2^52", lanes(LAYERNORM, k0=0, k1=1 << 20), LAYERNORM, "params"
    yield "SOFTMAX with shift 16", lanes(SOFTMAX, k0=16), SOFTMAX, "params"
    yield "VIEW with a size of 0", lanes(COLUMNS, k4=0), COLUMNS, "params"
    yield "VIEW with a twelfth parameter", lanes(COLUMNS, k11=1), COLUMNS, "params"


def _shapes(p: Program) -> Iterator[Fault]:
    def result(op: int, rows: int, cols: int) -> bytes:
        return _with(p, op, result=replace(p.ops[op].result, rows=rows, cols=cols))

    def constant(op: int, k: int, spec: Spec) -> bytes:
        operands = list(p.ops[op].operands)
        operands[k] = Operand(Kind.CONSTANT, 0, spec, ROOT)
        return _with(p, op, operands=tuple(operands))

    def lanes(op: int, *values: int) -> bytes:
        return _with(p, op, params=(*values, *[0] * (16 - len(values))))

    yield "DOT with more columns than rows of b", result(QK, 5, 6), QK, "shape"
    yield "DOT with other rows than a", result(QK, 4, 5), QK, "shape"
    yield "DOT with factors of other lengths", constant(QK, 1, Spec(I8, 5, 17)), QK, "shape"
    yield "DOT with a group that divides no rows", lanes(QK, 2), QK, "shape"
    yield "DOT with a group above its rows", lanes(QK, 6), QK, "shape"
    yield "DOT with two channels for five", constant(QK, 2, Spec(CHANNEL, 1, 2)), QK, "shape"
    yield "DOT with two rows of channels", constant(QK, 2, Spec(CHANNEL, 2, 1)), QK, "shape"
    yield "ADD with one channel", constant(ADD, 2, Spec(CHANNEL, 1, 1)), ADD, "shape"
    yield "ADD of two rows to five", constant(ADD, 1, Spec(I8, 2, 16)), ADD, "shape"
    yield "ADD of other columns", constant(ADD, 1, Spec(I8, 5, 15)), ADD, "shape"
    yield "GATHER with fewer ids than rows", result(GATHER, 6, 16), GATHER, "shape"
    yield "GATHER from other columns", constant(GATHER, 1, Spec(I8, 11, 15)), GATHER, "shape"
    yield "GATHER of another dtype", constant(GATHER, 1, Spec(U8, 11, 16)), GATHER, "shape"
    yield "SOFTMAX with a mask of two rows", constant(SOFTMAX, 1, Spec(U8, 2, 5)), SOFTMAX, "shape"
    yield "SOFTMAX with a narrow mask", constant(SOFTMAX, 1, Spec(U8, 1, 4)), SOFTMAX, "shape"
    yield "SOFTMAX with two tables", constant(SOFTMAX, 2, Spec(U16, 2, 4)), SOFTMAX, "shape"
    yield (
        "LAYERNORM with one channel",
        constant(LAYERNORM, 1, Spec(CHANNEL, 1, 1)),
        LAYERNORM,
        "shape",
    )
    yield "VIEW past the end", lanes(COLUMNS, 1, 1, 1, 16, 5, 0, 0, 0, 1, 16, 1), COLUMNS, "shape"
    yield (
        "VIEW with sizes for fewer",
        lanes(COLUMNS, 1, 1, 1, 16, 4, 0, 0, 0, 1, 16),
        COLUMNS,
        "shape",
    )
    yield (
        "VIEW far past the end",
        lanes(COLUMNS, 1, 1, 1, 16, 5, *[2**32 - 1] * 6),
        COLUMNS,
        "shape",
    )
    yield "MEAN of other rows", result(MEAN, 1, 15), MEAN, "shape"
    yield "MEAN with a mask of two rows", constant(MEAN, 1, Spec(U8, 2, 5)), MEAN, "shape"
    yield "MEAN with two channels for 16", constant(MEAN, 2, Spec(CHANNEL, 1, 2)), MEAN, "shape"
    yield "MEAN with two rows of channels", constant(MEAN, 2, Spec(CHANNEL, 2, 1)), MEAN, "shape"
    yield (
        "VIEW to another dtype",
        _with(p, COLUMNS, result=replace(p.ops[COLUMNS].result, dtype=U8)),
        COLUMNS,
        "shape",
    )
    for sketch, part, operator in _singles():
        yield sketch, part, 0, operator


def _singles() -> Iterator[tuple[str, bytes, str]]:
    """Yield faults of operators that the network has not: name, program, part."""
    b = ProgramBuilder()
    x = b.input(Spec(I8, 6, 4))
    u = b.input(Spec(U16, 6, 4))
    b.lut(x, b.constant(np.zeros((1, 256), np.int8), I8))
    b.max(x, cols=3)
    b.sum(x, cols=3)
    b.argmax(x, cols=3)
    b.pad(x, 2, 3, top=1, left=1)
    b.concat(x, x)
    b.tree(u, b.constant(np.zeros((1, 3), NODE.numpy), NODE), trees=2, depth=4)
    b.rescale(x, b.constant(dtypes.channels([0] * 4, 1, 1), CHANNEL), dtype=I16)
    p, _ = b.build()
    lut, maximum, total, argmax, pad, concat, tree, rescale = p.ops

    def alone(op: Op, **changes: object) -> bytes:
        return Program(p.inputs, (replace(op, **changes),)).encode()  # type: ignore[arg-type]

    def table(op: Op, k: int, spec: Spec) -> bytes:
        operands = list(op.operands)
        operands[k] = Operand(Kind.CONSTANT, 0, spec, ROOT)
        return alone(op, operands=tuple(operands))

    def lane(op: Op, k: int, value: int) -> bytes:
        return alone(op, params=(*op.params[:k], value, *op.params[k + 1 :]))

    yield "LUT of 255 entries", table(lut, 1, Spec(I8, 1, 255)), "shape"
    yield "LUT of 65,536 entries for i8", table(lut, 1, Spec(I8, 1, 65536)), "shape"
    yield "LUT of another dtype", table(lut, 1, Spec(U8, 1, 256)), "shape"
    yield "LUT of another shape", alone(lut, result=Spec(I8, 4, 6)), "shape"
    yield "MAX of other rows", alone(maximum, result=Spec(I8, 3, 3)), "shape"
    yield "MAX to another dtype", alone(maximum, result=Spec(U8, 2, 3)), "shape"
    yield "SUM to i16", alone(total, result=Spec(I16, 2, 3)), "result"
    yield "SUM of other rows", alone(total, result=Spec(I32, 7, 1)), "shape"
    yield "ARGMAX to u16", alone(argmax, result=Spec(U16, 2, 3)), "result"
    yield "PAD of another height", lane(pad, 0, 3), "shape"
    yield "PAD with another border", lane(pad, 5, 1), "shape"
    yield "PAD with a value of nine bits", lane(pad, 6, 256), "params"
    yield "PAD to another dtype", alone(pad, result=replace(pad.result, dtype=U8)), "shape"
    yield "PAD to other columns", alone(pad, result=replace(pad.result, cols=5)), "shape"
    yield "CONCAT of one", alone(concat, operands=concat.operands[:1]), "operands"
    yield "CONCAT of other rows", table(concat, 1, Spec(I8, 5, 4)), "shape"
    yield "CONCAT of other dtypes", table(concat, 1, Spec(U8, 6, 4)), "shape"
    yield "CONCAT to fewer columns", alone(concat, result=Spec(I8, 6, 7)), "shape"
    yield (
        "CONCAT with an absent part",
        alone(concat, operands=(*concat.operands, ABSENT)),
        "operand 2",
    )
    third = Operand(Kind.CONSTANT, 0, Spec(I8, 5, 4), ROOT)
    yield (
        "CONCAT with a third part of other rows",
        alone(concat, operands=(*concat.operands, third), result=Spec(I8, 6, 12)),
        "shape",
    )
    yield "TREE with more trees than nodes", alone(tree, result=Spec(I32, 6, 4)), "shape"
    yield "TREE with two rows of nodes", table(tree, 1, Spec(NODE, 2, 3)), "shape"
    yield "TREE of other rows", alone(tree, result=Spec(I32, 5, 2)), "shape"
    yield "TREE with depth 65", lane(tree, 0, 65), "params"
    yield "RESCALE of another shape", alone(rescale, result=Spec(I16, 4, 6)), "shape"
    yield "RESCALE with two rows of channels", table(rescale, 1, Spec(CHANNEL, 2, 1)), "shape"
    yield "RESCALE with two channels for four", table(rescale, 1, Spec(CHANNEL, 1, 2)), "shape"


def _bounds() -> Iterator[Fault]:
    for name, data, part in limits(above=True):
        yield name, data, 0, part


def limits(*, above: bool) -> Iterator[tuple[str, bytes, str]]:
    """Yield programs of one operator at a limit, or one above it: name, program, part."""
    more = int(above)
    channel = Operand(Kind.CONSTANT, 0, Spec(CHANNEL, 1, 1), ROOT)
    for a, b, most, part in (
        (I16, I16, 127, "bounds"),
        (I16, U16, 64, "bounds"),
        (U16, U16, 32, "bounds"),
        (U8, I16, 4096, "row"),
        (I8, U8, 8192, "row"),
    ):
        x = Operand(Kind.ACTIVATION, 0, Spec(a, 1, most + more))
        w = Operand(Kind.CONSTANT, 0, Spec(b, 1, most + more), ROOT)
        op = Op(Opcode.DOT, Spec(I8, 1, 1), (x, w, channel), (1,))
        yield f"DOT of {most + more} times {a.name} by {b.name}", _single(op), part
    for dtype, most in ((I8, 8192), (U16, 4096), (I32, 2048)):
        x = Operand(Kind.ACTIVATION, 0, Spec(dtype, 1, most + more))
        op = Op(Opcode.SUM, Spec(I32, 1, 1), (x,))
        yield f"SUM of {most + more} times {dtype.name}", _single(op), "row"
    for dtype, most in ((I8, 65536), (I32, 16384)):
        spec = Spec(dtype, 1, most + more)
        lanes = (1, 1, 1, 1, spec.cols, 0, 0, 0, 0, 1)
        op = Op(Opcode.VIEW, spec, (Operand(Kind.ACTIVATION, 0, spec),), lanes)
        yield f"an output of {spec.bytes} bytes", _single(op), "output"
    spec = Spec(I8, 1, 4096 + more)
    scale = Operand(Kind.CONSTANT, 0, Spec(CHANNEL, 1, spec.cols), ROOT)
    op = Op(Opcode.LAYERNORM, spec, (Operand(Kind.ACTIVATION, 0, spec), scale), (1,))
    yield f"LAYERNORM of {spec.cols} columns", _single(op), "shape"
    spec = Spec(I8, 1024 + more, 1)
    lanes = (1, 1, 1, 1, spec.rows, 0, 0, 0, 0, 1)
    op = Op(Opcode.VIEW, spec, (Operand(Kind.ACTIVATION, 0, spec),), lanes)
    yield f"an output of {spec.rows} rows", _single(op), "output"


def _single(op: Op) -> bytes:
    return Program((op.operands[0].spec,), (op,)).encode()
