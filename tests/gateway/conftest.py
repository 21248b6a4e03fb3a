"""What a gateway is tested on: the deployment of the service tests."""

from tests.services.conftest import anvil, contracts, world

__all__ = ["anvil", "contracts", "world"]
