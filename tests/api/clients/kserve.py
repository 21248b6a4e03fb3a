"""NVIDIA's tritonclient, unchanged: arguments URL and key; writes what it found as JSON."""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

url, key = sys.argv[1:]
PATIENT = {"connection_timeout": 600.0, "network_timeout": 600.0}  # of a loaded machine
client = triton.InferenceServerClient(url.removeprefix("http://"), **PATIENT)
image = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (2, 1, 8, 1)).reshape(2, 1, 8, 8)


def headers():
    """A new dict for each call: the client writes into it."""
    return {"Authorization": f"Bearer {key}"}


def ask(binary_in, binary_out, **options):
    given = triton.InferInput("image", list(image.shape), "FP32")
    given.set_data_from_numpy(image, binary_data=binary_in)
    wanted = [triton.InferRequestedOutput("logits", binary_data=binary_out)]
    return client.infer("digits", [given], outputs=wanted, headers=headers(), **options)


def refusal(act):
    try:
        act()
    except InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    return "nothing was refused"


binary = ask(True, True, request_id="mine")
logits = [binary.as_numpy("logits"), ask(False, False).as_numpy("logits")]
plain = client.infer(
    "digits",
    [triton.InferInput("image", [2, 1, 8, 8], "FP32").set_data_from_numpy(image)],
    headers=headers(),
)


def compressed(algorithm):
    """Ask with both bodies compressed."""
    answered = ask(
        True, True,
        request_compression_algorithm=algorithm, response_compression_algorithm=algorithm,
    )  # fmt: skip
    return answered.as_numpy("logits")


def best(binary):
    """The three best classes of each row, as text."""
    given = triton.InferInput("image", [2, 1, 8, 8], "FP32").set_data_from_numpy(image)
    wanted = [triton.InferRequestedOutput("logits", binary_data=binary, class_count=3)]
    answered = client.infer("digits", [given], outputs=wanted, headers=headers())
    rows = answered.as_numpy("logits")  # bytes, or text when the answer is JSON
    return [[t if isinstance(t, str) else t.decode() for t in row] for row in rows]


def at_once(count):
    """So many requests at the same time, each for another image."""
    many = triton.InferenceServerClient(url.removeprefix("http://"), concurrency=count, **PATIENT)
    waiting = []
    for number in range(count):
        given = triton.InferInput("image", [1, 1, 8, 8], "FP32")
        given.set_data_from_numpy(np.full((1, 1, 8, 8), number / count, np.float32))
        waiting.append(many.async_infer("digits", [given], headers=headers()))
    found = [one.get_result().as_numpy("logits").tobytes() for one in waiting]
    many.close()
    return len(set(found))


config = client.get_model_config("digits")
index = client.get_model_repository_index()
before = client.get_inference_statistics("digits", "1")["model_stats"][0]
later = at_once(16)
after = client.get_inference_statistics("digits")["model_stats"][0]
metadata = client.get_model_metadata("digits")
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready("digits", "1"),
            "nobody_ready": client.is_model_ready("nobody"),
            "server": client.get_server_metadata()["name"],
            "shape": metadata["inputs"][0]["shape"],
            "id": binary.get_response()["id"],
            "version": binary.get_response()["model_version"],
            "rows": logits[0].shape[0],
            "dtype": str(logits[0].dtype),
            "agree": bool(
                np.array_equal(*logits) and np.array_equal(logits[0], plain.as_numpy("logits"))
            ),
            "without_key": refusal(
                lambda: client.infer(
                    "digits",
                    [triton.InferInput("image", [2, 1, 8, 8], "FP32").set_data_from_numpy(image)],
                )
            ),
            "compressed": [
                bool(np.array_equal(compressed(name), logits[0])) for name in ("gzip", "deflate")
            ],
            "best": best(True),
            "same_best": best(True) == best(False),
            "scores": logits[0].tolist(),
            "config": [config["name"], config["input"], config["output"]],
            "index": index,
            "async": later,
            "counted": after["inference_stats"]["success"]["count"]
            - before["inference_stats"]["success"]["count"],
            "nanoseconds": after["inference_stats"]["success"]["ns"],
            "statistics": [one["name"] for one in client.get_inference_statistics()["model_stats"]],
            "unknown": refusal(lambda: client.get_model_metadata("nobody")),
        }
    )
)
