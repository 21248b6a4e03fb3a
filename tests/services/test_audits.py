"""Which deliveries fall to whom: drawn after the fact, the same for everybody who looks."""

import pytest

from oracle.errors import ConfigInvalid
from oracle.services import audits
from oracle.types import Address, RequestId

OPERATORS = [Address("0x" + f"{i:02x}" * 20) for i in range(1, 6)]


def seeds(count: int) -> list[bytes]:
    return [audits.seed(b"\x01" * 32, RequestId(i.to_bytes(32))) for i in range(count)]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_one_in__no_share__refuses(share: float) -> None:
    with pytest.raises(ConfigInvalid, match="between 0 and 1"):
        audits.one_in(share)


@pytest.mark.parametrize(("share", "every"), [(0.0, 0), (0.02, 50), (1.0, 1), (0.3, 3)])
def test_one_in__share__as_documented(share: float, every: int) -> None:
    assert audits.one_in(share) == every


def test_drawn__two_percent__about_one_in_fifty() -> None:
    assert 150 <= sum(audits.drawn(found, 50) for found in seeds(10_000)) <= 250


def test_drawn__share_of_nothing__never() -> None:
    assert not any(audits.drawn(found, 0) for found in seeds(100))


def test_seed__other_block__other_draw() -> None:
    one = RequestId(b"\x07" * 32)
    assert audits.seed(b"\x01" * 32, one) != audits.seed(b"\x02" * 32, one)


def test_auditor__never_who_answered__and_all_get_their_share() -> None:
    chosen = [audits.auditor(found, OPERATORS, OPERATORS[0]) for found in seeds(2000)]
    counts = {operator: chosen.count(operator) for operator in OPERATORS}
    assert counts[OPERATORS[0]] == 0
    assert all(400 <= counts[operator] <= 600 for operator in OPERATORS[1:])


def test_auditor__order_of_operators__does_not_matter() -> None:
    for found in seeds(50):
        first = audits.auditor(found, OPERATORS, OPERATORS[1])
        assert first == audits.auditor(found, OPERATORS[::-1], OPERATORS[1])


def test_auditor__nobody_else__nobody() -> None:
    assert audits.auditor(seeds(1)[0], OPERATORS[:1], OPERATORS[0]) is None
