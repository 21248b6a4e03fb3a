"""Makes the vectors of a search index: the model of sentences reads every passage.

`python -m worker.embedding FOLDER` reads `manifest.json`, `files/` and `passages.jsonl`, and writes
`vectors.safetensors` (`oracle.protocol.search_index`). It prints `embed DONE/TOTAL`, and at the end
how many numbers of 256 passages lie on another step when each is read alone.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Library

from oracle import whole_file
from oracle.errors import InputInvalid, TallystickError
from oracle.exact import form, version
from oracle.protocol import search_index
from oracle.protocol.manifest import Manifest, Tokenizer
from oracle.protocol.tensor import DTYPES
from worker import device, runtimes
from worker.runtimes.base import Array, Files, Runtime

ROWS = 32  # passages at once, of like length
ALONE = 256  # passages that are read again, each alone


class Embedder:
    """A model of sentences, loaded as a worker does."""

    def __init__(self, manifest: Manifest, files: Files) -> None:
        step = manifest.preprocess
        if not isinstance(step, Tokenizer) or len(manifest.outputs) != 1:
            raise InputInvalid(
                f"{manifest.name} is no model of sentences", hint="it needs a tokenizer, one output"
            )
        kind = device.choose()
        device.configure(kind)
        root = manifest.model_root()
        if manifest.exact is not None:
            root = version.read(manifest, dict(files)).program.model_root
        self._runtime: Runtime = runtimes.load(manifest, files, root, kind)
        self._manifest, self._most = manifest, step.max_length
        self._form = form.of(manifest, lambda entry: files[entry.path])
        self.rows = ROWS if manifest.exact is None else 1
        self._library = Library.from_file(str(files[step.file]))
        self._library.no_truncation()
        self._library.enable_padding(length=manifest.inputs[0].shape[-1])

    def embed(self, texts: list[str]) -> Array:
        """Return F32 [n, width].

        Raises:
            InputInvalid: a text has more tokens than the model takes: nothing is cut in silence.
        """
        encoded = self._library.encode_batch(texts)
        for text, one in zip(texts, encoded, strict=True):
            if (length := sum(one.attention_mask)) > self._most:
                raise InputInvalid(
                    f"a passage has {length} tokens, the model takes {self._most}: {text[:60]!r}",
                    hint="cut it into shorter lines or paragraphs",
                )
        columns = {
            "input_ids": [one.ids for one in encoded],
            "attention_mask": [one.attention_mask for one in encoded],
            "token_type_ids": [one.type_ids for one in encoded],
        }
        given = {s.name: np.array(columns[s.name], DTYPES[s.dtype]) for s in self._manifest.inputs}
        asked = self._form.decode_inputs(self._form.encode_inputs(given))
        answer = self._form.encode_outputs(self._runtime.run(asked, {}))
        found = self._form.decode_outputs(answer)[self._manifest.outputs[0].name]
        return found.reshape(len(texts), -1).astype(np.float32)


def make(folder: Path) -> dict[str, int]:
    """Write the vectors; return how many numbers another batch puts on another step.

    Raises:
        TallystickError: the model cannot be loaded, or a passage does not fit it.
    """
    manifest = Manifest.parse((folder / "manifest.json").read_bytes())
    files = {entry.path: folder / "files" / entry.path for entry in manifest.files}
    data = (folder / search_index.PASSAGES).read_bytes()
    passages = search_index.read_passages(data, data.count(b"\n"))
    embedder = Embedder(manifest, files)
    texts = [passage.text for passage in passages]
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    found: list[Array] = []
    for start in range(0, len(order), embedder.rows):
        found.append(embedder.embed([texts[n] for n in order[start : start + embedder.rows]]))
        if start // embedder.rows % 16 == 0:
            print(f"embed {start}/{len(order)}", flush=True)
    embeddings = np.empty((len(texts), found[0].shape[1]), np.float32)
    embeddings[order] = np.concatenate(found)
    vectors = search_index.quantise(embeddings)
    whole_file.write(folder / search_index.VECTORS, search_index.write_vectors(vectors))
    again = np.linspace(0, len(texts) - 1, min(ALONE, len(texts))).astype(int)
    alone = np.concatenate([search_index.quantise(embedder.embed([texts[n]])) for n in again])
    apart = np.abs(alone.astype(int) - vectors[again])
    return {
        "numbers": apart.size,
        "one_step": int((apart == 1).sum()),
        "more": int((apart > 1).sum()),
    }


def main(folder: Path) -> int:
    """Make them; say what came of it in the last line."""
    try:
        print(json.dumps(make(folder)))
    except TallystickError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
