"""What docs/python.md and examples/python say, against a real network."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text()

pytestmark = pytest.mark.real


def test_page__code__prints_what_stands_beside_it(script):
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    expected = re.findall(r"# → (.*)$", code, re.MULTILINE)

    printed = iter(script("-c", code).splitlines())

    assert len(expected) > 8
    for line in expected:  # in this order, with other lines between
        assert line in printed, line


def test_examples__sell_then_ask__answer_for_the_fee(script):
    sold = script("-m", "examples.python.sell", "build/digits", "--fee", "0.05")
    asked = script("-m", "examples.python.ask", "digits-cnn", "build/samples.json")

    assert "every byte of it" in sold
    assert asked.count("read ") == 4
    assert "0.05 dollars to 0x" in asked
    assert "the committee decides" in asked


def test_recommend__published_and_asked__prints_films_with_reasons(script):
    script("-m", "examples.recommend.build", "build/films", "--epochs", "1")
    for folder in ("two-tower", "deepfm"):
        script("-m", "examples.python.sell", f"build/films/{folder}", "--fee", "0.02")

    script("-c", "import tallystick; tallystick.connect(wallet='requester').deposit(1)")
    told = ("--age", "25–34", "--occupation", "programmer", "--liked", "Fargo (1996)")
    head, *rows, paid = script("-m", "examples.recommend.ask", *told).splitlines()

    assert head.split() == ["film", "found", "ranked", "because", "of"]
    assert len(rows) == 8
    assert all(re.search(r"[+-]\d\.\d\d .*[+-]\d\.\d\d", row) for row in rows)
    assert not any(row.startswith("Fargo") for row in rows)
    assert any("liked film 1" in row or "age" in row or "occupation" in row for row in rows)
    assert paid.startswith("0.04 dollars; proofs: 0x")


def test_publish__file_of_another_library__answers_as_its_original_on_the_whole_test_set(script):
    code = """
import numpy as np, skops.io, tallystick
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
train, test, labels, _ = train_test_split(*load_digits(return_X_y=True), random_state=0)
model = make_pipeline(StandardScaler(), SVC()).fit(train, labels)
skops.io.dump(model, "machine.skops")
with tallystick.connect(wallet="owner") as network:
    network.authorize(network.publish("machine.skops", fee="0.03").model_id, "alpha")
with tallystick.connect(wallet="requester") as network:
    network.deposit(1)
    answer = network.ask("machine", test)
    print(network.model("machine").manifest.origin.format, len(test))
    print((answer.outputs["class"] == model.predict(test)).all())
    print(np.abs(answer.outputs["scores"] - model.decision_function(test)).max() < 1e-5)
"""
    assert script("-c", code) == "scikit-learn 450\nTrue\nTrue\n"


def test_ask_many__after_the_page__answers_in_order_of_one_transaction(script):
    code = """
import numpy as np, tallystick
with tallystick.connect(wallet="requester") as network:
    network.deposit(1)
    given = [np.full((1, 1, 8, 8), n / 4, np.float32) for n in range(3)]
    before = len(network.requests())
    answers = network.ask_many("digits-cnn", given)
    info = [network.request(one) for one in answers]
    alone = network.ask("digits-cnn", given[2])
    print(np.allclose(alone.value, answers[2].value, atol=1e-5))
    print(len(network.requests()) - before, len({one.timeline[0].block for one in info}))
"""
    assert script("-c", code) == "True\n4 1\n"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("tallystick.connect().ask('1', [[0.0]])", "ConfigInvalid: this needs a wallet"),
        ("tallystick.connect('nowhere')", "ConfigInvalid: no contracts known"),
        ("tallystick.connect(wallet='alcie')", "NotFound: there is no wallet alcie"),
        ("tallystick.connect(rpc_url='http://127.0.0.1:1')", "Unavailable"),
        ("tallystick.connect(wallet='owner').deposit('a lot')", "InputInvalid"),
        ("tallystick.connect(wallet='owner').request('0x12')", "InputInvalid"),
        ("tallystick.connect(wallet='owner').answer('0x' + '00' * 32)", "NotFound"),
    ],
)
def test_network__refused__raises_what_the_page_says(script, code, error):
    attempt = f"""
import tallystick
try:
    {code}
except tallystick.errors.TallystickError as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""
    assert error in script("-c", attempt)


def test_connect__network_file_alone__reads_without_a_home(script):
    code = """
import os, tallystick
home = os.environ.pop("TALLYSTICK_HOME")
with tallystick.connect(home + "/network.json", wallet=home + "/keys/owner.json") as network:
    print(network.balance().tokens > 0)
"""
    assert script("-c", code) == "True\n"
