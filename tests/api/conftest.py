"""What the REST tests share: the development network's gateway, and a model to ask."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from oracle.devnet.network import Devnet
from oracle.gateway import api_keys
from oracle.gateway import gateway as gateways
from oracle.services import operators, publishing
from oracle.services.publishing import SaleTerms
from oracle.store import Store
from oracle.types import Amount
from tests.support.waiting import wait_until
from tests.worker.builders import write_digits

DOLLAR = 10**6
FEE = 10_000  # a cent
INFER = "/v2/models/digits/infer"
GIVEN = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.0] * 64}


@dataclass(frozen=True)
class Door:
    """A running gateway, and a key to it."""

    devnet: Devnet
    url: str
    secret: str
    store: Store  # the gateway's own

    def client(self, secret: str | None = None, **options) -> httpx.Client:
        """A client that sends the key, and waits long enough for a cold worker."""
        secret = self.secret if secret is None else secret
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        options = {"timeout": 300, **options}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, **options)

    def mint(self, name: str, budget: int = DOLLAR, **options) -> str:
        return api_keys.mint(self.store, name, Amount(budget), **options).secret

    def spent(self, name: str) -> int:
        """What a key's requests cost so far."""
        return next(key.spent for key in api_keys.listed(self.store) if key.name == name)


@pytest.fixture(scope="package")
def door(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The network's gateway, with `digits` published."""
    publish(devnet, write_digits(tmp_path_factory.mktemp("rest") / "digits"))
    store = Store.open(gateways.store_url(devnet.settings))
    secret = api_keys.mint(store, "tests", Amount(100 * DOLLAR)).secret
    door = Door(devnet, devnet.rest_url, secret, store)
    with door.client() as client:  # a cold worker may take longer than the gateway waits
        wait_until(lambda: client.post(INFER, json={"inputs": [GIVEN]}).is_success)
    yield door
    store.close()


def publish(devnet: Devnet, folder: Path, **sale: int) -> int:
    """Publish a model that alpha serves and everybody may use; return its id."""
    owner = devnet.wallet("owner")
    terms = SaleTerms(**{"fee": Amount(FEE), "challenge_window": 60, **sale})
    published = publishing.publish(devnet.network, owner, folder, terms)
    operators.authorize(devnet.network, owner, published.model_id, devnet.accounts["alpha"])
    return published.model_id


def wait_answered(client: httpx.Client, accepted: dict[str, str]) -> httpx.Response:
    """Ask for an accepted request's answer until it is there."""

    def given() -> httpx.Response | None:
        answered = client.get(accepted["answer"], params={"wait": 30})
        return answered if answered.status_code != 202 else None

    answered: httpx.Response = wait_until(given, "an answer")
    return answered


@pytest.fixture
def client(door: Door) -> Iterator[httpx.Client]:
    """A client with a key that may ask everything."""
    with door.client() as opened:
        yield opened
