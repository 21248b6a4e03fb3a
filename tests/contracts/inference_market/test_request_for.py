"""InferenceMarket.requestFor: requests of wallets that sign and do not pay gas."""

import pytest
from eth_utils import keccak

from tests.contracts.chain import at, chain, now
from tests.contracts.market import DOLLAR, FEE, ZERO, refuses
from tests.contracts.signing import sign, typed

ORDER = (
    "uint256 modelId,uint256 version,uint256 lane,bytes32 inputRoot,bytes32 inputCid,"
    "bytes32 params,uint256 maxFee,uint256 priorityWindow,uint256 lifetime,address operator,"
    "address consumer,uint256 callbackGas,bytes32 envelope"
)
TYPES = {
    "RequestAuthorization": typed("address requester,Order order,uint256 nonce,uint256 deadline"),
    "Order": typed(ORDER),
}


@pytest.fixture
def carol(accounts, market, contract, token, access, owner, deployer):
    """A wallet without ether, with a grant and a balance in the market."""
    account = accounts.add()
    token.faucet(deployer, 10 * DOLLAR, {"from": deployer})
    token.approve(contract, 10 * DOLLAR, {"from": deployer})
    contract.deposit(account, 10 * DOLLAR, {"from": deployer})
    access.grant(1, account, 0, 0, 0, {"from": owner})
    return account


def authorization(requester, order, nonce, deadline):
    fields = [field["name"] for field in TYPES["Order"]]
    return {
        "requester": str(requester),
        "order": {
            name: getattr(value, "address", value)
            for name, value in zip(fields, order, strict=True)
        },
        "nonce": nonce,
        "deadline": deadline,
    }


def signature(account, contract, order, nonce, deadline, **domain):
    message = authorization(account, order, nonce, deadline)
    return sign(account, contract, "Tallystick", TYPES, message, **domain).signature.hex()


def test_request_for__deadline_reached__reverts(market, contract, carol, bob):
    order, deadline = market.order(), now() + 100
    signed = signature(carol, contract, order, 0, deadline)
    at(deadline)
    with refuses("SignatureExpired", deadline):
        contract.requestFor(carol, order, 0, deadline, signed, {"from": bob})


def test_request_for__nonce_of_the_future__reverts(market, contract, carol, bob):
    order, deadline = market.order(), now() + 100
    signed = signature(carol, contract, order, 1, deadline)
    with refuses("NonceStale", carol, 1, 0):
        contract.requestFor(carol, order, 1, deadline, signed, {"from": bob})


def test_request_for__signature_of_somebody_else__reverts(market, contract, carol, bob, accounts):
    order, deadline = market.order(), now() + 100
    signed = signature(accounts.add(), contract, order, 0, deadline)
    with refuses("SignatureInvalid", carol):
        contract.requestFor(carol, order, 0, deadline, signed, {"from": bob})


def test_request_for__another_order_than_signed__reverts(market, contract, carol, bob):
    deadline = now() + 100
    signed = signature(carol, contract, market.order(), 0, deadline)
    with refuses("SignatureInvalid", carol):
        contract.requestFor(carol, market.order(lane=1), 0, deadline, signed, {"from": bob})


@pytest.mark.parametrize("change", [{"chainId": 1}, {"verifyingContract": "0x" + "11" * 20}])
def test_request_for__signed_for_another_chain_or_market__reverts(
    market, contract, carol, bob, change
):
    order, deadline = market.order(), now() + 100
    signed = signature(carol, contract, order, 0, deadline, **change)
    with refuses("SignatureInvalid", carol):
        contract.requestFor(carol, order, 0, deadline, signed, {"from": bob})


def test_request_for__replayed__reverts(market, contract, carol, bob):
    order, deadline = market.order(), now() + 100
    signed = signature(carol, contract, order, 0, deadline)
    contract.requestFor(carol, order, 0, deadline, signed, {"from": bob})
    with refuses("NonceStale", carol, 0, 1):
        contract.requestFor(carol, order, 0, deadline, signed, {"from": bob})


def test_request_for__signed__charges_the_signer(market, contract, carol, bob):
    order, deadline = market.order(lane=4), now() + 100
    signed = signature(carol, contract, order, 0, deadline)
    transaction = contract.requestFor(carol, order, 0, deadline, signed, {"from": bob})
    assert transaction.events["Requested"]["requester"] == carol
    assert contract.balanceOf(carol) == 10 * DOLLAR - FEE
    assert contract.commitmentOf(carol, 4) == transaction.return_value


@pytest.mark.life
def test_request_for__contract_wallet__decides_itself(
    market, contract, token, access, owner, alice, bob, TestWallet
):
    wallet = TestWallet.deploy({"from": bob})
    access.grant(1, wallet, 0, 0, 0, {"from": owner})
    contract.deposit(wallet, DOLLAR, {"from": alice})
    order, deadline = market.order(operator=ZERO, priorityWindow=0), now() + 100
    arguments = (wallet, order, 0, deadline, b"", {"from": bob})
    with refuses("SignatureInvalid", wallet):
        contract.requestFor(*arguments)
    from eth_account._utils.encode_typed_data.encoding_and_hashing import (
        hash_domain,
        hash_eip712_message,
    )

    domain = {
        "name": "Tallystick",
        "version": "1",
        "chainId": chain.id,
        "verifyingContract": contract.address,
    }
    message = authorization(wallet, order, 0, deadline)
    hashed = keccak(b"\x19\x01" + hash_domain(domain) + hash_eip712_message(TYPES, message))
    wallet.approve(hashed, {"from": bob})
    assert contract.requestFor(*arguments).events["Requested"]["requester"] == wallet
