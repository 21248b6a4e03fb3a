"""TensorFlow's SavedModels and Keras' files as ONNX, by tf2onnx.

A SavedModel is a program: its graph is looked at before anything of it is loaded. Operators that
touch files, run Python or print are refused. Keras loads in safe mode, which refuses Lambda layers;
so do we, before. Imports no package of ours that needs more than NumPy.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from worker.errors import ArchiveRefused, ModelUnsupported, PickleRefused, WeightsInvalid
from worker.importing.converted import ROWS, Array, Conversion, Converted, samples_of

OPSET = 18
MAX_BYTES = 2**31  # of an unpacked .keras file, and of a graph
_LENGTH = 16  # of dimensions that are open beside the first
_REACHES_OUT = re.compile(
    "File|Print|PyFunc|Python|Dataset|Iterator|Reader|Decode|Debug|Save|Restore|Queue|Socket|Rpc"
    "|Collective|Worker|Shell|Summary|Checkpoint|XlaLaunch|MatchingFiles"
)
# TensorFlow's own savers, which no one calls here: functions that are never part of an answer
_SAVERS = re.compile(r"^__inference__traced_(save|restore)_\d+$")
_SIGNATURE = "serving_default"
_WITHOUT_ANSWERS = (  # of training and of saving
    "Placeholder", "Const", "NoOp", "Assign", "AssignVariableOp", "SaveV2", "ReadVariableOp",
    "Shape", "ZerosLike",
)  # fmt: skip


def convert(job: Conversion) -> Converted:
    """Convert a SavedModel, a .keras file, or a checkpoint with the graph that TF1's Saver writes.

    Raises:
        ModelUnsupported: operators or layers that reach outside, or that ONNX does not have.
        WeightsInvalid, ArchiveRefused: damaged, or larger than it may be.
    """
    source = Path(job.source)
    if job.format == "saved-model":
        return _saved_model(source, job)
    if job.format == "keras":
        return _keras(source, job)
    return _checkpoint(source, job)


def library(name: str) -> Any:
    """Return a library of TensorFlow's own Python, which ours has not: nothing knows its types."""
    return import_module(name)


def _saved_model(folder: Path, job: Conversion) -> Converted:
    refuse_operators(folder / "saved_model.pb")
    tf = library("tensorflow")

    try:
        loaded = tf.saved_model.load(str(folder))
        function = loaded.signatures[_SIGNATURE]
    except KeyError:
        raise ModelUnsupported(
            f"the SavedModel has no signature {_SIGNATURE}", hint="save it with model.export(…)"
        ) from None
    except Exception as error:  # whatever a damaged folder does to the library
        raise WeightsInvalid(f"TensorFlow does not load it: {error!s:.200}") from error
    _, given = function.structured_input_signature
    specs = {name: given[name] for name in sorted(given)}
    outputs = sorted(function.structured_outputs)

    def called(*tensors: Any) -> list[Any]:
        answers = function(**dict(zip(specs, tensors, strict=True)))
        return [answers[name] for name in outputs]

    return _converted(called, specs, outputs, job)


def _keras(path: Path, job: Conversion) -> Converted:
    refuse_layers(path)
    keras = library("keras")

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a damaged file does to the library
        raise WeightsInvalid(f"Keras does not load it: {error!s:.200}") from error
    tf = library("tensorflow")

    specs = {one.name: tf.TensorSpec(one.shape, one.dtype, name=one.name) for one in model.inputs}
    many = len(model.outputs) > 1
    outputs = [f"output_{number}" for number in range(len(model.outputs))] if many else ["output"]

    def called(*tensors: Any) -> list[Any]:
        answers = model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)
        return list(answers) if many else [answers]

    return _converted(called, specs, outputs, job)


def _checkpoint(source: Path, job: Conversion) -> Converted:
    meta = graph_of(source)
    graph = read_graph(meta)
    inputs, outputs = ends(graph, job.outputs)
    refuse_reached(graph, outputs)
    tf, tf2onnx = library("tensorflow"), library("tf2onnx")

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        try:
            v1.train.import_meta_graph(str(meta), clear_devices=True)
            # A saver of ours: the file's own one would run what the file says
            v1.train.Saver(v1.global_variables()).restore(session, str(meta.with_suffix("")))
            specs = {name: session.graph.get_tensor_by_name(f"{name}:0") for name in inputs}
            if any(not one.shape.rank for one in specs.values()):
                raise ModelUnsupported(
                    f"an input among {', '.join(specs)[:200]} has no rows, or an unknown shape",
                    hint="save the graph with `tf.compat.v1.placeholder_with_default` in its place",
                )
            frozen = v1.graph_util.convert_variables_to_constants(
                session, session.graph_def, outputs
            )
            _with_defaults(frozen)
            rows = samples_of(job, tuple(specs)) or {
                name: _drawn(one, number) for number, (name, one) in enumerate(specs.items())
            }
            answers = session.run(
                [f"{name}:0" for name in outputs], {f"{n}:0": rows[n] for n in specs}
            )
        except ModelUnsupported:
            raise
        except Exception as error:  # whatever a damaged file does to the library
            raise WeightsInvalid(f"TensorFlow does not load it: {error!s:.200}") from error
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            frozen, input_names=[f"{name}:0" for name in specs],
            output_names=[f"{name}:0" for name in outputs], opset=OPSET,
        )  # fmt: skip
    except Exception as error:  # tf2onnx raises what it likes
        raise ModelUnsupported(f"tf2onnx does not convert it: {error!s:.200}") from error
    by_name = {one.name: place for place, one in enumerate(model.graph.input)}
    for place, name in enumerate(specs):
        model.graph.input[by_name[f"{name}:0"]].doc_string = f"in_{place}"
    return Converted(
        _renamed(library("onnx"), model, list(specs), outputs),
        f"tensorflow {tf.__version__}",
        rows=rows,
        answers=dict(zip(outputs, map(np.asarray, answers), strict=True)),
    )


def _with_defaults(frozen: Any) -> None:
    """Let placeholders that have a default be that: nobody is asked for them."""
    for node in frozen.node:
        if node.op == "PlaceholderWithDefault":
            node.op = "Identity"
            node.attr["T"].CopyFrom(node.attr["dtype"])
            for name in ("dtype", "shape"):
                del node.attr[name]


def _converted(
    called: Any, specs: Mapping[str, Any], outputs: list[str], job: Conversion
) -> Converted:
    tf = library("tensorflow")
    onnx, tf2onnx = library("onnx"), library("tf2onnx")

    wanted = [tf.TensorSpec(one.shape, one.dtype, name=f"in_{n}") for n, one in
              enumerate(specs.values())]  # fmt: skip
    function = tf.function(called, input_signature=wanted)
    try:
        model, _ = tf2onnx.convert.from_function(function, input_signature=wanted, opset=OPSET)
    except Exception as error:  # tf2onnx raises what it likes
        raise ModelUnsupported(f"tf2onnx does not convert it: {error!s:.200}") from error
    rows = samples_of(job, tuple(specs)) or {
        name: _drawn(one, number) for number, (name, one) in enumerate(specs.items())
    }
    answers = [np.asarray(one) for one in function(*(tf.constant(rows[name]) for name in specs))]
    return Converted(
        _renamed(onnx, model, list(specs), outputs),
        f"tensorflow {tf.__version__}",
        rows=rows,
        answers=dict(zip(outputs, answers, strict=True)),
    )


def _drawn(spec: Any, seed: int) -> Array:
    dice = np.random.default_rng(seed)
    shape = [ROWS if n == 0 and size is None else size or _LENGTH for n, size in
             enumerate(spec.shape)]  # fmt: skip
    kind = np.dtype(spec.dtype if isinstance(spec.dtype, str) else spec.dtype.as_numpy_dtype)
    drawn = dice.standard_normal(shape)
    return drawn.astype(kind) if kind.kind == "f" else (np.abs(drawn) * 4).astype(kind)


def _renamed(onnx: Any, model: Any, inputs: list[str], outputs: list[str]) -> bytes:
    """Return the file with the original's own names of inputs and outputs."""
    made = onnx.compose.add_prefix(model, "original/")
    graph = made.graph
    by_place = sorted(graph.input, key=_place)
    for value, name in zip(by_place, inputs, strict=True):
        graph.node.insert(0, onnx.helper.make_node("Identity", [name], [value.name]))
        value.name = name
        value.type.tensor_type.shape.dim[0].dim_param = "rows"
    for value, name in zip(graph.output, outputs, strict=True):
        graph.node.append(onnx.helper.make_node("Identity", [value.name], [name]))
        value.name = name
    return bytes(made.SerializeToString())


def _place(value: Any) -> int:
    return int(re.findall(r"in_(\d+)", value.doc_string or value.name)[0])


# ── Before anything is loaded ───────────────────────────────────────────────────────────────────
def refuse_operators(path: Path) -> None:
    """Refuse a SavedModel whose graph or functions reach outside of tensors.

    Raises:
        ModelUnsupported: they do; the operators are named.
        WeightsInvalid: not a SavedModel, cut short, or nested too deep.
    """
    saved_model_pb2 = library("tensorflow.core.protobuf.saved_model_pb2")

    saved = saved_model_pb2.SavedModel()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsInvalid(f"{path.name} is above {MAX_BYTES} bytes")
        saved.ParseFromString(path.read_bytes())
    except WeightsInvalid:
        raise
    except Exception as error:  # protobuf's errors share no base class over its versions
        raise WeightsInvalid(f"{path.name} is no SavedModel: {error!s:.200}") from error
    found = sorted({op for meta in saved.meta_graphs for op in _operators(meta)})
    refused = [op for op in found if _REACHES_OUT.search(op)]
    if refused:
        raise ModelUnsupported(
            f"the SavedModel reaches outside of itself: {', '.join(refused)[:200]}",
            hint="export the model alone, without reading, writing or decoding files",
        )


def _operators(meta: Any) -> Iterator[str]:
    """Yield every operator but those of TensorFlow's savers, in the graph and in functions."""
    savers = {one.signature.name for one in meta.graph_def.library.function
              if _SAVERS.match(one.signature.name)}  # fmt: skip
    called = set()
    for function in meta.graph_def.library.function:
        if function.signature.name in savers:
            continue
        for node in function.node_def:
            yield node.op
            called |= {attr.func.name for attr in node.attr.values()} & savers
    yield from (f"Restore ({name} is called by the model)" for name in called)
    signature = meta.signature_def.get(_SIGNATURE, None)
    names = [] if signature is None else [one.name for one in signature.outputs.values()]
    yield from (node.op for node in _below(meta, names))


def _below(meta: Any, names: list[str]) -> Iterator[Any]:
    """Yield the nodes that these hang on, themselves included."""
    reached, nodes = set(), {node.name: node for node in meta.graph_def.node}
    names = list(names)
    while names:
        name = names.pop().lstrip("^").partition(":")[0]
        if name not in reached and name in nodes:
            reached.add(name)
            names.extend(nodes[name].input)
            yield nodes[name]


# ── A checkpoint with its graph ─────────────────────────────────────────────────────────────────
def graph_of(source: Path) -> Path:
    """Return the `.meta` file of a checkpoint.

    Args:
        source: `.meta` or `.index`, or their folder.

    Raises:
        ModelUnsupported: there is none, or several.
    """
    found = [source.with_suffix(".meta")] if source.is_file() else sorted(source.glob("*.meta"))
    found = [one for one in found if one.is_file()]
    if len(found) > 1:
        raise ModelUnsupported(
            f"{source.name} holds several: {', '.join(one.name for one in found)[:200]}",
            hint="give the file of one",
        )
    if not found:
        raise ModelUnsupported(
            f"{source.name} is a checkpoint: it has weights, and no graph",
            hint="load it where the model is built, then `model.save('m.keras')`, or "
            "`model.export('folder')` for a SavedModel",
        )
    return found[0]


def read_graph(path: Path) -> Any:
    """Read a graph that TF1's Saver wrote.

    Raises:
        WeightsInvalid: it is not that, cut short, or nested too deep.
    """
    meta = library("tensorflow.core.protobuf.meta_graph_pb2").MetaGraphDef()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is above {MAX_BYTES} bytes")
        meta.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's errors share no base class over its versions
        raise WeightsInvalid(f"{path.name} is no graph of a Saver: {error!s:.200}") from error
    return meta


def ends(meta: Any, named: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the placeholders that the outputs hang on, and the outputs.

    Args:
        named: outputs that the owner names; without, the only float that nothing reads is one.

    Raises:
        ModelUnsupported: a name that is not there, or no or several such nodes.
    """
    nodes = {node.name: node for node in meta.graph_def.node}
    read = {name.lstrip("^").partition(":")[0] for node in nodes.values() for name in node.input}
    fed = [node.name for node in nodes.values() if node.op == "Placeholder"]
    free = [
        name for name, node in nodes.items()
        if name not in read and node.op not in _WITHOUT_ANSWERS
        and not name.startswith("gradients/")
        and any(one.name in fed for one in _below(meta, [name]))
    ]  # fmt: skip
    outputs = list(named) or free
    if any(name not in nodes for name in outputs) or len(outputs) != (len(named) or 1):
        raise ModelUnsupported(
            f"the graph does not say which of its nodes answer: {', '.join(outputs)[:200]}",
            hint='name them in model.json, with "runtime": {"format": "checkpoint", "entry": "'
            f'….meta"}}: "outputs": [{{"name": "…"}}]; nothing reads {", ".join(free)[:200]}',
        )
    below = {one.name for one in _below(meta, outputs)}
    return [name for name in fed if name in below], outputs


def refuse_reached(meta: Any, outputs: Sequence[str]) -> None:
    """Refuse a graph whose outputs, or any function, reach outside of tensors.

    Raises:
        ModelUnsupported: they do; the operators are named.
    """
    found = {node.op for node in _below(meta, list(outputs))}
    found |= {node.op for one in meta.graph_def.library.function for node in one.node_def}
    if refused := sorted(op for op in found if _REACHES_OUT.search(op)):
        raise ModelUnsupported(
            f"the graph reaches outside of itself: {', '.join(refused)[:200]}",
            hint="save the graph alone, without reading, writing or decoding files",
        )


def refuse_layers(path: Path) -> None:
    """Refuse a .keras file that unpacks too far, or whose layers carry code.

    Raises:
        ArchiveRefused: no archive, a bomb, or names that leave their folder.
        PickleRefused: a Lambda layer, or a class that is not Keras' own.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MAX_BYTES or unpacked > 200 * path.stat().st_size + 2**20:
                raise ArchiveRefused(f"{path.name} unpacks to {unpacked} bytes: a zip bomb")
            if any(".." in Path(one.filename).parts or one.filename[:1] == "/" for one in entries):
                raise ArchiveRefused(f"{path.name} has an entry that leaves its folder")
            config = json.loads(archive.read("config.json"))
    except ArchiveRefused:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RecursionError) as error:
        raise ArchiveRefused(
            f"{path.name} is no .keras file: {error!s:.200}", hint="save it with model.save(…)"
        ) from error
    todo: list[Any] = [config]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            name, module = one.get("class_name"), one.get("module")
            own = module is None or str(module).split(".")[0] == "keras"
            if name in ("Lambda", "__lambda__", "function") or (name is not None and not own):
                raise PickleRefused(
                    f"{path.name} holds {module or 'a'} {name}, which runs code when it is loaded",
                    hint="write it with Keras' own layers and operations",
                )
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
