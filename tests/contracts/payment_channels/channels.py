"""Payment channels as a test drives them: vouchers of payers, receipts of operators, claims."""

from dataclasses import dataclass, field
from typing import Any

from eth_abi import encode
from eth_utils import keccak

from oracle.exact.commitments import Committed
from tests.contracts.chain import at, now
from tests.contracts.dispute_game.game import Answer, Game, hexed, signer_of
from tests.contracts.market import FEE, WINDOW, ZERO32, digest
from tests.contracts.signing import sign, typed

CLOSE_DELAY = 50  # seconds
FIRST_LANE = 1 << 31
BY_CONTRACT = 1 << 255
VOUCHER = {
    "Voucher": typed(
        "address payer,bytes32 offer,uint128 cumulative,uint64 answers,bytes32 receiptsRoot"
    )
}
CLOSE = {"Close": typed("bytes32 channelId,uint256 cumulative,uint256 deadline")}


@dataclass
class Channels:
    """The contract, with one operator's offer of version 1 of model 1."""

    contract: Any
    game: Game
    terms: int
    number: int = 0
    claims: list[tuple[tuple, list[tuple]]] = field(default_factory=list)

    @property
    def market(self) -> Any:
        return self.game.market.contract

    @property
    def operator(self) -> Any:
        return self.game.market.operator

    @property
    def alice(self) -> Any:
        return self.game.market.alice

    # ── Offers ──────────────────────────────────────────────────────────────────────────────────
    @property
    def offer(self) -> tuple:
        return self.operator.address, 1, 1, self.terms, self.number

    @property
    def offer_id(self) -> str:
        types = ["address", "uint256", "uint256", "uint256", "uint256"]
        return hexed(keccak(encode(types, self.offer)))

    def cover(self, locks: int, sender: Any = None) -> Any:
        return self.contract.cover(self.offer, locks, {"from": sender or self.operator})

    def covered(self) -> tuple[int, int, int, bool]:
        """Return locks, open summons, the end, and whether the offer is exhausted."""
        return tuple(self.contract.coverOf(self.offer_id))

    # ── Channels ────────────────────────────────────────────────────────────────────────────────
    def open(self, amount: int, payer: Any = None, signer: Any = None, sender: Any = None) -> Any:
        payer = payer or self.alice
        arguments = (payer, signer or payer, self.offer, amount)
        return self.contract.open(*arguments, {"from": sender or payer})

    def channel_id(self, payer: Any = None, signer: Any = None) -> str:
        payer = payer or self.alice
        signer = signer or payer
        words = (payer.address, signer.address, bytes.fromhex(self.offer_id[2:]))
        return hexed(keccak(encode(["address", "address", "bytes32"], words)))

    def channel(self, payer: Any = None, signer: Any = None) -> tuple[int, int, int]:
        """Return deposit, claimed, and when it closes."""
        return tuple(self.contract.channelOf(self.channel_id(payer, signer)))

    # ── Vouchers ────────────────────────────────────────────────────────────────────────────────
    def row(
        self,
        cumulative: int,
        before: int = 0,
        payer: Any = None,
        signer: Any = None,
        by: Any = None,
        answers: int = 1,
        **domain: Any,
    ) -> tuple:
        """Sign a voucher, as a row of a claim; `by` signs it instead of the channel's signer."""
        payer = payer or self.alice
        root = digest(f"receipts {cumulative}")
        message = {
            "payer": payer.address,
            "offer": self.offer_id,
            "cumulative": cumulative,
            "answers": answers,
            "receiptsRoot": root,
        }
        key = _key(by or signer or payer)
        signed = sign(key, self.contract, "Tallystick", VOUCHER, message, **domain)
        vs = signed.s | (signed.v - 27) << 255
        who = int(payer.address, 16) | answers << 160
        return who, cumulative | before << 128, root, f"{signed.r:#066x}", f"{vs:#066x}"

    def claim(self, *rows: tuple, slot: int = 0, due: Any = ()) -> tuple:
        """Claim rows and return the held claim."""
        transaction = self.contract.claim(self.offer, due, slot, rows, {"from": self.operator})
        event = transaction.events["VouchersClaimed"]
        held = slot, event["rowsHash"], event["total"], transaction.timestamp
        self.claims.append((held, list(rows)))
        return held

    def settle(self, held: tuple, sender: Any = None) -> Any:
        at(max(held[3] + WINDOW, now() + 1))
        return self.contract.settle(self.offer, [held], {"from": sender or self.operator})

    # ── Answers ─────────────────────────────────────────────────────────────────────────────────
    def answer(
        self, committed: Committed, index: int = 1, payer: Any = None, ahead: int = 0
    ) -> Answer:
        """Answer off chain: the request that both sides compute, `ahead` of the last block."""
        payer = payer or self.alice
        channel = bytes.fromhex(self.channel_id(payer)[2:])
        low = int.from_bytes(keccak(encode(["bytes32", "uint256"], [channel, index])), "big")
        lane = FIRST_LANE | low % FIRST_LANE
        request = (
            int(payer.address, 16) | lane << 160 | index << 192,
            int(self.operator.address, 16) | (now() + ahead) << 200,
            1 << 160 | 1 << 208,
            hexed(committed.input_root),
            ZERO32,
            ZERO32,
            ZERO32,
            self.terms,
        )
        request_id = self.game.market.id_of(request)
        constants = self.game.example.constants
        return Answer(request, None, committed, constants, request_id)

    def summon(
        self, answer: Answer, sender: Any = None, signer: Any = None, **receipt: Any
    ) -> Answer:
        """Summon an answer; it is delivered then."""
        signed = self.game.receipt(answer, **receipt)
        arguments = (answer.request, signer or self.alice, self.offer, signed)
        transaction = self.contract.summon(*arguments, {"from": sender or self.alice})
        answer.delivery = self.operator.address, transaction.timestamp, signed[0]
        return answer

    def convict(self, answer: Answer, challenger: Any, fault: tuple[int, int, int]) -> Any:
        """Convict a summoned answer by a step, as any other."""
        self.game.challenge(answer, challenger, *fault)
        step = answer.step(*fault)
        return self.game.prove(answer, challenger, step, self.game.receipt(answer))


def split(total: int) -> tuple[int, int, int, int]:
    """Return what operator, owner, data and protocol get of it, in the tests' market."""
    operator, data, protocol = (total * bps // 10_000 for bps in (7_000, 1_000, 500))
    return operator, total - operator - data - protocol, data, protocol


def _key(account: Any) -> Any:
    return account if hasattr(account, "private_key") else signer_of(account.address)


assert FEE % 10_000 == 0  # of one answer no part is rounded
