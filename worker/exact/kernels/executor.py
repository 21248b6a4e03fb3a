"""The fast executor: a valid program as a torch module, bit for bit the reference (oracle/exact).

`Executor` runs batches on a CPU or a GPU, eagerly or compiled. Which shortcuts a machine may take
is decided when it starts, by known-answer tests (products.py); a compiled program is used only
after it gave what the eager one gives.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from oracle.errors import InputInvalid
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array, DType, as_dtype
from oracle.exact.program import Kind, Op, Opcode, Program
from oracle.exact.reference import ExecutionTrace
from worker.errors import ModelUnsupported
from worker.exact.kernels import forest, products
from worker.exact.kernels.kernel import Kernel, carried, carrier
from worker.exact.kernels.operators import Dot, kernel

MAX_BATCH = 64
# Kernels never change, and validity keeps every index inside its table: neither need be checked.
_OPTIONS: Mapping[str, Any] = {
    "guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe,
    "assert_indirect_indexing": False,
}


class KernelSequence(nn.Module):
    """A program's kernels in order.

    Args:
        program: a valid one.
        constants: of this program.
        int_mm: whether `torch._int_mm` is exact where this runs.
    """

    def __init__(self, program: Program, constants: Constants, *, int_mm: bool) -> None:
        super().__init__()
        self.program = program
        self.kernels = nn.ModuleList()
        eight = _read_as_int8(program) if int_mm else frozenset()
        for index, op in enumerate(program.ops):
            held = [
                constants[operand.index] if operand.kind == Kind.CONSTANT else None
                for operand in op.operands
            ]
            out = torch.int8 if program.id_of(index) in eight else carrier(op.result.dtype)
            made = kernel(op, held, out, int_mm=int_mm)
            self.kernels.append(made)
            for place, array in enumerate(held):
                if array is not None and place not in made.holds:
                    value = carried(array, carrier(op.operands[place].spec.dtype))
                    self.register_buffer(f"constant{index}_{place}", value[None], persistent=False)
        self._last_use = _last_uses(program)

    def forward(self, inputs: list[Any], keep: bool = False) -> list[Tensor]:
        """Return the output, or (`keep`) all tensors by id.

        Args:
            inputs: carried, each [batch, rows, cols]; with what the first operators gave, if that
                is known. What nothing reads any more may be None.
        """
        values, first = list(inputs), len(inputs) - len(self.program.inputs)
        for index, module in enumerate(self.kernels):
            assert isinstance(module, Kernel)
            if index < first:
                continue
            values.append(module(*self._operands(index, module, values)))
            if not keep:
                for used in self._last_use[index]:
                    values[used] = None
        return values if keep else values[-1:]

    def multiplies_exactly(self) -> bool:
        """Whether every DOT that uses `_int_mm` passes a known-answer test in its own shape."""
        return all(m.multiplies_exactly() for m in self.kernels if isinstance(m, Dot))

    def _operands(self, index: int, module: Kernel, values: list[Any]) -> list[Tensor | None]:
        operands: list[Tensor | None] = []
        for place, operand in enumerate(module.op.operands):
            if place in module.holds:
                continue
            match operand.kind:
                case Kind.ACTIVATION:
                    operands.append(values[operand.index])
                case Kind.CONSTANT:
                    operands.append(getattr(self, f"constant{index}_{place}"))
                case Kind.NONE:
                    operands.append(None)
        return operands


class Executor:
    """Runs one program.

    Args:
        program, constants: valid, and held against each other (`constants.load` does).
        device: "cpu", "cuda", …
        compiled: compile with torch.compile; needs a C++ compiler (a GPU: Triton). Where that fails
            the program runs eagerly, and `note` says why.
        int_mm: take `torch._int_mm` where it is exact; by default where it is also the faster way.

    Raises:
        ModelUnsupported: the device does not add integers exactly in float32 (TF32 is on).
    """

    def __init__(
        self, program: Program, constants: Constants, device: str = "cpu", *,
        compiled: bool = False, int_mm: bool | None = None,
    ) -> None:  # fmt: skip
        if not products.floats_are_exact(device):
            raise ModelUnsupported(
                f"{device} rounds float32 products to fewer bits",
                hint="turn TF32 and reduced-precision matrix products off",
            )
        self.program = program
        self.device = device
        if int_mm is None:
            int_mm = products.int_mm_pays(device)
        self.int_mm = int_mm and products.int_mm_is_exact(device)
        self.note = ""
        self._network = KernelSequence(program, constants, int_mm=self.int_mm).eval().to(device)
        if not self._network.multiplies_exactly():
            self.int_mm, self.note = False, "carries integers in floats: _int_mm is not exact here"
            self._network = KernelSequence(program, constants, int_mm=False).eval().to(device)
        self._compiles = compiled
        self._compiled: dict[int, Any] = {}  # by batch; each gave what the eager one gives
        # Trees: closed, until walks have cost what opening costs; then held to the kernels once
        self._closed = forest.of(program, constants) if device == "cpu" else None
        self._forest: forest.OpenForest | None = None

    @property
    def kernels(self) -> Sequence[nn.Module]:
        """The operators' kernels, in the program's order."""
        return list(self._network.kernels)

    @property
    def ways(self) -> Mapping[str, int]:
        """How many DOTs are computed in each way, and whether trees are walked at once."""
        ways: list[str] = [m.way.way for m in self._network.kernels if isinstance(m, Dot)]
        return Counter(ways if self._forest is None else [*ways, "trees at once"])

    def run(self, inputs: Sequence[Array]) -> Array:
        """Return the outputs of a batch: [batch, rows, cols] of the output's dtype.

        Args:
            inputs: one array for each input of the program, [batch, rows, cols], same batch.

        Raises:
            InputInvalid: another number or shape of inputs, or elements outside a dtype.
        """
        checked = self._checked(inputs)
        batch = len(checked[0])
        if self._closed is not None and self._closed.pays(batch):
            self._open(self._closed)
        if self._forest is not None:
            return self._behind(self._forest, self._forest.run(checked[0]))
        given = self._carried(checked)
        outputs, at = [], 0
        with torch.inference_mode():
            while at < batch:
                size = min(MAX_BATCH, 1 << (batch - at).bit_length() - 1)  # so few shapes compile
                part = [tensor[at : at + size] for tensor in given]
                outputs.append(self._array(self._answer(part), len(self.program.ops) - 1, size))
                at += size
        return np.concatenate(outputs)

    def trace(self, inputs: Sequence[Array]) -> ExecutionTrace:
        """Return all tensors of one request, as the reference executor does.

        Args:
            inputs: one matrix for each input of the program.

        Raises:
            InputInvalid: see `run`.
        """
        given = self._carried(self._checked([np.asarray(array)[None] for array in inputs]))
        with torch.inference_mode():
            values = self._network(given, keep=True)
        tensors = [as_dtype(x, s.dtype) for x, s in zip(inputs, self.program.inputs, strict=True)]
        for index, value in enumerate(values[len(given) :]):
            tensors.append(self._array(value, index, 1)[0])
        return ExecutionTrace(self.program, tuple(tensors))

    def _answer(self, given: list[Tensor]) -> Tensor:
        compiled = self._compiled.get(len(given[0]))
        if compiled is not None:
            return cast(Tensor, compiled(given)[0])
        answer = cast(Tensor, self._network(given)[0])
        if self._compiles:
            self._compile(given, answer)
        return answer

    def _compile(self, given: list[Tensor], answer: Tensor) -> None:
        """Compile for a batch, and keep it if it gives the answer that is known."""
        why = "the compiled program computed something else"
        try:
            # A graph of its own: Dynamo keeps what it compiled by code, which all Networks share.
            graph = torch.export.export(self._network, (given,)).module()
            compiled = torch.compile(graph, dynamic=False, fullgraph=True, options=dict(_OPTIONS))
            if torch.equal(compiled(given)[0], answer):
                self._compiled[len(given[0])] = compiled
                return
        except Exception as error:  # Dynamo and Inductor raise what they like; the answer is known
            why = f"{type(error).__name__}: {error}"
        self._compiles = False
        self.note = f"runs eagerly: torch.compile failed: {why.splitlines()[0][:300]}"

    def _open(self, closed: forest.Forest) -> None:
        """Open trees, and keep them if they give what the kernels give."""
        self._closed = None
        try:
            opened = closed.open()
        except Exception as error:  # onnxruntime's errors share no base class
            self.note = f"walks trees step by step: {str(error).splitlines()[0][:300]}"
            return
        if opened is None:
            return
        ranks = opened.draw(MAX_BATCH)
        with torch.inference_mode():
            values = self._network(self._carried([ranks]), keep=True)
        wanted = self._array(values[1 + opened.last], opened.last, MAX_BATCH)
        if np.array_equal(opened.run(ranks), wanted):
            self._forest = opened
        else:
            self.note = "walks trees step by step: onnxruntime gave other sums"

    def _behind(self, trees: forest.OpenForest, sums: Array) -> Array:
        """Return the outputs of a batch whose trees are walked."""
        end = len(self.program.ops) - 1
        if trees.last == end:
            return sums
        known = carried(sums, carrier(self.program.ops[trees.last].result.dtype))
        with torch.inference_mode():
            answer = self._network([None] * (1 + trees.last) + [known])[0]
        return self._array(answer, end, len(sums))

    def _checked(self, inputs: Sequence[Array]) -> list[Array]:
        specs = self.program.inputs
        if len(inputs) != len(specs) or len({len(array) for array in inputs}) != 1:
            raise InputInvalid(f"{len(inputs)} inputs, the program has {len(specs)} of one batch")
        checked = []
        for index, (array, spec) in enumerate(zip(inputs, specs, strict=True)):
            if array.ndim != 3 or array.shape[1:] != (spec.rows, spec.cols):
                raise InputInvalid(
                    f"input {index} is {array.shape}, not (batch, {spec.rows}, {spec.cols})",
                    hint="a version has one shape; other shapes are other versions",
                )
            flat = as_dtype(array.reshape(len(array), -1), spec.dtype)
            checked.append(flat.reshape(array.shape))
        return checked

    def _carried(self, checked: Sequence[Array]) -> list[Tensor]:
        return [
            carried(array, carrier(spec.dtype)).to(self.device)
            for array, spec in zip(checked, self.program.inputs, strict=True)
        ]

    def _array(self, value: Tensor, op: int, batch: int) -> Array:
        spec = self.program.ops[op].result
        full = value.reshape(len(value), spec.rows, spec.cols).expand(batch, -1, -1)
        wide = full.to(torch.int64 if spec.dtype == DType.I32 else torch.int32)
        return wide.cpu().numpy().astype(spec.dtype.numpy)


def _read_as_int8(program: Program) -> frozenset[int]:
    """Return the tensors that DOTs with constant weights alone read, and which int8 can carry."""
    first = len(program.inputs)
    suited: set[int] = set()
    for tensor_id in reversed(range(first, first + len(program.ops))):
        readers = [index for index, op in enumerate(program.ops) if _reads(op, tensor_id)]
        eight = program.spec_of(tensor_id).dtype == DType.I8
        if readers and eight and all(_wants_int8(program, index, suited) for index in readers):
            suited.add(tensor_id)
    return frozenset(suited)


def _reads(op: Op, tensor_id: int) -> bool:
    return any(o.kind == Kind.ACTIVATION and o.index == tensor_id for o in op.operands)


def _wants_int8(program: Program, index: int, suited: set[int]) -> bool:
    op = program.ops[index]
    if op.opcode == Opcode.DOT:
        return op.lane(0) == op.result.rows and op.operands[1].kind == Kind.CONSTANT
    if op.opcode == Opcode.VIEW:
        return program.id_of(index) in suited  # by place: two operators can be equal
    return False


def _last_uses(program: Program) -> list[list[int]]:
    """Return, by operator, the tensors that nothing after it reads."""
    last: dict[int, int] = {}
    for index, op in enumerate(program.ops):
        for operand in op.operands:
            if operand.kind == Kind.ACTIVATION:
                last[operand.index] = index
    uses: list[list[int]] = [[] for _ in program.ops]
    for tensor_id, index in last.items():
        uses[index].append(tensor_id)
    return uses
