"""Runs an exported graph node by node: each node calls one allowed operator on named values.

Everything is resolved and checked once, when the graph is built; running is a loop over closures.
Values are dropped after their last use, so memory is that of eager torch. Nodes that depend on
weights alone (a weight in fewer bytes becoming itself, `stored`) run once, when the graph is built.
Source: torch/_export/serde/schema.py of torch 2.13 (what the JSON means).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from worker.errors import ArchiveRefused, ModelUnsupported
from worker.runtimes import operators
from worker.runtimes.pt2 import CANONICAL, DTYPES, MEMORY_FORMATS, ExportedProgram
from worker.runtimes.tensors import running

MAX_NODES = 100_000
_PLAIN = frozenset(
    {
        "as_int", "as_ints", "as_float", "as_floats", "as_string", "as_bool", "as_bools",
        "as_int_lists", "as_float_lists",
    }
)  # fmt: skip

Values = dict[str, Any]
Read = Callable[[Values], Any]


@dataclass(frozen=True, slots=True)
class _Node:
    function: Callable[..., Any]
    args: tuple[Read, ...]
    kwargs: tuple[tuple[str, Read], ...]
    outputs: tuple[Any, ...]  # names; a list of names for an output that is a list
    spread: bool  # whether the function returns several values
    last_uses: tuple[str, ...]
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """What the caller gives or gets; `None` in the shape is any size."""

    name: str
    dtype: str  # as canonical tensors name it; torch's own name when they have none
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, name: str, meta: Mapping[str, Any]) -> "GraphTensor":
        """Read what the graph says about a tensor."""
        dtype = DTYPES.get(meta["dtype"])
        known = CANONICAL.get(dtype) if dtype is not None else None
        return cls(name, known or str(dtype), tuple(size.get("as_int") for size in meta["sizes"]))


class ExportedGraph:
    """A program on a device, ready to run."""

    def __init__(self, program: ExportedProgram, device: str, *, fold: bool = True) -> None:
        """Resolve all operators and move the weights.

        Args:
            fold: run what depends on weights alone now, so that weights can no longer be replaced.

        Raises:
            ModelUnsupported: an operator, argument or signature that we do not run.
            ArchiveRefused: a malformed graph.
        """
        self._device = torch.device(device)
        self._weights: Values = {}
        self.inputs: list[GraphTensor] = []
        try:
            self._read_signature(program)
            self._outputs = [self._output(spec) for spec in program.signature["output_specs"]]
            values = program.graph["tensor_values"]
            self.outputs = [GraphTensor.of(name, values[name]) for name in self._outputs]
            self._nodes = self._read_nodes(program.graph)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise ArchiveRefused(f"malformed graph: {error!r}") from error
        if fold:
            self._fold()
        self.nbytes = sum(t.nbytes for t in self._weights.values())

    def _fold(self) -> None:
        """Run the nodes that read weights and nothing else; keep of them what is read later.

        Raises:
            ModelFailed, DeviceFull: an operator fails.
        """
        known = set(self._weights)
        folded: list[_Node] = []
        left: list[_Node] = []
        for node in self._nodes:
            fixed = bool(node.reads) and node.reads <= known and bool(node.outputs)
            (folded if fixed else left).append(node)
            if fixed:
                known.update(_flat(node.outputs))
        with running("what depends on weights alone"):
            for node in folded:
                _bind(self._weights, node, _called(node, self._weights))
        wanted = {*self._outputs, *(name for node in left for name in node.reads)}
        self._weights = {n: value for n, value in self._weights.items() if n in wanted}
        self._nodes = [
            replace(node, last_uses=tuple(n for n in node.last_uses if n not in self._weights))
            for node in left
        ]

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        observe: Callable[[Any], None] | None = None,
    ) -> list[torch.Tensor]:
        """Return the outputs, in the order of the signature.

        Args:
            observe: is shown what each node returns, in the order of the graph.

        Raises:
            RuntimeError, ValueError, TypeError, IndexError: what torch raises.
        """
        values: Values = {**self._weights, **inputs}
        for node in self._nodes:
            result = _called(node, values)
            if observe is not None:
                observe(result)
            _bind(values, node, result)
            for name in node.last_uses:
                values.pop(name, None)
        return [values[name] for name in self._outputs]

    def _read_signature(self, program: ExportedProgram) -> None:
        metas = program.graph["tensor_values"]
        for spec in program.signature["input_specs"]:
            ((kind, body),) = spec.items()
            if kind == "user_input":
                name = body["arg"]["as_tensor"]["name"]
                self.inputs.append(GraphTensor.of(name, metas[name]))
                continue
            table, key = {
                "parameter": (program.state, "parameter_name"),
                "buffer": (program.state, "buffer_name"),
                "tensor_constant": (program.constants, "tensor_constant_name"),
            }.get(kind, (None, ""))
            if table is None:
                raise ModelUnsupported(f"graph input of kind {kind} is not supported")
            given = body[key]
            tensor = table[given] if given in table else program.constants[given]
            self._weights[body["arg"]["name"]] = tensor.to(self._device)

    def _output(self, spec: dict[str, Any]) -> str:
        if set(spec) != {"user_output"}:
            raise ModelUnsupported(
                f"graph has an output of kind {next(iter(spec))}: it changes its own state",
                hint="export the model in eval mode",
            )
        return str(spec["user_output"]["arg"]["as_tensor"]["name"])

    def _read_nodes(self, graph: dict[str, Any]) -> list[_Node]:
        raw = graph["nodes"]
        if len(raw) > MAX_NODES:
            raise ModelUnsupported(f"graph of {len(raw)} nodes is above {MAX_NODES}")
        keep = set(self._weights) | set(self._outputs)
        seen: set[str] = set(keep)
        nodes: list[_Node] = []
        for body in reversed(raw):  # backwards: the first time a name is seen is its last use
            used: list[str] = []
            args, kwargs = [], []
            for item in body["inputs"]:
                read = self._argument(item["arg"], used)
                if item.get("kind") == 2:
                    kwargs.append((str(item["name"]), read))
                else:
                    args.append(read)
            outputs = tuple(_output_names(output) for output in body["outputs"])
            last = tuple(dict.fromkeys(name for name in used if name not in seen))
            seen.update(used)
            nodes.append(
                _Node(
                    function=operators.resolve(str(body["target"])),
                    args=tuple(args),
                    kwargs=tuple(kwargs),
                    outputs=outputs,
                    spread=len(outputs) > 1,
                    last_uses=last,
                    reads=frozenset(used),
                )
            )
        return nodes[::-1]

    def _argument(self, argument: dict[str, Any], used: list[str]) -> Read:
        ((kind, value),) = argument.items()
        if kind in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float", "as_optional_tensor"):
            return _reference(value, used)
        if kind in ("as_tensors", "as_sym_ints", "as_sym_bools", "as_optional_tensors"):
            parts = [_reference(item, used) for item in value]
            return lambda values: [part(values) for part in parts]
        if kind == "as_device":  # the graph may have been exported on another one
            return _constant(self._device)
        return _constant(_literal(kind, value))


def _literal(kind: str, value: Any) -> Any:
    if kind in _PLAIN:
        return value
    tables: Mapping[str, Mapping[Any, Any]] = {
        "as_none": {True: None, False: None},
        "as_scalar_type": DTYPES,
        "as_memory_format": MEMORY_FORMATS,
        "as_layout": {7: torch.strided},
    }
    if kind not in tables or value not in tables[kind]:
        raise ModelUnsupported(f"graph argument {kind} {value!r:.80} is not supported")
    return tables[kind][value]


def _reference(value: dict[str, Any], used: list[str]) -> Read:
    if "as_none" in value:
        return _constant(None)
    for plain in ("as_int", "as_bool", "as_float"):
        if plain in value:
            return _constant(value[plain])
    name = str(value["as_name"] if "as_name" in value else value.get("as_tensor", value)["name"])
    used.append(name)
    return lambda values: values[name]


def _constant(value: Any) -> Read:
    return lambda _values: value


def _called(node: _Node, values: Values) -> Any:
    return node.function(
        *(read(values) for read in node.args),
        **{name: read(values) for name, read in node.kwargs},
    )


def _flat(outputs: tuple[Any, ...]) -> Iterator[str]:
    """Yield the names of a node's outputs, those of lists too."""
    for names in outputs:
        yield from names if isinstance(names, list) else [names] if names is not None else []


def _output_names(output: dict[str, Any]) -> Any:
    ((kind, value),) = output.items()
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return str(value["name"])
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        return str(value["as_name"])
    if kind == "as_tensors":
        return [str(item["name"]) for item in value]
    raise ModelUnsupported(f"graph output of kind {kind} is not supported")


def _bind(values: Values, node: _Node, result: Any) -> None:
    if not node.outputs:  # an assertion
        return
    results: Sequence[Any] = result if node.spread else (result,)
    for names, item in zip(node.outputs, results, strict=True):
        if isinstance(names, list):
            values.update(zip(names, item, strict=True))
        elif names is not None:
            values[names] = item
