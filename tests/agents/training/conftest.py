"""A round's people on a chain, as the tests of services play them."""

from tests.services.training.conftest import play

__all__ = ["play"]
