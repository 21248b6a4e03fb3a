"""The world of the service tests."""

from tests.services.conftest import anvil, contracts, world

__all__ = ["anvil", "contracts", "world"]
