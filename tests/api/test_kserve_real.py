"""The KServe protocol against a running gateway and a real operator."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.real

IMAGE = [[[0.0, 0.2, 0.9, 1.0, 0.7, 0.1, 0.0, 0.0]] * 8]
BODY = {
    "id": "first",
    "inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [IMAGE]}],
}


def test_health__running__lives_and_is_ready(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_model__published__is_described(client):
    found = client.get("/v2/models/digits").json()
    assert found["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert found["versions"] == ["1"]
    assert client.get("/v2/models/digits/versions/1/ready").status_code == 200
    assert client.get("/v2/models/digits/versions/2").status_code == 404


def test_ask__no_key__is_told_to_bring_one(door, client):
    """This route takes no payments; those that do are in test_x402_real.py."""
    with door.client(secret="") as stranger:
        answered = stranger.post("/api/requests", json={"model": "digits", **BODY})
    assert answered.status_code == 401
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.json()["code"] == "KeyRefused"
    assert answered.headers["www-authenticate"] == "Bearer"


def test_infer__json__answers_with_everything_that_it_is_worth(client):
    answered = client.post("/v2/models/digits/infer", json=BODY)
    assert answered.status_code == 200, answered.text
    found = answered.json()
    print(json.dumps(dict(answered.headers), indent=1))
    assert (found["model_name"], found["model_version"], found["id"]) == ("digits", "1", "first")
    assert np.array(found["outputs"][0]["data"]).shape == (10,)
    assert answered.headers["tallystick-assurance"] == "committee"
    assert answered.headers["tallystick-request-id"] == found["parameters"]["request_id"]
