"""Answers over a channel on a real chain: paid by vouchers, signed, claimed and settled."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.worker.builders import digits_module, images
from tests.worker.endpoint.conftest import FEE, Shop

pytestmark = pytest.mark.real


def test_channel__two_hundred_answers__claimed_settled_and_paid(shop: Shop) -> None:
    network, operator = shop.world.network, shop.world.operator
    before = network.market.balance_of(operator.address)
    with shop.serving():
        channel = shop.channel(deposit=200 * FEE)
        given = [images(seed=n) for n in range(200)]
        with ThreadPoolExecutor(8) as askers:
            answers = list(askers.map(channel.ask, given))
        assert channel.answered == 200
        for asked, one in zip(given[:5], answers, strict=False):
            with torch.inference_mode():
                wanted = digits_module()(torch.from_numpy(asked)).numpy()
            np.testing.assert_allclose(one.outputs["logits"], wanted, atol=1e-5)
        assert sorted(one.receipt.index for one in answers) == list(range(1, 201))
        assert network.channels.channel_of(channel.channel_id).claimed == 0
    held = network.channels.channel_of(channel.channel_id)
    assert (held.deposit, held.claimed) == (200 * FEE, 200 * FEE)
    assert network.market.balance_of(operator.address) == before
    shop.world.pass_time(61)
    with shop.serving():
        pass  # claims at its end: what is due is settled
    terms = shop.offer.terms
    share = 200 * FEE * terms.operator_bps // 10_000
    assert network.market.balance_of(operator.address) - before == share
