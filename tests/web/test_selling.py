"""A model's form where an operator sells over channels: what its page may ask, bytes both ways."""

import base64
import json

import numpy as np
import pytest

from oracle.exact import form
from oracle.protocol import tensor, vouchers
from oracle.services import models
from oracle.services.channels import endpoints
from oracle.types import Offer
from tests.services.conftest import World
from tests.web.conftest import Browse

TRY = "/models/1/try"
URL = "http://127.0.0.1:8999"
ROWS = json.dumps([[[[0.25, 0.25], [0.25, 0.25]]]])

pytestmark = pytest.mark.real


@pytest.fixture
def sold(world: World) -> World:
    """A model whose operator has put stake behind an offer, and says where it answers."""
    world.publish()
    world.serve(1)
    network, operator = world.network, world.operator
    terms = network.registry.terms_of(1, 1)
    operator.send(network.channels.cover(Offer(operator.address, 1, 1, terms, 2**60), 1))
    endpoints.announce(network, operator, URL)
    return world


def policy(browse: Browse, path: str = TRY) -> str:
    return browse().get(path).headers["content-security-policy"]


def test_try__nobody_sells__has_no_channel_and_asks_nobody_elsewhere(
    world: World, browse: Browse
) -> None:
    world.publish()
    assert 'id="channel"' not in browse().get(TRY).text
    assert "connect-src 'self';" in policy(browse)


def test_try__operator_sells__page_may_ask_its_endpoint_and_no_other_page_may(
    sold: World, browse: Browse
) -> None:
    page = browse().get(TRY).text
    found = json.loads(page.split('id="form-data">')[1].split("</script>")[0])["sale"]
    terms = sold.network.registry.terms_of(1, 1)
    offer = Offer(sold.operator.address, 1, 1, terms, 2**60)
    assert (found["url"], found["offer"]["number"]) == (URL, str(2**60))
    assert found["offer"]["offerId"] == "0x" + vouchers.offer_id(offer).hex()
    assert f"connect-src 'self' {URL};" in policy(browse)
    assert URL not in policy(browse, "/models/1")


@pytest.mark.parametrize("url", ["https://a;script-src", "https://x,y", "https://'self'"])
def test_try__announced_url_with_signs_of_a_policy__is_not_in_the_policy(
    sold: World, browse: Browse, url: str
) -> None:
    sold.operator.send(sold.network.channels.announce(url))
    assert "connect-src 'self'; form-action" in policy(browse)


def test_encode_and_decode__a_question__are_the_bytes_that_an_endpoint_takes_and_gives(
    sold: World, browse: Browse
) -> None:
    query = {"model": 1, "version": 1}
    client, manifest = browse(), models.manifest(sold.network, 1, 1)
    given = client.post("/page/encode", params={**query, "name": "rows.json"}, content=ROWS).json()
    encoded = base64.b64decode(given["input"])
    (array,) = form.of(manifest).decode_inputs(encoded).values()
    assert array.tolist() == json.loads(ROWS)
    assert given["params"] == "0x" + manifest.pack_params({}).hex()
    (output,) = manifest.outputs
    answer = np.arange(3, dtype=np.float32).reshape(1, 3)
    shown = client.post("/page/decode", params=query, content=tensor.encode({output.name: answer}))
    assert shown.json()["outputs"][0]["values"] == [0, 1, 2]
    refused = client.post("/page/decode", params=query, content=b"no tensors")
    assert (refused.status_code, refused.json()["title"]) == (422, "InputInvalid")
