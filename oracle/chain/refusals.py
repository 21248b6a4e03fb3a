"""What a node's error says about a transaction that was handed to it. Pure.

Only the wordings below say that it was not taken. Every other error (a time-out inside the node, a
rate limit, a nonce that is used already, a wording of tomorrow) leaves its fate open.
Sources: geth and erigon core/txpool/errors.go, core/error.go, internal/ethapi/api.go; reth
rpc-eth-types/src/error; Nethermind AcceptTxResult.cs; Besu RpcErrorType.java; Anvil eth/error.rs.
"""

import re
from enum import StrEnum

from oracle.chain.rpc import RpcError


class Fate(StrEnum):
    """What became of a transaction at the node that answered with an error."""

    KNOWN = "known"  # the node has it already
    OPEN = "open"  # nobody can tell; only the chain will
    OCCUPIED = "occupied"  # not taken: another transaction waits under its nonce, at no less
    UNDERPRICED = "underpriced"  # not taken at this price
    POOR = "poor"  # not taken: the account cannot pay
    REFUSED = "refused"  # not taken, and never will be as it is


_WORDS: tuple[tuple[Fate, str], ...] = (  # the first that fits
    (Fate.KNOWN, "already known|already ?imported|known transaction|alreadyknown"
                 "|existing tx with same hash|already in (the )?(mem)?pool"),
    (Fate.OCCUPIED, "replacement transaction underpriced|replacement ?not ?allowed"
                    "|could not replace existing tx|insufficient gas price to replace"),
    (Fate.UNDERPRICED, "transaction underpriced|fee ?too ?low|gas price too low"
                       "|less than block base fee|gas price below"),
    (Fate.POOR, "insufficient ?funds|insufficient balance for transfer|not enough funds for gas"
                "|upfront cost exceeds account balance|would cause overdraft"),
    (Fate.REFUSED, "exceeds block gas limit|gas ?limit ?exceeded|gas limit too high"
                   "|gas limit is (too high|greater than)|exceeds transaction gas limit"
                   "|intrinsic gas (too|exceeds)|floor data gas|gas uint64 overflow"
                   "|oversized data|transaction too large|max ?initcode ?size|negative value"
                   "|invalid sender|invalid signature|sender ?(not an eoa|is ?contract)"
                   "|exceeds the configured cap|fee cap exceeded|max priority fee per gas (higher"
                   "|exceeds)|transaction type not supported|invalid transaction type"
                   "|invalid chain id for signer|wrong chainid"),
)  # fmt: skip
_TABLE = tuple((fate, re.compile(words)) for fate, words in _WORDS)


def fate_of(error: RpcError) -> Fate:
    """Return what an answer to eth_sendRawTransaction says; `OPEN` unless it is listed."""
    text = error.message.lower()
    return next((fate for fate, words in _TABLE if words.search(text)), Fate.OPEN)
