"""The golden vectors of tests/vectors/, made again by the contracts themselves.

The contracts' code is put at the vectors' addresses, the chain's clock is put back to the vectors'
time, and the vectors' account signs: what comes out has to be the vectors, digit for digit.
"""

import hashlib
import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils import keccak

from oracle.types import Terms
from tests.contracts.chain import VirtualMachineError, at, chain, rpc
from tests.contracts.market import NO_CLAIM, ZERO32, publication, refuses, requested
from tests.contracts.signing import vrs

pytestmark = pytest.mark.node  # code put at the vectors' addresses, and their time

VECTORS = Path(__file__).parents[1] / "vectors"
TIME = 1_790_000_000  # when the vectors' request is made and their messages end
KEY = "0x4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d"  # Ganache's first
WORDS = ("origin", "service", "target", "inputRoot", "inputCid", "params", "envelope", "terms")
LANE_MAX = 2**32 - 1


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


@pytest.fixture
def signer(accounts):
    """The account of the vectors, with gas, an hour before their time."""
    account = accounts.add(KEY)
    rpc("anvil_setBalance", account.address, hex(10**18))
    rpc("evm_setTime", TIME - 3_600)
    rpc("evm_mine")
    return account


@pytest.fixture
def moved():
    """Return a function that puts a contract's code at another address."""

    def move(container, contract, address):
        rpc("anvil_setCode", address, rpc("eth_getCode", contract.address, "latest"))
        return container.at(address)

    return move


def signed(text):
    """Sign a digest as it is: whoever hashes anything else finds another signer."""
    return Account.unsafe_sign_hash(bytes.fromhex(text[2:]), KEY)


def one_bit_off(text):
    return f"{int(text, 16) ^ 1:#066x}"


# ── Model history ───────────────────────────────────────────────────────────────────────────────


def test_publish_version__as_the_first_head_says__makes_that_head(registry, signer):
    vector = load("heads")[0]
    assert (vector["publisher"], vector["timestamp"]) == (signer.address, TIME)
    registry.registerModel("digits", 0, {"from": signer})
    names = ("manifestDigest", "modelRoot", "assurance", "tolerance")
    at(TIME)
    registry.publishVersion(
        vector["modelId"],
        vector["prevHead"],
        publication(**{name: vector[name] for name in names}),
        {"from": signer},
    )
    assert registry.headAt(vector["modelId"], vector["version"]) == vector["head"]


# ── Requests ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def terms(registry, signer):
    """Publish the version that the vectors' request is for; return its terms."""
    fields = load("requests")["usual"]["fields"]
    found = Terms.unpack(int(fields["terms"]))
    registry.registerModel("digits", 0, {"from": signer})
    registry.publishVersion(1, ZERO32, publication(), {"from": signer})
    registry.publishVersion(
        fields["model_id"],
        registry.headOf(1),
        publication(
            assurance=int(found.assurance),
            tolerance=found.tolerance,
            fee=found.fee,
            operatorBps=found.operator_bps,
            dataBps=found.data_bps,
            insuredMultiple=found.insured_multiple,
            challengeWindow=found.challenge_window,
            maxUnits=found.max_units,
        ),
        {"from": signer},
    )
    return found


def order(fields, lane):
    """Return the order of a request of these fields, made at TIME."""
    return (
        fields["model_id"],
        fields["version"],
        lane,
        fields["input_root"],
        fields["input_cid"],
        fields["params"],
        2**64 - 1,
        fields["priority_until"] - TIME,
        fields["expires_at"] - TIME,
        fields["operator"],
        fields["consumer"],
        fields["callback_gas"],
        fields["envelope"],
    )


def test_request__as_the_fields_say__logs_the_words(registry, contract, token, signer, terms):
    vector = load("requests")["usual"]
    fields = vector["fields"]
    assert registry.termsOf(fields["model_id"], fields["version"]) == int(fields["terms"])
    token.faucet(signer, 10 * terms.fee, {"from": signer})
    token.approve(contract, 2**256 - 1, {"from": signer})
    contract.deposit(signer, 10 * terms.fee, {"from": signer})
    for nonce in range(fields["nonce"]):
        contract.request(order(fields, lane=100 + nonce), {"from": signer})
    at(TIME)
    made = requested(contract.request(order(fields, fields["lane"]), {"from": signer}))

    words = [int(str(word), 16) if not isinstance(word, int) else word for word in made]
    assert words == [int(vector["words"][name], 16) for name in WORDS]


def test_request_id_of__at_the_vectors_market__is_the_vectors_id(contract, InferenceMarket, moved):
    vector = load("requests")["usual"]
    assert int(vector["chainId"]) == chain.id
    market = moved(InferenceMarket, contract, vector["market"])
    assert market.requestIdOf([vector["words"][name] for name in WORDS]) == vector["requestId"]


# ── Signed messages ─────────────────────────────────────────────────────────────────────────────


def test_permit__digest_signed__is_the_tokens(token, TestDollar, moved, signer, bob):
    vector = load("messages")["permit"]
    message, domain = vector["typedData"]["message"], vector["typedData"]["domain"]
    dollar = moved(TestDollar, token, domain["verifyingContract"])
    names = ("owner", "spender", "value", "deadline")
    arguments = [message[name] for name in names]
    with pytest.raises(VirtualMachineError, match="ERC2612InvalidSigner"):
        dollar.permit(*arguments, *vrs(signed(one_bit_off(vector["digest"]))), {"from": bob})

    dollar.permit(*arguments, *vrs(signed(vector["digest"])), {"from": bob})

    assert dollar.allowance(signer, message["spender"]) == message["value"]


def test_transfer__digest_signed__is_the_tokens(token, TestDollar, moved, signer, bob):
    vector = load("messages")["transfer"]
    message, domain = vector["typedData"]["message"], vector["typedData"]["domain"]
    dollar = moved(TestDollar, token, domain["verifyingContract"])
    dollar.faucet(signer, message["value"], {"from": bob})
    names = ("from", "to", "value", "validAfter", "validBefore", "nonce")
    arguments = [message[name] for name in names]
    with pytest.raises(VirtualMachineError, match="ERC3009InvalidSignature"):
        dollar.transferWithAuthorization(
            *arguments, *vrs(signed(one_bit_off(vector["digest"]))), {"from": bob}
        )

    dollar.transferWithAuthorization(*arguments, *vrs(signed(vector["digest"])), {"from": bob})

    assert dollar.balanceOf(message["to"]) == message["value"]


def test_request_for__digest_signed__is_the_markets(
    contract, token, InferenceMarket, moved, signer, terms, bob
):
    """Past the signature the copy is told that it is not the market that the model knows."""
    vector = load("messages")["request"]
    message, domain = vector["typedData"]["message"], vector["typedData"]["domain"]
    market = moved(InferenceMarket, contract, domain["verifyingContract"])
    account = f"{2**192 * message['nonce'] + 10 * terms.fee:#066x}"  # nonce above the balance
    where = keccak(bytes(12) + bytes.fromhex(signer.address[2:]) + bytes(32))  # first mapping
    rpc("anvil_setStorageAt", market.address, "0x" + where.hex(), account)
    assert market.nonceOf(signer) == message["nonce"]
    ordered = [field["name"] for field in vector["typedData"]["types"]["Order"]]
    arguments = (
        signer, [message["order"][name] for name in ordered], message["nonce"], message["deadline"],
    )  # fmt: skip
    with refuses("SignatureInvalid", signer):
        market.requestFor(
            *arguments, signed(one_bit_off(vector["digest"])).signature, {"from": bob}
        )
    with refuses("CallerNotMarket", market):
        market.requestFor(*arguments, signed(vector["digest"]).signature, {"from": bob})


# ── Parameters and outputs ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("vector", load("params"), ids=lambda vector: str(vector["lanes"]))
def test_bounds__one_below_a_lane_of_the_word__refuse_that_lane(
    model, access, owner, alice, contract, vector
):
    access.grant(model, alice, 0, 0, 0, {"from": owner})
    lanes = (vector["lanes"] + [0] * 8)[:8]
    for lane, value in enumerate(lanes):
        for high in {max(0, value - 1), value} - {0}:
            limits = [LANE_MAX] * 8
            limits[lane] = high
            maximum = b"".join(limit.to_bytes(4, "big") for limit in limits)
            access.setBounds(model, ZERO32, "0x" + maximum.hex(), {"from": owner})
            if high < value:
                with refuses("ParameterOutOfBounds", model, lane, value, 0, high):
                    access.check(model, alice, vector["word"])
            else:
                access.check(model, alice, vector["word"])


@pytest.mark.parametrize("name", sorted(load("digests")))
def test_post_output__bytes_of_a_file__have_the_digest_of_the_vectors(
    market, contract, operator, bob, name
):
    root = load("digests")[name]["sha256"]
    request = market.request()
    made = contract.deliver(request, NO_CLAIM, (root, ZERO32, 0), {"from": operator})
    delivery = (operator.address, made.timestamp, root)
    contract.demandOutput(request, delivery, {"from": bob})
    data = (VECTORS / name).read_bytes()
    changed = "0x" + hashlib.sha256(data + b"\0").hexdigest()
    with refuses("OutputMismatch", market.id_of(request), changed, root):
        contract.postOutput(request, delivery, data + b"\0", {"from": operator})
    posted = contract.postOutput(request, delivery, data, {"from": operator})
    assert bytes.fromhex(str(posted.events["OutputPosted"]["output"])[2:]) == data
