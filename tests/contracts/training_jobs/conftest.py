"""Nothing here uses Brownie's chain."""

import pytest


@pytest.fixture(autouse=True)
def isolation():
    """Leave Brownie's chain alone."""
