"""Faults on purpose: named, announced, and as small as they say."""

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from oracle.errors import ConfigInvalid
from tests.contracts.exact import example
from worker import faults

LOG = structlog.get_logger()


def test_parse__unknown_fault__config_invalid():
    with pytest.raises(ConfigInvalid, match="steal"):
        faults.parse("output-byte,steal", LOG)


def test_parse__nothing__says_nothing():
    with capture_logs() as said:
        assert faults.parse("", structlog.get_logger()) == faults.NONE
    assert said == []


def test_parse__faults__are_announced_as_errors():
    with capture_logs() as said:
        found = faults.parse("output-byte, withhold", structlog.get_logger())
    assert found == {faults.OUTPUT_BYTE, faults.WITHHOLD}
    assert said[0]["log_level"] == "error"


def test_spoil_trace__output__differs_in_one_element_and_the_rest_is_true():
    true = example().honest.tensors
    spoiled = faults.spoil_trace(true)
    assert int(np.sum(spoiled[-1] != true[-1])) == 1
    assert all(a is b for a, b in zip(spoiled[:-1], true[:-1], strict=True))
