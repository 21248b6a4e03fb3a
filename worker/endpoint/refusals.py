"""Why a voucher does not pay: one class each, so that a client need not read sentences.

All are 402 on the wire: nothing was charged, and `hint` says what to sign instead.
"""

from oracle.errors import Refused


class VoucherRefused(Refused):
    """The answer is not paid."""


class VoucherMissing(VoucherRefused):
    """No voucher came with the request."""


class VoucherMalformed(VoucherRefused):
    """It cannot be read, or its signature is none that the contract takes."""


class VoucherForeign(VoucherRefused):
    """Its signer did not sign it: for another channel, chain, contract or operator, or not so."""


class OfferUnknown(VoucherRefused):
    """It pays for what is not sold here."""


class OfferOver(VoucherRefused):
    """No stake stands behind the offer, or only until before the answer's window ends."""


class ChannelEnding(VoucherRefused):
    """The payer has begun to close the channel."""


class ChannelForgotten(VoucherRefused):
    """More is claimed on chain than this endpoint remembers."""


class VoucherAboveDeposit(VoucherRefused):
    """The channel holds less than it promises."""


class VoucherMiscounted(VoucherRefused):
    """Its sum is not the fee times its answers."""


class VoucherLower(VoucherRefused):
    """A higher one was given before, and pays for no further answer."""


class VoucherEqual(VoucherRefused):
    """The same sum was given before, and pays for no further answer."""


class ReceiptsRootUnknown(VoucherRefused):
    """Its root is none of this channel's, or one of fewer receipts than the last voucher's."""
