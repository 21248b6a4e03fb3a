"""TestDollar: faucet, metadata, and the EIP-3009 authorizations that x402 payments use."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import DOLLAR, digest, refuses
from tests.contracts.signing import sign, typed, vrs

MOVE = typed(
    "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
)
TYPES = {
    "transferWithAuthorization": {"TransferWithAuthorization": MOVE},
    "receiveWithAuthorization": {"ReceiveWithAuthorization": MOVE},
    "cancelAuthorization": {"CancelAuthorization": typed("address authorizer,bytes32 nonce")},
}
NONCE = digest("nonce")


@pytest.fixture
def carol(accounts, token, deployer):
    account = accounts.add()
    token.faucet(account, DOLLAR, {"from": deployer})
    return account


@pytest.fixture
def authorize(token, carol, bob):
    """Sign one dollar from carol to bob, and return the call's arguments."""

    def authorize(name, start=0, end=None):
        fields = (carol.address, bob.address, DOLLAR, start, end or now() + 100, NONCE)
        types = TYPES[name]
        message = {
            field["name"]: value
            for field, value in zip(next(iter(types.values())), fields, strict=True)
        }
        return (*fields, *vrs(sign(carol, token, "Test Dollar", types, message)))

    return authorize


def test_faucet__above_its_limit__reverts(token, bob):
    with refuses("FaucetAmountTooHigh", 10**12 + 1, 10**12):
        token.faucet(bob, 10**12 + 1, {"from": bob})


def test_faucet__for_anyone__mints(token, alice, bob):
    supply = token.totalSupply()
    token.faucet(bob, 10**12, {"from": alice})
    assert (token.balanceOf(bob), token.totalSupply()) == (10**12, supply + 10**12)


def test_metadata__is_that_of_a_stablecoin(token):
    assert (token.name(), token.symbol()) == ("Test Dollar", "TUSD")
    assert (token.decimals(), token.version()) == (6, "1")


@pytest.mark.life
@pytest.mark.parametrize("name", ["transferWithAuthorization", "receiveWithAuthorization"])
def test_authorized_move__in_order__moves_once(token, authorize, carol, bob, name):
    call, arguments = getattr(token, name), authorize(name)
    call(*arguments, {"from": bob})
    assert (token.balanceOf(carol), token.balanceOf(bob)) == (0, DOLLAR)
    assert token.authorizationState(carol, NONCE)
    with refuses("ERC3009UsedAuthorization", carol, NONCE):
        call(*arguments, {"from": bob})


def test_transfer_with_authorization__at_its_end__reverts(token, authorize, bob):
    end = now() + 100
    arguments = authorize("transferWithAuthorization", end=end)
    at(end)
    with refuses("ERC3009InvalidAuthorizationTime", 0, end):
        token.transferWithAuthorization(*arguments, {"from": bob})


@pytest.fixture
def contract_payer(token, deployer, TestWallet):
    wallet = TestWallet.deploy({"from": deployer})
    token.faucet(wallet, DOLLAR, {"from": deployer})
    return wallet


def unsigned(payer, bob):
    fields = (payer.address, bob.address, DOLLAR, 0, now() + 100, NONCE)
    return fields, dict(zip((field["name"] for field in MOVE), fields, strict=True))


def test_transfer_with_authorization__contract_did_not_sign__reverts(token, contract_payer, bob):
    fields, _ = unsigned(contract_payer, bob)
    contract_payer.approve(digest("something else"), {"from": bob})
    with refuses("ERC3009InvalidSignature"):
        token.transferWithAuthorization(*fields, b"", {"from": bob})


@pytest.mark.life
def test_transfer_with_authorization__contract_signed__moves_once(
    token, contract_payer, carol, bob
):
    fields, message = unsigned(contract_payer, bob)
    signed = sign(carol, token, "Test Dollar", TYPES["transferWithAuthorization"], message)
    contract_payer.approve(signed.message_hash, {"from": bob})
    token.transferWithAuthorization(*fields, b"", {"from": bob})
    assert (token.balanceOf(contract_payer), token.balanceOf(bob)) == (0, DOLLAR)
    with refuses("ERC3009UsedAuthorization", contract_payer, NONCE):
        token.transferWithAuthorization(*fields, b"", {"from": bob})


def test_transfer_with_authorization__signature_of_a_key_in_one_piece__moves_once(
    token, carol, bob, alice
):
    fields, message = unsigned(carol, bob)
    forged = sign(alice, token, "Test Dollar", TYPES["transferWithAuthorization"], message)
    with refuses("ERC3009InvalidSignature"):
        token.transferWithAuthorization(*fields, forged.signature, {"from": bob})
    signed = sign(carol, token, "Test Dollar", TYPES["transferWithAuthorization"], message)
    token.transferWithAuthorization(*fields, signed.signature, {"from": bob})
    assert (token.balanceOf(carol), token.balanceOf(bob)) == (0, DOLLAR)


def test_receive_with_authorization__by_somebody_else__reverts(token, authorize, alice, bob):
    arguments = authorize("receiveWithAuthorization")
    with refuses("ERC20InvalidReceiver", bob):
        token.receiveWithAuthorization(*arguments, {"from": alice})


def test_cancel_authorization__cancelled__cannot_be_used(token, authorize, carol, bob):
    message = {"authorizer": carol.address, "nonce": NONCE}
    signed = sign(carol, token, "Test Dollar", TYPES["cancelAuthorization"], message)
    token.cancelAuthorization(carol, NONCE, *vrs(signed), {"from": bob})
    arguments = authorize("transferWithAuthorization")
    with refuses("ERC3009UsedAuthorization", carol, NONCE):
        token.transferWithAuthorization(*arguments, {"from": bob})
