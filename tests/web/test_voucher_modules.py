"""What the page signs for a channel is what Python and the contract read. Runs Node, no sockets."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracle.chain import codec, logs
from oracle.chain.bindings.payment_channels import ChannelWithdrawn
from oracle.protocol import channel_wire, receipt_file, vouchers
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_file import ReceiptFile, SignedChannel
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.vouchers import Voucher
from oracle.types import Address, Amount, Bytes32, Offer, Terms, Timestamp
from tests.web.test_modules import NODE, STATIC, run

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node on PATH")

KEY, OPERATOR = b"\x31" * 32, b"\x32" * 32
PAYER = Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
PLACES = [Address("0x" + digit * 40) for digit in "123"]
TERMS = Terms.unpack((1 << 255) | 12_345_678_901_234_567_890)
OFFER = Offer(vouchers.address_of(OPERATOR), 7, 3, TERMS, 2**70)
CHANNEL = SignedChannel(31337, *PLACES, OFFER, PAYER, vouchers.address_of(KEY))
RECEIPT = AnswerReceipt(
    9, Timestamp(1_700_000_000), *(Bytes32(bytes([n] * 32)) for n in (4, 5, 6, 7, 0)), b""
)
# Of index.js in @noble/secp256k1 3.2.0
VENDORED = "ba5aadb469e9208f2da1c9878ab6bb93d2c894f84e6c7ebf9dbf9462741b9fb7"


def given() -> dict[str, Any]:
    """The channel as the page keeps it."""
    offer = {**channel_wire.offer_json(OFFER), "number": str(OFFER.number)}
    return {
        "chainId": CHANNEL.chain_id, "market": CHANNEL.market, "game": CHANNEL.game,
        "channels": CHANNEL.channels, "payer": CHANNEL.payer, "signer": CHANNEL.signer,
        "offer": offer, "key": "0x" + KEY.hex(),
        "receipt": channel_wire.receipt_json(RECEIPT),
    }  # fmt: skip


def test_vendored_curve__bytes__are_those_of_its_release() -> None:
    data = (STATIC / "secp256k1.js").read_bytes()
    assert hashlib.sha256(data).hexdigest() == VENDORED
    assert "MIT License" in (STATIC / "secp256k1.LICENSE.txt").read_text()


def test_digests__of_voucher_close_and_receipt__as_in_python(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        'import * as v from "./vouchers.js"; const { offer, receipt } = given;'
        "const root = '0x' + 'ab'.repeat(32);"
        "console.log(JSON.stringify([v.offerId(offer), v.addressOf(given.key),"
        "v.channelId(given.payer, given.signer, offer), v.requestId(given, receipt),"
        "v.receiptDigest(given, receipt), v.voucherDigest(given, 5n * 10n ** 20n, 9, root),"
        "v.closeDigest(given, '77', 1700000000)]));",
        given(),
    )
    domain = vouchers.separator(CHANNEL.chain_id, CHANNEL.channels)
    root = Bytes32(b"\xab" * 32)
    voucher = Voucher(PAYER, CHANNEL.offer_id, Amount(5 * 10**20), 9, root)
    close = vouchers.close_digest(domain, CHANNEL.channel_id, Amount(77), Timestamp(1_700_000_000))
    assert found == [
        "0x" + CHANNEL.offer_id.hex(), CHANNEL.signer.lower(), "0x" + CHANNEL.channel_id.hex(),
        "0x" + CHANNEL.request_id(RECEIPT).hex(), "0x" + CHANNEL.digest(RECEIPT).hex(),
        "0x" + vouchers.voucher_digest(domain, voucher).hex(), "0x" + close.hex(),
    ]  # fmt: skip


def test_sign__a_digest__python_reads_the_signer_and_the_page_reads_pythons(tmp_path: Path) -> None:
    digests = [Bytes32(hashlib.sha256(bytes([n])).digest()) for n in range(20)]
    found = run(
        tmp_path,
        'import * as v from "./vouchers.js"; const out = [];'
        "for (const [digest, signature] of given.pairs) out.push(["
        "await v.sign(given.key, digest), await v.signerOf(digest, signature)]);"
        "console.log(JSON.stringify(out));",
        {
            "key": "0x" + KEY.hex(),
            "pairs": [["0x" + d.hex(), "0x" + vouchers.sign(OPERATOR, d).hex()] for d in digests],
        },
    )
    for digest, (signed, signer) in zip(digests, found, strict=True):
        assert vouchers.signer_of(digest, bytes.fromhex(signed[2:])) == CHANNEL.signer
        assert signer == OFFER.operator.lower()


@pytest.mark.parametrize("signature", ["", "0x", "0x" + "00" * 65, "0x" + "ff" * 65, "nonsense"])
def test_signer_of__no_signature__is_nobody(tmp_path: Path, signature: str) -> None:
    found = run(
        tmp_path,
        'import { signerOf } from "./vouchers.js";'
        "console.log(JSON.stringify(await signerOf('0x' + '01'.repeat(32), given)));",
        signature,
    )
    assert found == ""


def test_new_key__made_twice__differs(tmp_path: Path) -> None:
    first, second = run(
        tmp_path,
        'import { newKey } from "./vouchers.js";console.log(JSON.stringify([newKey(), newKey()]));',
        None,
    )
    assert first != second
    assert len(bytes.fromhex(first[2:])) == 32


def test_root__as_receipts_come__as_in_python(tmp_path: Path) -> None:
    leaves = [Bytes32(hashlib.sha256(bytes([n])).digest()) for n in range(20)]
    found = run(
        tmp_path,
        'import { grown, rootOf } from "./vouchers.js"; let tree = { count: 0, peaks: [] };'
        "const roots = [rootOf(tree)];"
        "for (const leaf of given) { tree = grown(tree, leaf); roots.push(rootOf(tree)); }"
        "console.log(JSON.stringify(roots));",
        ["0x" + leaf.hex() for leaf in leaves],
    )
    wanted = [ReceiptTree(leaves[:n]).root for n in range(21)]
    assert found == ["0x" + root.hex() for root in wanted]


def test_file_of__a_kept_receipt__is_one_that_verify_reads(tmp_path: Path) -> None:
    signed = replace(RECEIPT, signature=vouchers.sign(OPERATOR, CHANNEL.digest(RECEIPT)))
    question = bytes(range(256)) * 300  # more than one piece of base64
    found = run(
        tmp_path,
        "globalThis.indexedDB = { open: () => ({}) };"
        'const { fileOf } = await import("./kept.js");'
        'const { unhex } = await import("./encoding.js");'
        "const kept = { ...given, input: unhex(given.input), output: unhex(given.output) };"
        "console.log(JSON.stringify(fileOf(given, kept)));",
        {
            **given(),
            "receipt": channel_wire.receipt_json(signed),
            "input": "0x" + question.hex(), "output": "0x0102",
        },
    )  # fmt: skip
    read = receipt_file.read(receipt_file.json.dumps(found).encode())
    assert read == ReceiptFile(CHANNEL, signed, input=question, output=b"\1\2")


def test_calldata__of_a_channel__as_the_abi_says(tmp_path: Path) -> None:
    abi = codec.interface("PaymentChannels")
    offer = "(address,uint256,uint256,uint256,uint256)"
    found = run(
        tmp_path,
        'import { calldata, multicallCalldata, topicOf } from "./encoding.js";'
        'import { offerWords } from "./vouchers.js"; const { payer, signer, offer } = given;'
        "const words = offerWords(offer);"
        f"const opens = 'open(address,address,{offer},uint256)';"
        "const open = calldata(opens, payer, signer, ...words, 5n);"
        f"const close = calldata('close(address,{offer},uint256)', signer, ...words, 1700000000);"
        "console.log(JSON.stringify([multicallCalldata([open, close]),"
        f"calldata('closeAgreed(address,{offer},uint256,uint256,bytes)', signer, ...words, '77', 9,"
        "'0x' + 'cd'.repeat(65)),"
        f"calldata('withdraw(address,address,{offer})', payer, signer, ...words),"
        "topicOf('ChannelWithdrawn(bytes32,address,uint256)')]));",
        given(),
    )
    signer = CHANNEL.signer
    both = [
        abi["open"].encode((PAYER, signer, OFFER, 5)),
        abi["close"].encode((signer, OFFER, 1_700_000_000)),
    ]
    assert found == [
        "0x" + abi["multicall"].encode((both,)).hex(),
        "0x" + abi["closeAgreed"].encode((signer, OFFER, 77, 9, b"\xcd" * 65)).hex(),
        "0x" + abi["withdraw"].encode((PAYER, signer, OFFER)).hex(),
        "0x" + logs.topic_of(ChannelWithdrawn).hex(),
    ]
