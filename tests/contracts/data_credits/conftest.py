"""A fresh deployment in this process for each test; an account stands in for the game."""

import pytest

from tests.contracts.data_credits.play import RIVAL, Data


@pytest.fixture(autouse=True)
def isolation():
    """Leave Brownie's chain alone: nothing here uses it."""


@pytest.fixture
def data():
    return Data(game=RIVAL)
