"""What a voter finds: each finding, and that faults of the machine are none."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from oracle.chain.bindings.committee import Finding
from oracle.errors import InputInvalid, Unavailable
from oracle.ipfs.memory import MemoryIpfs
from oracle.protocol import tensor
from oracle.protocol.canonical import sha256
from oracle.types import ZERO32
from tests.worker.builders import Published, digits_module, images, write_digits
from worker import runtimes, vote_process
from worker.models import ModelPool
from worker.vote import VoteJob, find, matches

TOLERANCE = 10_000  # 1e-5
SEED = sha256(b"seed")


@pytest.fixture
def pool(ipfs, cache, log):
    made = ModelPool(ipfs, cache, runtimes.load, device="cpu", max_bytes=2**30, log=log)
    yield made
    made.close()


@pytest.fixture
def answer(digits, ipfs):
    """Return the true output of one image, and a job that judges given bytes as its delivery."""
    data = tensor.encode({"image": images()})
    ipfs.publish_bytes(data)
    with torch.no_grad():
        logits = digits_module()(torch.from_numpy(images())).numpy()

    def job(delivered, **changes):
        fields = {
            "manifest_digest": digits.digest, "model_root": digits.root,
            "input_root": sha256(data), "input_cid": ZERO32, "params": ZERO32,
            "output_root": sha256(delivered), "output_cid": ZERO32, "seed": SEED,
            "tolerance": TOLERANCE,
        }  # fmt: skip
        return VoteJob(**{**fields, **changes})

    return logits, job


def published(ipfs, logits):
    data = tensor.encode({"logits": logits})
    ipfs.publish_bytes(data)
    return data


def test_parse__field_missing__input_invalid():
    with pytest.raises(InputInvalid, match="malformed"):
        VoteJob.parse({"tolerance": 1})


def test_find__same_answer__match(pool, ipfs, answer):
    logits, job = answer
    found = find(job(published(ipfs, logits)), pool, ipfs)
    assert found.finding is Finding.MATCH
    assert found.activation != 0
    assert found.output_digest != ZERO32


@pytest.mark.parametrize(
    ("units", "finding"),
    [(3, Finding.MATCH), (2, Finding.MISMATCH), (4, Finding.MISMATCH), (0, Finding.MATCH)],
)
def test_find__metered__units_are_the_rows_that_its_manifest_counts(
    pool, ipfs, tmp_path, units, finding
):
    """0 is what the market keeps of a version with a flat fee, whatever its manifest says."""
    folder = write_digits(tmp_path / "metered", unit={"output": "logits", "maximum": 8})
    metered = Published(ipfs, folder)
    given = tensor.encode({"image": images(3)})
    with torch.no_grad():
        logits = digits_module()(torch.from_numpy(images(3))).numpy()
    job = VoteJob(
        manifest_digest=metered.digest, model_root=metered.root, input_root=sha256(given),
        input_cid=ZERO32, params=ZERO32, output_root=sha256(published(ipfs, logits)),
        output_cid=ZERO32, seed=SEED, tolerance=TOLERANCE, units=units,
    )  # fmt: skip
    ipfs.publish_bytes(given)
    assert find(job, pool, ipfs).finding is finding


def test_find__metered_terms_but_no_unit_in_the_manifest__mismatch(pool, ipfs, answer):
    logits, job = answer
    assert find(job(published(ipfs, logits), units=1), pool, ipfs).finding is Finding.MISMATCH


@pytest.mark.parametrize(("off", "finding"), [(5e-6, Finding.MATCH), (2e-5, Finding.MISMATCH)])
def test_find__within_or_beyond_the_tolerance(pool, ipfs, answer, off, finding):
    logits, job = answer
    changed = logits.copy()
    changed[0, 3] += off
    assert find(job(published(ipfs, changed)), pool, ipfs).finding is finding


def test_find__voters__agree_on_the_activation_whatever_was_delivered(pool, ipfs, answer):
    logits, job = answer
    jobs = [job(published(ipfs, logits)), job(published(ipfs, logits + 1))]
    first, second = (find(one, pool, ipfs) for one in jobs)
    assert (first.activation, first.output_digest) == (second.activation, second.output_digest)
    other = find(replace(jobs[0], seed=sha256(b"other")), pool, ipfs)
    assert other.activation != first.activation


@pytest.mark.parametrize(
    "delivered",
    [b"no tensor", tensor.encode({"logits": np.zeros((1, 9), np.float32)})],
)
def test_find__delivered_bytes_that_fit_no_answer__mismatch(pool, ipfs, answer, delivered):
    ipfs.publish_bytes(delivered)
    assert find(answer[1](delivered), pool, ipfs).finding is Finding.MISMATCH


@pytest.mark.parametrize("named", [sha256(b"nowhere"), ZERO32])
def test_find__wrong_output_said_to_lie_nowhere__mismatch(pool, ipfs, answer, named):
    """A liar names 32 random bytes; its output lies under its root, where voters look."""
    logits, job = answer
    delivered = published(ipfs, logits + 1)
    assert find(job(delivered, output_cid=named), pool, ipfs).finding is Finding.MISMATCH


def test_find__output_that_is_only_on_chain__is_judged(pool, ipfs, answer):
    logits, job = answer
    right, wrong = (tensor.encode({"logits": one}) for one in (logits, logits + 1))
    assert find(job(right, posted=right), pool, ipfs).finding is Finding.MATCH
    assert find(job(wrong, posted=wrong), pool, ipfs).finding is Finding.MISMATCH
    assert find(job(wrong, posted=right), pool, ipfs).finding is Finding.OUTPUT_UNAVAILABLE


@pytest.mark.parametrize("named", [sha256(b"nowhere"), sha256(b"something else")])
def test_find__input_said_to_lie_nowhere__is_found_under_its_root(pool, ipfs, answer, named):
    """Else a requester gets the fee back for answers that it used."""
    logits, job = answer
    ipfs.publish_bytes(b"something else")
    found = find(job(published(ipfs, logits), input_cid=named), pool, ipfs)
    assert found.finding is Finding.MATCH


def test_find__large_numbers__differ_by_the_relative_term(pool, ipfs, answer):
    large = {"y": np.array([1e6], np.float32)}
    assert matches({"y": large["y"] + 5}, large, TOLERANCE)
    assert not matches({"y": large["y"] + 20}, large, TOLERANCE)


def test_find__output_is_nowhere__output_unavailable_with_the_own_activation(pool, ipfs, answer):
    found = find(answer[1](b"nowhere"), pool, ipfs)
    assert found.finding is Finding.OUTPUT_UNAVAILABLE
    assert found.activation != 0


def test_find__input_is_nowhere__input_unavailable(pool, ipfs, answer):
    logits, job = answer
    found = find(job(published(ipfs, logits), input_root=sha256(b"nowhere")), pool, ipfs)
    assert (found.finding, found.activation) == (Finding.INPUT_UNAVAILABLE, 0)


def test_find__model_is_nowhere__input_unavailable(pool, ipfs, answer):
    logits, job = answer
    found = find(job(published(ipfs, logits), manifest_digest=sha256(b"nowhere")), pool, ipfs)
    assert found.finding is Finding.INPUT_UNAVAILABLE


def test_find__input_that_fits_no_model__has_no_right_answer(pool, ipfs, answer):
    logits, job = answer
    data = tensor.encode({"image": np.zeros((1, 1, 4, 4), np.float32)})
    ipfs.publish_bytes(data)
    found = find(job(published(ipfs, logits), input_root=sha256(data)), pool, ipfs)
    assert (found.finding, found.output_digest) == (Finding.MISMATCH, ZERO32)


def test_find__ipfs_away__is_no_finding(pool, ipfs, answer):
    class Away(MemoryIpfs):
        def fetch_bytes(self, cid, max_bytes):
            raise Unavailable("IPFS is away")

    logits, job = answer
    with pytest.raises(Unavailable):
        find(job(published(ipfs, logits)), pool, Away())


@pytest.mark.parametrize(
    ("own", "theirs", "equal"),
    [
        ({"y": [np.nan, 1.0]}, {"y": [np.nan, 1.0]}, True),
        ({"y": [np.nan]}, {"y": [1.0]}, False),
        ({"y": [np.inf]}, {"y": [np.inf]}, True),
        ({"y": [np.inf]}, {"y": [1e30]}, False),
        ({"y": [3]}, {"y": [3]}, True),
        ({"y": [3]}, {"y": [4]}, False),
        ({"y": [1.0]}, {"y": [1]}, False),
        ({"y": [1.0]}, {"y": [[1.0]]}, False),
        ({"y": [1.0]}, {"z": [1.0]}, False),
    ],
)
def test_matches__by_names_types_and_values(own, theirs, equal):
    own, theirs = ({k: np.asarray(v) for k, v in side.items()} for side in (own, theirs))
    assert matches(own, theirs, TOLERANCE) is equal


def test_serve__jobs_as_lines__answers_as_lines(pool, ipfs, answer):
    logits, job = answer
    data = published(ipfs, logits)
    one = job(data)
    line = json.dumps(
        {
            name: value if isinstance(value, int) else "0x" + value.hex()
            for name, value in ((n, getattr(one, n)) for n in one.__slots__)
        }
    )
    answers = io.StringIO()
    vote_process.serve([line, "nonsense", "{}"], answers, pool, ipfs)
    first, second, third = map(json.loads, answers.getvalue().splitlines())
    assert first["finding"] == "MATCH"
    assert int(first["activation"]) == find(one, pool, ipfs).activation
    assert second["error"] == "JSONDecodeError"
    assert third["error"] == "InputInvalid"
