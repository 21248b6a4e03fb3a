"""Errors about payment channels: offers, vouchers, held claims, summoned answers."""

from oracle.chain.sentences.sentence import Sentence

_S = Sentence

CHANNELS: dict[str, Sentence] = {
    "CallerNotChannels": _S("{caller} is not the contract of the payment channels."),
    # ── Offers ──────────────────────────────────────────────────────────────────────────────────
    "CallerNotOfferer": _S("{caller} is not the operator of the offer {offerId:id}."),
    "CallerNotPayer": _S("{caller} is not the payer of the answer {requestId:id}."),
    "LocksInvalid": _S("{given} locks cannot be added: 1 to {max} can."),
    "TermsStale": _S(
        "Version {version} of model {modelId} has other terms now, or is retired.",
        "`tallystick operator offer cover {modelId}@{version} LOCKS` makes one at present terms",
    ),
    "VersionMetered": _S(
        "Version {version} of model {modelId} is paid by units, which a receipt does not name.",
        "channels sell versions with a flat fee: this one is asked on the chain",
    ),
    "OfferUncovered": _S(
        "No stake stands behind the offer {offerId:id}: it is ending, over, or was never covered.",
        "`tallystick operator offer list` shows those that can be used",
    ),
    "OfferEndingAlready": _S("The offer {offerId:id} is ending already, {endsAt:time}."),
    "OfferNotEnding": _S(
        "The stake of the offer {offerId:id} stays until its end ({endsAt:time}).",
        "`tallystick operator offer uncover {offerId:key}` ends it, two challenge windows later",
    ),
    "RefusalUncertain": _S(
        "It is not certain that the model's owner had refused the payer of {requestId:id}.",
        "rules that changed less than five minutes before the answer, or since, prove nothing",
    ),
    "RefusalProvenAlready": _S("That answer {requestId:id} was refused is proven already."),
    "OfferNotExhausted": _S("The offer {offerId:id} still has locks: its claims are not void."),
    "SummonsOpen": _S(
        "{open} answers of the offer {offerId:id} are summoned and not settled.",
        "wait; `tallystick operator offer collect {offerId:key}` ends those that are over",
        True,
    ),
    # ── Channels ────────────────────────────────────────────────────────────────────────────────
    "SignerZero": _S("A channel needs a key that signs its vouchers; the zero address has none."),
    "ChannelEmpty": _S("The channel {channelId:id} holds nothing that could be paid out."),
    "ChannelIsClosing": _S(
        "The channel {channelId:id} is closing until {closesAt:time}.",
        "`tallystick channel withdraw` then brings back what is left, and it can be opened again",
    ),
    "ChannelNotClosed": _S(
        "The channel {channelId:id} can pay out after it was closed ({closesAt:time}).",
        "`tallystick channel close {channelId:key}` starts that; the operator may sign it at once",
    ),
    "CloseInvalid": _S(
        "The operator's consent to close {channelId:id} is not its own, too late, or below what it "
        "has claimed.",
        "ask the operator again",
    ),
    # ── Claims ──────────────────────────────────────────────────────────────────────────────────
    "SlotTaken": _S("Slot {slot} of the offer {offerId:id} holds a claim.", "take another slot"),
    "VoucherInvalid": _S(
        "Voucher {row} is not one for the channel {channelId:id}, which has {claimed:usd} of "
        "{deposit:usd} claimed: wrong key or offer, above the deposit, not above the last, or the "
        "channel closed.",
        "claim the highest voucher that the payer signed",
    ),
    "ClaimMismatch": _S("Slot {slot} of the offer {offerId:id} does not hold this claim."),
    "ClaimHeld": _S(
        "The claim of the offer {offerId:id} is held until {until:time}.", "wait", "until"
    ),
    # ── Summoned answers ────────────────────────────────────────────────────────────────────────
    "RequestForeign": _S("The request {requestId:id} is not one of this channel and offer."),
    "SummonExists": _S("The answer {requestId:id} was summoned before."),
    "SummonMissing": _S("The answer {requestId:id} is not summoned, or that is over."),
    "SummonLive": _S("The summoned answer {requestId:id} is not settled in the market.", "wait"),
}
