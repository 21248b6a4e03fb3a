"""Programs that ask one model, filled in: curl, Python, JavaScript and unchanged clients. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from oracle.protocol.manifest import Manifest, Tokenizer
from oracle.protocol.shapes import TensorSpec
from oracle.protocol.text import FORMAT

KSERVE = {  # names of dtypes in KServe's protocol
    "F64": "FP64", "F32": "FP32", "I64": "INT64", "I32": "INT32", "I16": "INT16", "I8": "INT8",
    "U32": "UINT32", "U16": "UINT16", "U8": "UINT8", "BOOL": "BOOL",
}  # fmt: skip
NUMPY = {"F64": "float64", "F32": "float32", "BOOL": "bool"}
FREE = 1  # rows, or tokens, where a shape leaves a size open
QUESTION = "What is a tally stick?"
SENTENCE = "A cat sleeps on the warm stove."
_SHOWN = 1024  # numbers that are written out


def snippets(base: str, model_id: int, manifest: Manifest) -> dict[str, str]:
    """Return programs by what they are written for.

    Args:
        base: where the gateway answers, like `http://127.0.0.1:8551`; "" = nowhere: only Python.
        model_id: names the model; a name may be an earlier model's.
    """
    if manifest.runtime.format == FORMAT:
        return _chat(base, model_id)
    text = isinstance(manifest.preprocess, Tokenizer)
    body = {"inputs": [_text()] if text else [_tensor(spec) for spec in manifest.inputs]}
    written = json.dumps(body)
    url = f"{base}/v2/models/{model_id}/infer"
    said = repr(SENTENCE) if text else _value(manifest)
    python = (
        ("" if text else "import numpy as np\n") + "import tallystick\n\n"
        'with tallystick.connect(wallet="requester") as network:\n'
        f"    answer = network.ask({model_id}, {said})\n"
        "    print(answer.outputs)\n"
        "    print(answer.verify().verdict.value)"
    )
    if not base:
        return {"Python": python}
    found = {
        "curl": f"curl -s {url} \\\n  -H \"Authorization: Bearer $KEY\" \\\n  -d '{written}'",
        "Python": python,
        "JavaScript": (
            f'const answer = await fetch("{url}", {{\n  method: "POST",\n'
            '  headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },\n'
            f"  body: JSON.stringify({written}),\n}});\n"
            "console.log((await answer.json()).outputs);"
        ),
    }
    if text:
        found["openai"] = (
            "import openai  # pip install openai\n\n"
            f'client = openai.OpenAI(base_url="{base}/v1", api_key=key)\n'
            f'answer = client.embeddings.create(model="{model_id}", input=[{SENTENCE!r}])\n'
            "print(answer.data[0].embedding)"
        )
    return {**found, "tritonclient": _triton(base, model_id, manifest, text)}


def _chat(base: str, model_id: int) -> dict[str, str]:
    """Return programs that ask a model which writes text."""
    shell = f'tallystick chat {model_id} --once "{QUESTION}" --key requester'
    if not base:
        return {"Shell": shell}
    body = json.dumps({
        "model": str(model_id), "messages": [{"role": "user", "content": QUESTION}], "stream": True
    })  # fmt: skip
    url = f"{base}/v1/chat/completions"
    return {
        "curl": f"curl -sN {url} \\\n  -H \"Authorization: Bearer $KEY\" \\\n  -d '{body}'",
        "Shell": shell,
        "JavaScript": (
            f'const answer = await fetch("{url}", {{\n  method: "POST",\n'
            '  headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },\n'
            f"  body: JSON.stringify({body}),\n}});\n"
            "for await (const piece of answer.body.pipeThrough(new TextDecoderStream()))\n"
            "  console.log(piece);"
        ),
        "openai": (
            "import openai  # pip install openai\n\n"
            f'client = openai.OpenAI(base_url="{base}/v1", api_key=key)\n'
            "stream = client.chat.completions.create(\n"
            f'    model="{model_id}", stream=True,\n'
            f'    messages=[{{"role": "user", "content": {QUESTION!r}}}],\n)\n'
            "for chunk in stream:\n"
            '    print(chunk.choices[0].delta.content or "", end="")'
        ),
    }


def _triton(base: str, model_id: int, manifest: Manifest, text: bool) -> str:
    lines = [
        "import numpy as np",
        "import tritonclient.http as triton  # pip install tritonclient[http]",
        "",
    ]
    if text:
        lines += [
            'given = triton.InferInput("text", [1], "BYTES")',
            f"given.set_data_from_numpy(np.array([{SENTENCE!r}], dtype=object))",
        ]
        inputs = "[given]"
    else:
        inputs = "[" + ", ".join(f"given_{i}" for i in range(len(manifest.inputs))) + "]"
    for number, spec in enumerate(() if text else manifest.inputs):
        shape = _shape(spec)
        dtype = NUMPY.get(spec.dtype) or spec.dtype.replace("I", "int").replace("U", "uint")
        lines += [
            f"given_{number} = triton.InferInput({spec.name!r}, {shape}, {KSERVE[spec.dtype]!r})",
            f"given_{number}.set_data_from_numpy(np.zeros({shape}, np.{dtype}))",
        ]
    host = base.partition("//")[2]
    headers = '{"Authorization": f"Bearer {key}"}'
    lines += [
        f'client = triton.InferenceServerClient("{host}")',
        f'answer = client.infer("{model_id}", {inputs}, headers={headers})',
        f"print(answer.as_numpy({manifest.outputs[0].name!r}))",
    ]
    return "\n".join(lines)


def _shape(spec: TensorSpec) -> list[int]:
    return [FREE if size is None else size for size in spec.shape]


def _tensor(spec: TensorSpec) -> Mapping[str, Any]:
    shape = _shape(spec)
    count = 1
    for size in shape:
        count *= size
    zeros: list[Any] = [False if spec.dtype == "BOOL" else 0] * min(count, _SHOWN)
    return {"name": spec.name, "shape": shape, "datatype": KSERVE[spec.dtype],
            "data": zeros if count <= _SHOWN else [*zeros[:4], f"… {count} in all"]}  # fmt: skip


def _text() -> Mapping[str, Any]:
    return {"name": "text", "shape": [1], "datatype": "BYTES", "data": [SENTENCE]}


def _value(manifest: Manifest) -> str:
    shapes = {spec.name: _shape(spec) for spec in manifest.inputs}
    if len(shapes) == 1:
        return f"np.zeros({next(iter(shapes.values()))})"
    return "{" + ", ".join(f"{name!r}: np.zeros({shape})" for name, shape in shapes.items()) + "}"
