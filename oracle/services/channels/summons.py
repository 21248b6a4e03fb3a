"""What receipts convict with: answers summoned into the market, and answers to who was refused."""

from dataclasses import dataclass

from oracle.chain.bindings.dispute_game import Receipt
from oracle.chain.bindings.payment_channels import Summoned, SummonEnded
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid
from oracle.protocol.canonical import sha256
from oracle.protocol.receipt_file import ReceiptFile
from oracle.services import requests
from oracle.services.network import Network
from oracle.services.receipts import Sent, send, sent
from oracle.services.request_timeline import RequestInfo
from oracle.types import ZERO32, Bytes32, RequestId


@dataclass(frozen=True, slots=True)
class SummonedAnswer:
    """An answer of a channel that stands in the market now."""

    request_id: RequestId
    transaction: Sent


@dataclass(frozen=True, slots=True)
class OpenSummons:
    """An answer that stands in the market, and whose it is."""

    channel_id: Bytes32
    info: RequestInfo

    @property
    def index(self) -> int:
        """Of the answer in its channel."""
        return self.info.request.nonce


def summon(network: Network, wallet: Wallet, file: ReceiptFile) -> SummonedAnswer:
    """Write an answer into the market, where it is disputed like every delivery.

    The payer's prepaid balance pays its fee once more, which a conviction brings back. The input
    is published, and the answer when it is here: a committee compares with it, and the operator
    of a wrong one would not show it.

    Raises:
        InputInvalid: the input's bytes are not here, or are another question's.
        ContractError: the wallet is not the payer, it is too late, or the balance is too small.
    """
    receipt = file.receipt
    network.ipfs.publish_bytes(require_input(file))
    if file.output is not None and sha256(file.output) == receipt.output_root:
        network.ipfs.publish_bytes(file.output)  # of a float model: its root is its CID
    signed = Receipt(receipt.output_root, receipt.trace_root, receipt.signature)
    channel = file.channel
    call = network.channels.summon(channel.request(receipt), channel.signer, channel.offer, signed)
    transaction, mined = send(wallet, call)
    return SummonedAnswer(mined.one(Summoned).request_id, transaction)


def report(network: Network, wallet: Wallet, file: ReceiptFile) -> Sent:
    """Prove that an answer went to somebody whom the model's owner had refused.

    Raises:
        ContractError: it is not certain, was proven before, or no stake is left.
    """
    receipt, channel = file.receipt, file.channel
    signed = Receipt(receipt.output_root, receipt.trace_root, receipt.signature)
    request = channel.request(receipt)
    call = network.channels.prove_refused(request, channel.signer, channel.offer, signed)
    return send(wallet, call)[0]


def require_input(file: ReceiptFile) -> bytes:
    """Return the input that a receipt is for.

    Raises:
        InputInvalid: it is not here, or is another question's.
    """
    receipt = file.receipt
    place = receipt.input_cid if receipt.input_cid != ZERO32 else receipt.input_root
    if file.input is None or sha256(file.input) != place:
        raise InputInvalid(
            "the input that was signed is not here, and nobody could dispute without it",
            hint="say --input FILE: its canonical bytes",
        )
    return file.input


def open_summons(network: Network, *offer_ids: Bytes32) -> tuple[OpenSummons, ...]:
    """Return the summoned answers of some offers whose end the channels were not told."""
    if not offer_ids:
        return ()
    place, kinds = network.channels.address, (Summoned, SummonEnded)
    found = {}
    for happened in network.history.read(place, kinds, None, offer_ids):
        if isinstance(event := happened.event, Summoned):
            found[event.request_id] = event.channel_id, happened.block
        elif isinstance(event, SummonEnded):
            found.pop(event.request_id, None)
    return tuple(
        OpenSummons(channel_id, requests.show(network, request_id, since=block))
        for request_id, (channel_id, block) in found.items()
    )


def end(network: Network, wallet: Wallet, offer_id: Bytes32) -> tuple[Sent, ...]:
    """Settle summoned answers that are final, and tell the channels of all that are over."""
    now, calls = network.history.now(), []
    for info in (one.info for one in open_summons(network, offer_id)):
        if info.open:
            assert info.delivery is not None  # a summons delivers
            assert info.final_at is not None
            if now < info.final_at or network.market.open_disputes_of(info.request_id):
                continue
            calls.append(network.market.finalize([info.request], [info.delivery]))
        calls.append(network.channels.end_summon(info.request))
    receipts = wallet.send_all(calls)
    return tuple(sent(call, receipt) for call, receipt in zip(calls, receipts, strict=True))
