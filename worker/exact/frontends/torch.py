"""From a `torch.export` archive (read without pickle) or a live module to the float graph."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from worker.errors import ArchiveRefused, ModelUnsupported
from worker.exact.floats import one_sample
from worker.exact.frontends import aten
from worker.exact.frontends.aten_images import IMAGES
from worker.exact.frontends.tracing import Dynamic, GraphRecorder, OperatorCall, convert
from worker.exact.graph import Array, Graph, OperatorUnsupported, Original, Sample
from worker.runtimes import operators, pt2
from worker.runtimes.pt2 import DTYPES, MEMORY_FORMATS
from worker.runtimes.tensors import from_torch

_REFERENCES = frozenset({"as_tensor", "as_tensors", "as_optional_tensor", "as_optional_tensors"})
_IGNORED = frozenset({"as_none", "as_layout"})
_INSTEAD = (
    "docs/exact-models.md lists what compiles; publish this model as a float one (judged by a "
    "committee), or move the operator out of the model"
)


def from_module(module: torch.nn.Module, sample: Mapping[str, Array]) -> Graph:
    """Export a module for the shapes of `sample` (in the order of its arguments)."""
    given = tuple(one_sample(sample).values())
    program = torch.export.export(module.eval(), given)
    if any(_writes(node.target) for node in program.graph.nodes):  # ReLU(inplace=True)
        program = program.run_decompositions({})
    return from_program(program, sample)


def from_program(program: torch.export.ExportedProgram, sample: Mapping[str, Array]) -> Graph:
    """Read a program that is in memory: through its archive, so that there is one reader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.pt2"
        torch.export.save(program, path)
        return from_archive(path, sample)


def from_archive(path: Path, sample: Mapping[str, Array]) -> Graph:
    """Read an archive and run one sample through it.

    Args:
        path: what `torch.export.save` wrote.
        sample: one input per name, float32 or integer, with a batch of one.

    Raises:
        OperatorUnsupported: an operator without an integer form.
        ModelUnsupported: inputs that do not fit, an output that is no tensor.
        ArchiveRefused, PickleRefused, WeightsInvalid: see `pt2.read`.
    """
    return _ProgramReader(pt2.read(path), sample).read()


class _ProgramReader:
    def __init__(self, program: pt2.ExportedProgram, sample: Mapping[str, Array]) -> None:
        self._program = program
        self._values: dict[str, Any] = {}
        self._trace = GraphRecorder(list(sample))
        self._read_signature(one_sample(sample))

    def read(self) -> Graph:
        with torch.inference_mode():
            for body in self._program.graph["nodes"]:
                self._read_node(body)
        outputs = self._program.signature["output_specs"]
        given = [output.get("user_output", {}).get("arg", {}) for output in outputs]
        if not all("as_tensor" in argument for argument in given):
            raise ModelUnsupported(
                "the model answers something else than tensors",
                hint="export a module that returns one tensor, or a tuple of them",
            )
        names = tuple(str(argument["as_tensor"]["name"]) for argument in given)
        answers = {name: self._values[name] for name in names}
        return self._trace.finish(answers, Original(self._run, names))

    def _run(self, sample: Sample) -> dict[str, Array]:
        """Return every tensor that torch computes for a sample."""
        run = _ProgramReader(self._program, sample)
        with torch.inference_mode():
            for body in self._program.graph["nodes"]:
                _, flat = run._call(body)
                run._values.update(flat)
        return {
            name: from_torch(value)
            for name, value in run._values.items()
            if isinstance(value, torch.Tensor)
        }

    def _read_signature(self, sample: Mapping[str, torch.Tensor]) -> None:
        program, given = self._program, dict(sample)
        for spec in program.signature["input_specs"]:
            ((kind, body),) = spec.items()
            if kind == "user_input":
                name = body["arg"]["as_tensor"]["name"]
                if name not in given:
                    raise ModelUnsupported(
                        f"the sample has no input {name}", hint=f"it has {sorted(sample)}"
                    )
                self._trace.shape(name, given[name].shape)
                self._values[name] = Dynamic(name, given[name])
                continue
            key = {"parameter": "parameter_name", "buffer": "buffer_name"}.get(kind)
            key = key or {"tensor_constant": "tensor_constant_name"}.get(kind)
            if key is None:
                raise ModelUnsupported(f"graph input of kind {kind} is not supported")
            tensors = {**program.constants, **program.state}
            self._values[body["arg"]["name"]] = tensors[body[key]]

    def _read_node(self, body: dict[str, Any]) -> None:
        target = str(body["target"])
        self._trace.where = _where(body.get("metadata", {}))
        names, flat = self._call(body)
        short = target.rpartition("aten.")[2].partition(".")[0]
        if short in aten.SHAPE_ONLY or not any(_is_dynamic(value) for value in names.values()):
            self._values.update(flat)
            return
        converter = IMAGES.get(short) or aten.CONVERTERS.get(short)
        if converter is None:
            raise OperatorUnsupported(
                target.removeprefix("torch.ops."), self._trace.where,
                "it has no integer form", instead=_INSTEAD,
            )  # fmt: skip
        call = OperatorCall(
            short,
            {**_defaults(target), **names},
            tuple(name for name, _ in flat),
            tuple(value for _, value in flat),
        )
        self._values.update(convert(self._trace, converter, call))

    def _call(self, body: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
        """Run one operator; return its arguments by name, and its results with their names."""
        function = operators.resolve(str(body["target"]))
        arguments, kwargs = [], {}
        names: dict[str, Any] = {}
        for item in body["inputs"]:
            value = self._argument(item["arg"])
            names[str(item["name"])] = value
            if item.get("kind") == 2:
                kwargs[str(item["name"])] = _sample(value)
            else:
                arguments.append(_sample(value))
        try:
            result = function(*arguments, **kwargs)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ModelUnsupported(
                f"torch does not run {body['target']}: {error}",
                hint="are the samples what the model takes: names, shapes, whole numbers?",
            ) from error
        outputs = [_output_names(output) for output in body["outputs"]]
        results = result if len(outputs) > 1 else (result,)
        flat = [
            pair
            for name, value in zip(outputs, results, strict=True)
            for pair in (
                zip(name, value, strict=True) if isinstance(name, list) else ((name, value),)
            )
            if pair[0] is not None
        ] if outputs else []  # fmt: skip
        return names, flat

    def _argument(self, argument: dict[str, Any]) -> Any:
        ((kind, value),) = argument.items()
        if kind.startswith("as_sym_") or kind in _REFERENCES:
            several = isinstance(value, list)
            return [self._reference(item) for item in value] if several else self._reference(value)
        if kind in _IGNORED:
            return None
        if kind == "as_float":
            return _number(value)
        if kind == "as_scalar_type":
            return DTYPES[value]
        if kind == "as_memory_format":  # a view may need what it says
            return MEMORY_FORMATS[value]
        return torch.device("cpu") if kind == "as_device" else value

    def _reference(self, value: dict[str, Any]) -> Any:
        if "as_none" in value:
            return None
        for plain in ("as_int", "as_bool", "as_float"):
            if plain in value:
                return _number(value[plain])
        name = value["as_name"] if "as_name" in value else value.get("as_tensor", value)["name"]
        if name not in self._values:
            raise ArchiveRefused(f"malformed graph: {name} is read before it is written")
        return self._values[name]


def _writes(target: Any) -> bool:
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def _number(value: Any) -> Any:
    """Return a number; JSON has no infinity, so an archive has it as a word."""
    return float(value) if value in ("Infinity", "-Infinity", "NaN") else value


def _defaults(target: str) -> dict[str, Any]:
    name, _, overload = target.removeprefix("torch.ops.aten.").partition(".")
    schema = getattr(getattr(torch.ops.aten, name), overload)._schema
    return {item.name: item.default_value for item in schema.arguments}


def _sample(value: Any) -> Any:
    if isinstance(value, Dynamic):
        return value.sample
    return [_sample(item) for item in value] if isinstance(value, list) else value


def _is_dynamic(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_dynamic(item) for item in value)
    return isinstance(value, Dynamic)


def _output_names(output: dict[str, Any]) -> Any:
    ((kind, value),) = output.items()
    if kind == "as_none":
        return None
    if kind == "as_tensors":
        return [str(item["name"]) for item in value]
    return str(value["as_name"] if "as_name" in value else value["name"])


def _where(metadata: Mapping[str, str]) -> str:
    """Return the module path and the last source line that torch noted."""
    stack = metadata.get("nn_module_stack", "").split(";")[-1].split(",")
    path = stack[1] if len(stack) > 2 else ""
    lines = [line.strip() for line in metadata.get("stack_trace", "").splitlines() if line.strip()]
    code = lines[-1] if lines and not lines[-1].startswith("File") else ""
    return " · ".join(part for part in (path or "the model", code) if part)
