"""A file of XGBoost through the command line alone: described, checked, published, and asked."""

import json

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer

from oracle.exact import form, version
from oracle.exact.commitments import Committed
from oracle.exact.files import record
from oracle.exact.reference import execute
from oracle.protocol import tensor
from oracle.services import models, operators, quoting, requests
from oracle.types import NO_CLAIM, Amount, OperatorAnswer
from tests.services.conftest import DOLLAR

pytestmark = pytest.mark.real


def test_model__file_of_trees__is_checked_published_and_asked(market, tallystick, tmp_path):
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = np.where(rows < np.median(rows, 0) / 2, 0.0, rows)
    model = xgboost.XGBClassifier(n_estimators=20, n_jobs=1, missing=0.0).fit(rows, labels)
    path = tmp_path / "tumours.ubj"
    model.save_model(path)
    missing = ("--missing", "0")

    checked = tallystick("model", "check", path, "--exact", *missing)
    assert (checked["name"], checked["format"]) == ("tumours", "exact")
    as_floats = tallystick("model", "check", path, *missing)
    assert (as_floats["name"], as_floats["format"]) == ("tumours", "onnx")
    refused = tallystick("model", "publish", path, "--answer", "class", "--key", "owner", code=65)
    assert "--answer needs --exact" in refused["message"]
    assert tallystick("model", "init", path, "--name", "growths")["model"]["labels"] == ["0", "1"]
    done = tallystick(
        "model", "publish", path, "--exact", *missing, "--fee", "0.05", "--challenge-window", "1m",
        "--key", "owner",
    )  # fmt: skip
    assert done["name"] == "growths"

    network, operator = market.network, market.wallet("op1")
    operators.authorize(network, market.wallet("owner"), done["model_id"], operator.address)
    operators.stake(network, operator, Amount(20 * DOLLAR))
    row: list[float | None] = list(rows[0])
    row[3] = None  # missing, as the zeros are
    asked = tallystick(
        "infer", done["model_id"], "--input", json.dumps([row]), "--key", "alice", "--yes"
    )
    answer(network, operator, asked["request_id"])
    shown = tallystick("verify", asked["request_id"])
    assert shown["verdict"] == "right"
    got = tallystick("request", "show", asked["request_id"])
    assert got["state"] == "delivered"
    saved = tmp_path / "answer.npz"
    tallystick("request", "show", asked["request_id"], "--answer", "--output", saved)
    wanted = model.predict_proba(np.array([row], float))
    np.testing.assert_allclose(np.load(saved)["probabilities"], wanted, atol=1e-5)


def answer(network, operator, request_id):
    """What the operator's worker does: the reference executor, on the bytes of the request."""
    info = requests.show(network, bytes.fromhex(request_id[2:]))
    manifest = models.manifest(network, info.model_id, 1)
    files = {entry.path: quoting.fetch_file(network, entry, None) for entry in manifest.files}
    loaded = version.read(manifest, files)
    data = network.ipfs.fetch_bytes(tensor_cid(info.request.input_cid), 2**20)
    (ranks,) = form.of(manifest).decode_inputs(data).values()
    made = Committed(loaded.program, execute(loaded.program, loaded.constants, (ranks[0],)).tensors)
    last = loaded.program.id_of(len(loaded.program.ops) - 1)
    written = record(last, made.tree(last))
    network.ipfs.publish_bytes(written)
    call = network.market.deliver(
        info.request, NO_CLAIM, OperatorAnswer(made.output_root, tensor.digest(written))
    )
    operator.send(call)


def tensor_cid(digest):
    from oracle.protocol.cid import raw_cid

    return raw_cid(digest)
