"""What receipts say by themselves, each finding a sentence. Pure.

A finding is checked, wrong, or was not checked, and says why. Nothing follows from silence.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from oracle.errors import InputInvalid
from oracle.exact import files as records
from oracle.protocol import tensor, vouchers
from oracle.protocol.receipt_file import ReceiptFile
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.vouchers import Voucher
from oracle.services.channels import offers
from oracle.services.channels.offers import OfferState
from oracle.services.request_timeline import RequestState, Words
from oracle.types import ZERO32, Assurance, Bytes32

SENTENCES = {
    "receipt.signature.checked": "{operator} signed it for this payer, channel and index",
    "receipt.signature.contract": "the contract {operator} says on chain that it signed it",
    "receipt.signature.wrong": "{signer} signed it, not {operator}; only the chain knows whether "
    "that is a contract that signs otherwise",
    "receipt.signature.unreadable": "it is no signature: {why}",
    "receipt.question.checked": "{size} bytes have the digest that was signed",
    "receipt.question.wrong": "the bytes given are not those that were asked",
    "receipt.question.missing": "the input's bytes are not here",
    "receipt.answer.checked": "{size} bytes have the digest that was signed",
    "receipt.answer.wrong": "the bytes given are not those that were signed",
    "receipt.answer.missing": "the answer's bytes are not here",
    "receipt.root.checked": "number {index} of {count} below {root}",
    "receipt.root.wrong": "the proof does not lead to {root}",
    "receipt.root.missing": "no proof is given",
    "receipt.order.checked": "1 to {count} without a gap; they make the root {root}",
    "receipt.order.gap": "{count} of 1 to {last} are here",
    "receipt.equivocation.checked": "none of {count} receipts has the index of another",
    "receipt.equivocation.wrong": "two receipts are signed for index {index}: only one of them can "
    "be below a voucher's root",
    "receipt.equivocation.request": "two answers are signed for one question, index {index}: once "
    "one is summoned, the other convicts",
    "receipt.network.checked": "chain {chain}, and the contracts of this network",
    "receipt.network.other": "it is for contracts on chain {theirs} that are not this network's",
    "receipt.network.unknown": "{why}",
    "receipt.offer.checked": "{state}; {locks} convictions are paid for from now on",
    "receipt.offer.wrong": "no stake ever stood behind this offer",
    "receipt.operator.checked": "may serve the model now",
    "receipt.operator.ended": "may no longer serve the model; its stake stands as the offer says",
    "receipt.price.checked": "{fee}, as the registry has it now",
    "receipt.price.changed": "{fee}, an earlier price of this version",
    "receipt.access.checked": "the owner's rules, as they stand now, let the payer ask",
    "receipt.access.unknown": "the rules changed since, and the chain does not keep what they were",
    "receipt.access.wrong": "the model's owner had refused {payer}",
    "receipt.payment.claimed": "claimed: {claimed} cover answers 1 to {answers}",
    "receipt.payment.open": "not claimed yet; the channel holds {left}",
    "receipt.payment.uncovered": "not claimed, and the channel holds {left}",
    "receipt.voucher.below": "number {index} of {count} below {root}, the claimed voucher's root",
    "receipt.voucher.later": "the claimed voucher's root is over 1 to {count}; this came later",
    "receipt.voucher.first": "the claimed voucher was signed before the first receipt came",
    "receipt.voucher.wrong": "the claimed voucher's root, {root}, is over other receipts than "
    "those that are here",
    "receipt.voucher.other": "number {index} below the claimed voucher's root, {root}, is "
    "another one",
    "receipt.voucher.none": "no voucher of this channel is claimed yet",
    "receipt.voucher.missing": "the claimed voucher's root is {root}; which receipts it is over "
    "can be told with all from 1 on, and {known} of them are here",
    "receipt.voucher.unknown": "the claimed voucher cannot be read: {why}",
    "receipt.summons.none": "not summoned; its payer may until {until}",
    "receipt.summons.late": "not summoned, and too late since {until}",
    "receipt.summons.done": "summoned: {state}",
    "receipt.recomputed.right": "every integer is what the model gives",
    "receipt.recomputed.wrong": "the model gives {expected}",
    "receipt.recomputed.element": "the model gives {expected}; element [{row}, {col}] is {got}, "
    "not {right}",
    "receipt.recomputed.float": "a float model's: nobody can repeat it to the bit",
    "receipt.recomputed.unknown": "{why}",
    "receipt.recomputed.skipped": "not asked for",
    "receipt.next.forged": "this file proves nothing against {operator}: get it anew from who "
    "was answered",
    "receipt.next.bytes": "find the bytes that belong to it, or prove nothing with them",
    "receipt.next.refused": "anyone can have a lock of {operator} burned: `tallystick receipts "
    "report RECEIPT --key NAME`",
    "receipt.next.summon": "{payer} summons it before {until}: `tallystick channel summon "
    "RECEIPT`; then `tallystick challenger run --request {request} --key NAME` convicts",
    "receipt.next.late": "it was to be summoned before {until}: close the channel, ask somebody "
    "else",
    "receipt.next.unfunded": "no stake is left behind the offer, so nobody can be convicted: close "
    "the channel, ask somebody else",
    "receipt.next.summoned": "`tallystick verify {request}` says how the dispute stands",
    "receipt.next.committee": "if you doubt it, {payer} summons it before {until}: `tallystick "
    "channel summon RECEIPT`; then `tallystick committee challenge {request} --key NAME`",
    "receipt.next.unknown": "what was not checked is not known",
    "receipt.next.nothing": "nothing to do",
    **{f"offer.{state.name}": state.value for state in OfferState},
    **{f"state.{state.name}": state.value for state in RequestState},
}


def english(key: str, **values: object) -> str:
    """Return a sentence of `SENTENCES` with its `{placeholders}` filled."""
    return SENTENCES[key].format_map(values)


class CheckResult(Enum):
    """What one check found."""

    CHECKED = "checked"
    UNKNOWN = "not checked"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class ReceiptFinding:
    """One thing that was looked at."""

    what: str  # signature, question, answer, …
    result: CheckResult
    why: str  # a sentence


def offline(file: ReceiptFile, t: Words = english) -> tuple[ReceiptFinding, ...]:
    """Return what a file says by itself. Pure."""
    exact = file.channel.offer.terms.assurance is Assurance.EXACT
    roots = (records.input_root, records.output_root) if exact else (tensor.digest, tensor.digest)
    receipt = file.receipt
    return (
        _signature(file, t),
        _bytes("question", file.input, roots[0], receipt.input_root, t),
        _bytes("answer", file.output, roots[1], receipt.output_root, t),
        _below(file, t),
    )


def together(files: Sequence[ReceiptFile], t: Words = english) -> tuple[ReceiptFinding, ...]:
    """Return what several receipts say about each other. Pure."""
    if len(files) < 2:
        return ()
    by_index: dict[tuple[Bytes32, int], dict[Bytes32, ReceiptFile]] = defaultdict(dict)
    for file in files:
        if _signature(file, t).result is CheckResult.CHECKED:  # else it says nothing
            by_index[file.channel.channel_id, file.receipt.index][file.digest] = file
    twice = [
        (index, len({file.request_id for file in signed.values()}) == 1)
        for (_, index), signed in by_index.items()
        if len(signed) > 1
    ]
    if twice:
        keys = {True: "receipt.equivocation.request", False: "receipt.equivocation.wrong"}
        return tuple(
            ReceiptFinding("equivocation", CheckResult.WRONG, t(keys[same], index=index))
            for index, same in twice
        )
    why = t("receipt.equivocation.checked", count=len(by_index))
    found = [ReceiptFinding("equivocation", CheckResult.CHECKED, why)]
    if len({channel for channel, _ in by_index}) == 1:
        found.append(_order({i: next(iter(signed)) for (_, i), signed in by_index.items()}, t))
    return tuple(found)


def leaves(files: Sequence[ReceiptFile]) -> dict[Bytes32, list[Bytes32]]:
    """Return the digests of the receipts of each channel, as far as they go from 1 on. Pure."""
    by_index: dict[Bytes32, dict[int, Bytes32]] = defaultdict(dict)
    for file in files:
        if _signature(file, english).result is CheckResult.CHECKED:
            by_index[file.channel.channel_id].setdefault(file.receipt.index, file.digest)
    return {
        channel: [found[i] for i in itertools.takewhile(found.__contains__, itertools.count(1))]
        for channel, found in by_index.items()
    }


def roots_over(known: Sequence[Bytes32]) -> dict[Bytes32, int]:
    """Return every root that a channel had while its receipts came, and over how many. Pure."""
    tree, found = ReceiptTree(), {ZERO32: 0}
    for leaf in known:
        tree.append(leaf)
        found[tree.root] = tree.count
    return found


def voucher(
    file: ReceiptFile,
    claimed: Voucher,
    known: Sequence[Bytes32],
    roots: Mapping[Bytes32, int],
    t: Words = english,
) -> ReceiptFinding:
    """Say whether a receipt is below the root of the claimed voucher. Pure.

    Args:
        known: digests of the channel's receipts, from 1 on without a gap.
        roots: `roots_over` them.
    """
    root, index, proof = claimed.receipts_root, file.receipt.index, file.proof
    count, result = roots.get(root), CheckResult.CHECKED
    if proof is not None and proof.root == root and proof.holds(file.digest, index):
        key, count = "below", proof.count
    elif count is None and len(known) + 1 < claimed.answers:
        key, result = "missing", CheckResult.UNKNOWN
    elif count is None:
        key, result = "wrong", CheckResult.WRONG
    elif index <= count and known[index - 1] != file.digest:
        key, result = "other", CheckResult.WRONG
    else:
        key = "below" if index <= count else "later" if count else "first"
    facts = {"index": index, "count": count, "root": offers.name(root), "known": len(known)}
    return ReceiptFinding("voucher", result, t(f"receipt.voucher.{key}", **facts))


def _order(digests: dict[int, Bytes32], t: Words) -> ReceiptFinding:
    last = max(digests)
    if len(digests) < last:
        return ReceiptFinding(
            "order", CheckResult.UNKNOWN, t("receipt.order.gap", count=len(digests), last=last)
        )
    root = ReceiptTree(digests[index] for index in range(1, last + 1)).root
    why = t("receipt.order.checked", count=last, root=offers.name(root))
    return ReceiptFinding("order", CheckResult.CHECKED, why)


def _signature(file: ReceiptFile, t: Words) -> ReceiptFinding:
    operator = file.channel.offer.operator
    try:
        signer = vouchers.signer_of(file.digest, file.receipt.signature)
    except InputInvalid as error:
        why = t("receipt.signature.unreadable", why=str(error))
        return ReceiptFinding("signature", CheckResult.WRONG, why)
    if signer == operator:
        why = t("receipt.signature.checked", operator=operator)
        return ReceiptFinding("signature", CheckResult.CHECKED, why)
    why = t("receipt.signature.wrong", signer=signer, operator=operator)
    return ReceiptFinding("signature", CheckResult.WRONG, why)


def _bytes(
    what: str, data: bytes | None, root: Callable[[bytes], Bytes32], signed: Bytes32, t: Words
) -> ReceiptFinding:
    if data is None:
        return ReceiptFinding(what, CheckResult.UNKNOWN, t(f"receipt.{what}.missing"))
    try:
        fits = root(data) == signed
    except InputInvalid:  # an exact version's bytes are records
        fits = False
    if not fits:
        return ReceiptFinding(what, CheckResult.WRONG, t(f"receipt.{what}.wrong"))
    why = t(f"receipt.{what}.checked", size=f"{len(data):,}")
    return ReceiptFinding(what, CheckResult.CHECKED, why)


def _below(file: ReceiptFile, t: Words) -> ReceiptFinding:
    proof, index = file.proof, file.receipt.index
    if proof is None:
        return ReceiptFinding("root", CheckResult.UNKNOWN, t("receipt.root.missing"))
    root = offers.name(proof.root)
    if not proof.holds(file.digest, index):
        return ReceiptFinding("root", CheckResult.WRONG, t("receipt.root.wrong", root=root))
    why = t("receipt.root.checked", index=index, count=proof.count, root=root)
    return ReceiptFinding("root", CheckResult.CHECKED, why)
