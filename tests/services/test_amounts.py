"""Money, time and accounts as people write them."""

import pytest

from oracle.errors import InputInvalid
from oracle.services import amounts


@pytest.mark.parametrize(
    "text",
    ["", "-1", "1,5", "0.0000001", "1e3", ".5", "1 EUR", "0x10", "nan", "1.", "٣", "9" * 16, "1 2"],
)
def test_parse_amount__not_dollars__refuses(text):
    with pytest.raises(InputInvalid, match=r"is not an amount|decimals"):
        amounts.parse_amount(text)


@pytest.mark.parametrize(
    ("text", "units"),
    [("0", 0), ("0.05", 50_000), ("$1", 10**6), ("1.5 USD", 1_500_000), ("0.000001", 1),
     ("2 dollars", 2 * 10**6), ("0.1000000", 100_000)],
)  # fmt: skip
def test_parse_amount__dollars__returns_units(text, units):
    assert amounts.parse_amount(text) == units


@pytest.mark.parametrize("units", [0, 1, 50_000, 10**6, 123_456_789, 10**18])
def test_format_amount__any__reads_back(units):
    assert amounts.parse_amount(amounts.format_amount(units)) == units


def test_decimal__negative__keeps_the_sign():
    assert amounts.decimal(-1_250_000) == "-1.25"


@pytest.mark.parametrize("text", ["", "-5s", "1.5h", "5 years", "5mm", str(2**32)])
def test_parse_duration__not_a_duration__refuses(text):
    with pytest.raises(InputInvalid, match="is not a duration"):
        amounts.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1w", 604800), ("7", 7), ("0", 0)],
)
def test_parse_duration__units__returns_seconds(text, seconds):
    assert amounts.parse_duration(text) == seconds
    assert amounts.parse_duration(amounts.format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["70", "101%", "-1%", "0.123%", "%"])
def test_parse_share__not_a_percentage__refuses(text):
    with pytest.raises(InputInvalid, match="is not a share"):
        amounts.parse_share(text)


@pytest.mark.parametrize(
    ("text", "bps"), [("70%", 7000), ("2.5%", 250), ("0%", 0), ("100%", 10**4)]
)
def test_parse_share__percentage__returns_basis_points(text, bps):
    assert amounts.parse_share(text) == bps
    assert amounts.parse_share(amounts.format_share(bps)) == bps


@pytest.mark.parametrize("text", ["10", "0/1h", "ten/1h", "10/", "10/1y"])
def test_parse_rate__not_a_rate__refuses(text):
    with pytest.raises(InputInvalid):
        amounts.parse_rate(text)


def test_parse_rate__count_per_time__returns_both():
    assert amounts.parse_rate("10/1h") == (10, 3600)
    assert amounts.parse_rate("none") == (0, 0)
    assert amounts.format_rate(10, 3600) == "10/1h"


def test_parse_address__one_letter_mistyped__says_checksum():
    with pytest.raises(InputInvalid, match="wrong checksum"):
        amounts.parse_address("0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266")


@pytest.mark.parametrize("text", ["", "0x12", "alice", "f39Fd6e51aad88F6F4ce6aB8827279cffFb922"])
def test_parse_address__not_hex__refuses(text):
    with pytest.raises(InputInvalid, match="is not an address"):
        amounts.parse_address(text)


def test_parse_address__lower_case__returns_checksummed():
    text = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    assert amounts.parse_address(text) == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def test_parse_request_id__too_short__refuses():
    with pytest.raises(InputInvalid, match="not a request id"):
        amounts.parse_request_id("0x1234")


@pytest.mark.parametrize(
    ("wei", "text"),
    [(0, "0 ETH"), (5, "5 wei"), (10**18, "1 ETH"), (1_234_567_890_123_456_789, "1.234567 ETH")],
)
def test_format_ether__any__is_short(wei, text):
    assert amounts.format_ether(wei) == text


def test_format_amount__large__has_thousands():
    assert amounts.format_amount(1_234_567_890_000) == "$1,234,567.89"
