"""Which token is drawn: of the likeliest, by noise that anyone can compute."""

import numpy as np
import pytest

from worker.text import drawing

LOGITS = np.random.default_rng(0).normal(0, 3, 5000).astype(np.float32)
ALL = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 3}


def test_top_logprobs__against_the_whole_softmax__are_its_largest():
    exact = LOGITS.astype(np.float64) - np.log(np.exp(LOGITS.astype(np.float64)).sum())
    wanted = np.sort(exact)[::-1][:8] * 1024
    np.testing.assert_allclose(drawing.top_logprobs(LOGITS), wanted, atol=1)


@pytest.mark.parametrize("count", [1, 8, 40, 700, 5000, 6000])
def test_likeliest__any_count__are_the_largest(count):
    found = set(drawing.likeliest(LOGITS, count).tolist())
    assert found == set(np.argsort(-LOGITS)[:count].tolist())


def test_draw__many_seeds__has_the_frequencies_of_the_softmax():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    drawn = [drawing.draw(logits, {**ALL, "seed": seed}, 0) for seed in range(4000)]
    shares = np.bincount(drawn, minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.15, 0.05], atol=0.03)


def test_draw__top_k_and_top_p__leave_the_rest_out():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    few = {drawing.draw(logits, {**ALL, "top_k": 2, "seed": n}, 0) for n in range(200)}
    most = {drawing.draw(logits, {**ALL, "top_p": 0.79, "seed": n}, 0) for n in range(200)}
    assert few == most == {0, 1}


@pytest.mark.parametrize(
    "params",
    [ALL, {**ALL, "temperature": 0}, {**ALL, "top_k": 40, "top_p": 0.9, "temperature": 0.7}],
)
def test_gap__of_the_drawn_token__is_zero_and_of_another_is_not(params):
    for step in range(50):
        token = drawing.draw(LOGITS, params, step)
        assert drawing.gap(LOGITS, token, params, step, 0.3) == 0
        unlikely = int(np.argmin(LOGITS))
        assert drawing.gap(LOGITS, unlikely, params, step, 0.3) > 1


def test_gap__logits_that_differ_a_little__is_at_most_twice_that():
    params = {**ALL, "top_k": 40, "top_p": 0.9}
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (100, len(LOGITS))).astype(np.float32)
    for step in range(100):
        token = drawing.draw(LOGITS + noise[step], params, step)
        assert drawing.gap(LOGITS, token, params, step, 0.3) <= 0.2 + 1e-5
