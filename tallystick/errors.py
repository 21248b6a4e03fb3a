"""Every error that this package raises. All are `TallystickError`s, with a `hint` of what to do.

`TransientError` and below may succeed when tried again; `PermanentError` and below will not.
"""

from oracle.chain.keystore import PasswordWrong
from oracle.chain.revert import ContractError
from oracle.errors import (
    ConfigInvalid,
    DigestMismatch,
    InputInvalid,
    NotFound,
    PermanentError,
    Refused,
    TallystickError,
    TransientError,
    Unavailable,
)
from oracle.ipfs.port import CidUnresolved
from oracle.services.inference import AnswerFailed, Unanswered
from tallystick.channel import EndpointRefused, ReceiptWrong, VoucherNotTaken

__all__ = [
    "AnswerFailed",
    "CidUnresolved",
    "ConfigInvalid",
    "ContractError",
    "DigestMismatch",
    "EndpointRefused",
    "InputInvalid",
    "NotFound",
    "PasswordWrong",
    "PermanentError",
    "ReceiptWrong",
    "Refused",
    "TallystickError",
    "TransientError",
    "Unanswered",
    "Unavailable",
    "VoucherNotTaken",
]
