"""Announced endpoints: a stranger's text, which leads nowhere that its reader would regret."""

from dataclasses import replace

import pytest

from oracle.errors import InputInvalid, Refused, Unavailable
from oracle.services.channels import endpoints, offers
from oracle.services.network import Network
from oracle.types import Offer
from tests.services.conftest import World

HERE = "http://127.0.0.1:8552"
HOSTILE = [
    "", "op.example", "ftp://op.example", "http://op.example", "http://10.0.0.1", "https://",
    "https://user:secret@op.example", "https://@op.example", "https://op.example/?to=1",
    "https://op.example/#x", "https://op.example:0", "https://op.example:99999", "https://[::1",
    "https://op.example/\x1b[31m", "https://op.example/\u202e", "https://op .example",
    "https://op.example\\@127.0.0.1", "https://op.example/" + "x" * 300, "file:///etc/passwd",
    "http://127.0.0.1.op.example", "http://localhost@op.example",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE)
def test_parse__what_nobody_should_ask__refused(url: str) -> None:
    with pytest.raises(InputInvalid):
        endpoints.parse(url)


@pytest.mark.parametrize("url", [HERE, "http://[::1]:8552", "https://op.example:8443/tally/"])
def test_parse__public_with_tls_or_loopback__taken(url: str) -> None:
    assert endpoints.parse(url).hostname


def elsewhere(network: Network, private: bool = False) -> Network:
    """The same network as its reader sees one that is not for development."""
    contracts = replace(network.contracts, chain_id=1)
    settings = replace(network.settings, contracts=contracts, private_endpoints=private)
    return replace(network, contracts=contracts, settings=settings)


@pytest.mark.real
@pytest.mark.parametrize(
    "url",
    [HERE, "https://127.1", "https://2130706433", "https://localhost:8552", "https://169.254.169.254",
     "https://10.0.0.1", "https://[::ffff:10.0.0.1]", "https://[fd00::1]", "https://0.0.0.0"],
)  # fmt: skip
def test_reachable__private_address__only_when_allowed(world: World, url: str) -> None:
    with pytest.raises(Refused, match="no public address"):
        endpoints.reachable(elsewhere(world.network), url)
    assert endpoints.reachable(elsewhere(world.network, private=True), url) == url
    assert endpoints.reachable(world.network, url) == url  # a development chain


@pytest.mark.real
def test_reachable__public_address_or_name_of_nobody__told_apart(world: World) -> None:
    network = elsewhere(world.network)
    assert endpoints.reachable(network, "https://1.1.1.1/") == "https://1.1.1.1"
    with pytest.raises(Unavailable):
        endpoints.reachable(network, "https://nobody.invalid")


@pytest.mark.real
def test_announce__last_one_counts_and_is_sent_once(world: World) -> None:
    network, operator = world.network, world.operator
    assert endpoints.announce(network, operator, "https://old.example")
    assert endpoints.announce(network, operator, HERE)
    assert endpoints.announce(network, operator, HERE) is None
    with pytest.raises(InputInvalid):
        endpoints.announce(network, operator, "http://op.example")
    everybody = [operator.address, world.stranger.address]
    assert endpoints.announced(network, everybody) == {operator.address: HERE}
    world.stranger.send(network.channels.announce("\x1b[31m"))
    assert endpoints.announced(network, everybody) == {operator.address: HERE}
    operator.send(network.channels.announce(""))
    assert endpoints.announced(network, everybody) == {}


@pytest.mark.real
def test_announced_offers__open_ones_with_an_endpoint__cheapest_first(world: World) -> None:
    network, operator = world.network, world.operator
    published = world.publish()
    world.serve(1)
    terms = network.registry.terms_of(1, published.version)
    for number, locks in enumerate((1, 2)):
        offer = Offer(operator.address, 1, published.version, terms, number)
        operator.send(network.channels.cover(offer, locks))
    assert offers.announced(network, 1, published.version) == ()
    endpoints.announce(network, operator, HERE)
    found = offers.announced(network, 1, published.version)
    assert [(one.locks, one.endpoint) for one in found] == [(2, HERE), (1, HERE)]
    operator.send(network.channels.uncover(found[0].offer))
    assert [one.locks for one in offers.announced(network, 1, published.version)] == [1]
