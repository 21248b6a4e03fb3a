"""From what a person has to the canonical input: everything that does not fit is refused first."""

import io
import json
import pickle
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest

from oracle.errors import InputInvalid, NotFound
from oracle.exact import form
from oracle.protocol import tensor, text
from oracle.protocol.manifest import RuntimeSpec
from oracle.protocol.shapes import FeatureSpec, TensorSpec
from oracle.services import formats, inputs
from tests.services.manifests import DIGITS, INTEGERS, SENTENCES, TWO_INPUTS

GOOD = [[[[0.0, 0.5], [1.0, 0.25]]]]


def no_fetch(entry):
    raise AssertionError(f"{entry.path} was fetched")


def no_stdin():
    raise AssertionError("stdin was read")


def prepare(source, manifest=DIGITS, fetch=no_fetch, stdin=no_stdin):
    return inputs.prepare(str(source), manifest, fetch, stdin)


def decoded(prepared):
    return tensor.decode(prepared.data, 2**20)


def png(width, height, pixels):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = b"".join(b"\0" + pixels[y * width : (y + 1) * width] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("[[[[0.0, 0.5], [1.0, NaN]]]]", "NaN"),
        ("[[[[0.0, 0.5], [1.0, Infinity]]]]", "Infinity"),
        ("[[[[0.0, 0.5], [1.0, 1e39]]]]", "not finite"),
        ("[[[[0.0, 0.5], [1.0]]]]", "ragged"),
        ("[[0.5]]", "shape"),
        ("[]", "shape"),
        ('[[[["a", "b"], ["c", "d"]]]]', "values"),
        ("[[[[true, true], [true, true]]]]", "bool"),
        ("[[[[0.0, ", "not JSON"),
        ("{}", "missing"),
        ('{"picture": [[[[0, 0], [0, 0]]]]}', "not one of this model's"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_prepare__json_does_not_fit__says_why(source, why):
    with pytest.raises(InputInvalid, match=why):
        prepare(source)


def test_prepare__sentence_for_a_model_without_text__says_what_is_wanted():
    with pytest.raises(InputInvalid):
        prepare('["hello"]')


@pytest.mark.parametrize("source", ["[1.5, 2.0]", "[256]", "[-1]", "[true]"])
def test_prepare__numbers_that_an_integer_cannot_hold__refuses(source):
    with pytest.raises(InputInvalid, match="values"):
        prepare(source, INTEGERS)


def test_prepare__several_inputs_without_names__asks_for_names():
    with pytest.raises(InputInvalid, match="takes 2 inputs") as caught:
        prepare("[1.0]", TWO_INPUTS)
    assert "a F32 [1], b I64 [1]" in caught.value.hint


def test_prepare__no_such_file__says_so(tmp_path):
    with pytest.raises(NotFound, match=r"nothing\.json"):
        prepare(tmp_path / "nothing.json")


def test_prepare__pickle_as_npz__is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    path = tmp_path / "input.npz"
    np.savez(path, image=np.array([Bomb()], dtype=object))
    with pytest.raises(InputInvalid, match="plain arrays"):
        prepare(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputInvalid, match="plain arrays"):
        prepare(path)


def test_prepare__zip_bomb__is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_RAW", 1000)
    path = tmp_path / "input.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", bytes(100_000))
    assert path.stat().st_size < 1000
    with pytest.raises(InputInvalid, match="unpacks to 100000"):
        prepare(path)


def test_prepare__npz_of_another_dtype__names_both(tmp_path):
    path = tmp_path / "input.npz"
    np.savez(path, image=np.array(GOOD, np.float64))
    with pytest.raises(InputInvalid, match="given dtype float64") as caught:
        prepare(path)
    assert "F32 [?, 1, 2, 2]" in caught.value.hint


def test_prepare__nan_in_npz__names_the_element(tmp_path):
    path = tmp_path / "input.npz"
    np.savez(path, image=np.full((1, 1, 2, 2), np.nan, np.float32))
    with pytest.raises(InputInvalid, match="not finite"):
        prepare(path)


def test_prepare__larger_than_a_block__refuses(tmp_path):
    path = tmp_path / "input.npz"
    np.savez(path, image=np.zeros((2**16, 1, 2, 2), np.float32))
    with pytest.raises(InputInvalid, match="above the limit of 1048576"):
        prepare(path)


def test_prepare__broken_image__refuses(tmp_path):
    path = tmp_path / "input.png"
    path.write_bytes(png(2, 2, bytes(4))[:40])
    with pytest.raises(InputInvalid, match="not an image"):
        prepare(path)


def test_prepare__unknown_suffix__lists_the_known(tmp_path):
    path = tmp_path / "input.pkl"
    path.write_bytes(b"x")
    with pytest.raises(InputInvalid, match=r"\.pkl") as caught:
        prepare(path)
    assert ".safetensors" in caught.value.hint


def test_prepare__one_value_in_five_ways__gives_equal_bytes(tmp_path):
    array = np.array(GOOD, np.float32)
    np.savez(tmp_path / "a.npz", image=array)
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.json").write_text(json.dumps({"image": GOOD}))
    (tmp_path / "a.safetensors").write_bytes(tensor.encode({"image": array}))
    found = [prepare(tmp_path / n) for n in ("a.npz", "a.npy", "a.json", "a.safetensors")]
    buffer = io.BytesIO()
    np.savez(buffer, image=array)
    found.append(prepare("-", stdin=buffer.getvalue))
    found.append(prepare(json.dumps(GOOD)))
    assert {p.root for p in found} == {tensor.digest(tensor.encode({"image": array}))}
    assert found[0].shapes == {"image": (1, 1, 2, 2)}


def test_prepare__safetensors_of_another_writer__is_encoded_again(tmp_path):
    from safetensors.numpy import save

    values = {"b": np.array([2], np.int64), "a": np.array([1.5], np.float32)}
    path = tmp_path / "input.safetensors"
    path.write_bytes(save(values, metadata={"made": "elsewhere"}))
    assert prepare(path, TWO_INPUTS).data == tensor.encode(values)


def test_prepare__image__scales_and_normalises(tmp_path):
    path = tmp_path / "input.png"
    path.write_bytes(png(2, 2, bytes([0, 2, 4, 200])))
    values = decoded(prepare(path))["image"]
    assert values.shape == (1, 1, 2, 2)
    assert values.ravel().tolist() == [-0.5, 0.0, 0.5, 49.5]


def tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"[UNK]": 0, "a": 1, "tally": 2, "stick": 3}
    library = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    library.save(str(path))
    return path


def test_prepare__sentence_too_long__is_refused_not_cut(tmp_path):
    path = tokenizer(tmp_path)
    with pytest.raises(InputInvalid, match="sentence 1 has 6 tokens, the model takes 4"):
        prepare('["a tally stick", "a a a a a a"]', SENTENCES, lambda entry: path)


def test_prepare__sentences__tokenises_and_pads(tmp_path):
    path = tokenizer(tmp_path)
    found = prepare('["a tally stick", "a a a a"]', SENTENCES, lambda entry: path)
    values = decoded(found)
    assert values["input_ids"].tolist() == [[1, 2, 3, 0], [1, 1, 1, 1]]
    assert values["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert found.texts == ("a tally stick", "a a a a")


def test_prepare__text_file__takes_lines(tmp_path):
    path = tokenizer(tmp_path)
    text = tmp_path / "input.txt"
    text.write_text("a tally\n\nstick\n")
    assert prepare(text, SENTENCES, lambda entry: path).texts == ("a tally", "stick")
    text.write_text("\n \n")
    with pytest.raises(InputInvalid, match="no sentences"):
        prepare(text, SENTENCES, lambda entry: path)


def test_prepare__tokenizer_is_garbage__says_which_file(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(InputInvalid, match=r"tokenizer\.json of the model"):
        prepare('"hello"', SENTENCES, lambda entry: path)


def test_prepare__answer_would_be_too_large__refuses_before_money_is_spent():
    """Nobody could deliver it, and a claim on it would forfeit stake."""
    rows = 5_500  # of three float32 each: above 64 KiB
    with pytest.raises(InputInvalid, match=r"the answer would have 66\d{3} bytes, above .* 65536"):
        prepare(json.dumps([[[[0.0] * 2] * 2]] * rows))
    assert prepare(json.dumps([[[[0.0] * 2] * 2]] * 5_000)).shapes["image"] == (5_000, 1, 2, 2)


def test_output_size__what_would_be_encoded__is_as_long():
    given = {"image": np.zeros((7, 1, 2, 2), np.float32)}
    made = tensor.encode({"logits": np.zeros((7, 3), np.float32)})
    assert DIGITS.output_size(given) == len(made)
    given = {name: np.zeros((2, 4), np.int64) for name in ("input_ids", "attention_mask")}
    made = tensor.encode({"embeddings": np.zeros((2, 2), np.float32)})
    assert SENTENCES.output_size(given) == len(made)


# ── Rows that name their columns ────────────────────────────────────────────────────────────────
TABLE = replace(
    DIGITS,
    inputs=(TensorSpec("features", "F32", (None, 3)),),
    features=tuple(FeatureSpec(name=name) for name in ("alcohol", "malic", "ash")),
)
ROW = {"ash": 3.0, "alcohol": 1.0, "malic": 2.0}


@pytest.mark.parametrize("whole", [[ROW, ROW], {"features": [ROW, ROW]}], ids=["rows", "by input"])
def test_prepare__rows_by_name__are_put_in_the_manifests_order(whole):
    found = decoded(prepare(json.dumps(whole), TABLE))
    assert found["features"].tolist() == [[1.0, 2.0, 3.0]] * 2


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{**ROW, "colour": 1.0}], "no column colour"),
        ([{"ash": 3.0, "alcohol": 1.0}], "needs a column malic"),
        ([ROW, [1.0, 2.0, 3.0]], "others do not"),
        ([{**ROW, "ash": "grey"}], "holds"),
    ],
)
def test_prepare__rows_by_name_that_do_not_fit__says_which_column(rows, says):
    with pytest.raises(InputInvalid, match=says):
        prepare(json.dumps(rows), TABLE)


# ── Columns of words ────────────────────────────────────────────────────────────────────────────
COLOURS = FeatureSpec(name="malic", categories=("red", "blue"))
WORDS = replace(TABLE, features=(TABLE.features[0], COLOURS, TABLE.features[2]))
OTHERS = replace(
    WORDS, features=(TABLE.features[0], replace(COLOURS, other=True), TABLE.features[2])
)


@pytest.mark.parametrize("row", [{**ROW, "malic": "blue"}, [1.0, "blue", 3.0], [1.0, 1, 3.0]])
def test_prepare__words__are_told_by_their_places(row):
    assert decoded(prepare(json.dumps([row]), WORDS))["features"].tolist() == [[1.0, 1.0, 3.0]]


@pytest.mark.parametrize("row", [{**ROW, "malic": "green"}, [1.0, "green", 3.0]])
def test_prepare__word_that_was_never_seen__refused_unless_the_model_has_an_answer(row):
    with pytest.raises(InputInvalid, match="malic: the model never saw the category 'green'") as no:
        prepare(json.dumps([row]), WORDS)
    assert "red, blue" in no.value.hint
    assert decoded(prepare(json.dumps([row]), OTHERS))["features"].tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("place", [2, -1, 0.5])
def test_prepare__place_of_no_word__refused_by_requester_and_operator(place, tmp_path):
    np.savez(tmp_path / "row.npz", features=np.array([[1, 1, 3], [1, place, 3]], np.float32))
    with pytest.raises(InputInvalid, match=f"malic: {place:g} is the place of no category"):
        prepare(str(tmp_path / "row.npz"), WORDS)
    unchecked = prepare(str(tmp_path / "row.npz"), TABLE).data
    with pytest.raises(InputInvalid, match="the place of no category"):
        form.of(WORDS).decode_inputs(unchecked)


def test_prepare__word_in_a_column_of_numbers__is_not_guessed_at():
    with pytest.raises(InputInvalid, match="holds"):
        prepare(json.dumps([["red", "red", 3.0]]), WORDS)


# ── Questions to text models ────────────────────────────────────────────────────────────────────
WRITER = replace(
    DIGITS,
    runtime=RuntimeSpec(format="gguf", entry="model.gguf"),
    inputs=text.INPUTS,
    outputs=text.OUTPUTS,
    preprocess=None,
)


@pytest.mark.parametrize("given", ["Once upon", ["Once upon"]])
def test_prepare__one_sentence_to_a_text_model__is_its_prompt(given):
    assert text.decode_question(decoded(prepare(json.dumps(given), WRITER))).prompt == "Once upon"


def test_prepare__messages_to_a_text_model__are_a_chat():
    chat = [{"role": "user", "content": "Hello"}]
    assert text.decode_question(decoded(prepare(json.dumps(chat), WRITER))).messages == tuple(chat)
