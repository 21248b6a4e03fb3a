"""Which token is drawn: of the likeliest, by noise that anyone can compute."""

import numpy as np
import pytest

from worker.text.drawing import Logits

LOGITS = np.random.default_rng(0).normal(0, 3, 5000).astype(np.float32)
ALL = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 3}


@pytest.mark.parametrize("scale", [0.01, 0.3, 1, 2, 6])
def test_top_logprobs__against_the_whole_softmax__are_its_largest(scale):
    logits = LOGITS * np.float32(scale)
    exact = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
    wanted = np.sort(exact)[::-1][:8] * 1024
    np.testing.assert_allclose(Logits(logits).top_logprobs(), wanted, atol=1)


@pytest.mark.parametrize("count", [1, 8, 40, 700, 5000, 6000])
def test_largest__any_count__are_sorted(count):
    np.testing.assert_array_equal(Logits(LOGITS).largest(count), np.sort(LOGITS)[::-1][:count])


@pytest.mark.parametrize("where", [slice(0, 1), slice(700, 710), slice(None)])
@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_draw__of_what_is_no_number__is_a_token_that_is_drawn(where, what):
    broken = LOGITS.copy()
    broken[where] = what
    for params in (ALL, {**ALL, "temperature": 0}, {**ALL, "top_k": 40, "top_p": 0.9}):
        token = Logits(broken).draw(params, 0)
        assert Logits(broken).gap(token, params, 0, 0.3) == 0
    assert len(Logits(broken).top_logprobs()) == 8


def test_draw__many_seeds__has_the_frequencies_of_the_softmax():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    drawn = [Logits(logits).draw({**ALL, "seed": seed}, 0) for seed in range(4000)]
    shares = np.bincount(drawn, minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.15, 0.05], atol=0.03)


def test_draw__top_k_and_top_p__leave_the_rest_out():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    few = {Logits(logits).draw({**ALL, "top_k": 2, "seed": n}, 0) for n in range(200)}
    most = {Logits(logits).draw({**ALL, "top_p": 0.79, "seed": n}, 0) for n in range(200)}
    assert few == most == {0, 1}


@pytest.mark.parametrize(
    "params",
    [ALL, {**ALL, "temperature": 0}, {**ALL, "top_k": 40, "top_p": 0.9, "temperature": 0.7}],
)
def test_gap__of_the_drawn_token__is_zero_and_of_another_is_not(params):
    for step in range(50):
        token = Logits(LOGITS).draw(params, step)
        assert Logits(LOGITS).gap(token, params, step, 0.3) == 0
        unlikely = int(np.argmin(LOGITS))
        assert Logits(LOGITS).gap(unlikely, params, step, 0.3) > 1


@pytest.mark.parametrize(
    ("few", "most"),
    [({"top_k": 40}, 1.2), ({"top_p": 0.9}, 2.4), ({"top_k": 40, "top_p": 0.9}, 2.4)],
)
def test_gap__what_is_drawn_from_ends_elsewhere__is_about_what_logits_differ_by(few, most):
    params, flat = {**ALL, **few}, LOGITS * np.float32(0.5)
    noise = np.random.default_rng(1).uniform(-0.6, 0.6, (300, len(LOGITS))).astype(np.float32)
    gaps = []
    for step in range(300):
        token = Logits(flat + noise[step]).draw(params, step)
        gaps.append(Logits(flat).gap(token, params, step, 0.1))
    assert 0.1 < max(gaps) <= most


def test_gap__logits_that_differ_a_little__is_at_most_twice_that():
    params = {**ALL, "top_k": 40, "top_p": 0.9}
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (100, len(LOGITS))).astype(np.float32)
    for step in range(100):
        token = Logits(LOGITS + noise[step]).draw(params, step)
        assert Logits(LOGITS).gap(token, params, step, 0.3) <= 0.2 + 1e-5
