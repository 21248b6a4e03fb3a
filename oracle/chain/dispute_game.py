"""The DisputeGame contract; IDisputeGame.sol says what each function means."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract
from oracle.chain.rpc import BlockId
from oracle.types import (
    ZERO32,
    Address,
    Bytes32,
    Delivery,
    Request,
    RequestId,
    Timestamp,
    VersionRecord,
    Wei,
)


class Turn(IntEnum):
    """Whose move it is in a challenge, and what is asked."""

    NONE = 0  # no such challenge, or ended
    CHALLENGER = 1
    TRACE = 2  # operator: commit_trace
    NODE = 3  # operator: open_node or reveal_leaves
    STEP = 4  # operator: answer_step


@dataclass(frozen=True, slots=True)
class GameConfig:
    """What is fixed when the game is deployed."""

    market: Address
    registry: Address
    verifier: Address
    min_reply: int  # seconds
    clock: int  # seconds


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an operator signs off chain; a trace root of zero is not stated."""

    output_root: Bytes32 = ZERO32
    trace_root: Bytes32 = ZERO32
    signature: bytes = b""  # r‖s‖v, or whatever an ERC-1271 wallet takes; empty = no receipt


NO_RECEIPT = Receipt()


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenger's game about one delivery, as it stands now."""

    turn: Turn
    demands: int
    deadline: Timestamp
    challenger_clock: int  # seconds left
    operator_clock: int
    witness_block: int  # 0 = no witness
    bond: Wei
    witness: Bytes32
    target: int  # libraries/Target.sol
    older: Address
    newer: Address


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace root that all challenges of a request share; committed at 0 = not yet."""

    root: Bytes32
    committed_at: Timestamp


@dataclass(frozen=True, slots=True)
class Answer:
    """What a game is about: callers bring it back, the chain has only hashes of it."""

    request: Request
    delivery: Delivery
    record: VersionRecord  # of the version that was asked

    @property
    def preimage(self) -> tuple[Any, ...]:
        """What the head of the history is a hash of, beside model, version and assurance."""
        record = self.record
        digests = (record.prev_head, record.manifest_digest, record.model_root)
        return (*digests, record.tolerance, record.publisher, record.timestamp)


class DisputeGame(Contract):
    """Challenges of exact answers. Steps and proofs are those of oracle.exact.steps, above us."""

    NAME = "DisputeGame"

    # ── Challenge ───────────────────────────────────────────────────────────────────────────────
    def challenge(self, answer: Answer, witness: Bytes32 = ZERO32, *, bond: Wei) -> Call:
        """Open a game with a hidden fault, or (zero) by demanding the trace; `bond` is sent."""
        return self._on(answer, "challenge", witness, value=bond, label="challenge an answer")

    def prove(
        self,
        answer: Answer,
        step: Any,
        *,
        salt: Bytes32 = ZERO32,
        receipt: Receipt = NO_RECEIPT,
    ) -> Call:
        """Show a fault and convict."""
        arguments = (answer.preimage, receipt, salt, step)
        return self._on(answer, "prove", *arguments, label="prove a fault")

    def demand_node(self, answer: Answer, op: int, level: int, index: int) -> Call:
        """Ask for a node of the tensor that operator `op` wrote."""
        label = f"demand node {index} at level {level} of operator {op}"
        return self._on(answer, "demandNode", op, level, index, label=label)

    def demand_step(self, answer: Answer, op: int, row: int, col: int) -> Call:
        """Ask the operator to prove one element itself."""
        label = f"demand element [{row}, {col}] of operator {op}"
        return self._on(answer, "demandStep", op, row, col, label=label)

    def prove_equivocation(
        self, answer: Answer, first: Receipt, second: Receipt = NO_RECEIPT
    ) -> Call:
        """Convict on two contradicting receipts, or on one that contradicts what is on chain."""
        label = "prove an equivocation"
        return self._on(answer, "proveEquivocation", first, second, label=label)

    # ── Reply ───────────────────────────────────────────────────────────────────────────────────
    def commit_trace(
        self,
        answer: Answer,
        preamble: Sequence[int],
        graph_root: Bytes32,
        leaves: Sequence[Bytes32],
    ) -> Call:
        """Post the trace's leaves; only the delivery's operator may."""
        arguments = (answer.preimage, preamble, graph_root, leaves)
        return self._on(answer, "commitTrace", *arguments, label="commit the trace")

    def open_node(
        self,
        answer: Answer,
        challenger: Address,
        tensor: Any,
        nodes: Sequence[Bytes32],
        path: Sequence[Bytes32],
    ) -> Call:
        """Show 64 nodes below the demanded one, or that there is no such node."""
        arguments = (answer.preimage, challenger, tensor, nodes, path)
        return self._on(answer, "openNode", *arguments, label="open a demanded node")

    def reveal_leaves(
        self,
        answer: Answer,
        challenger: Address,
        tensor: Any,
        data: bytes,
        path: Sequence[Bytes32],
    ) -> Call:
        """Show the bytes below the demanded node."""
        arguments = (answer.preimage, challenger, tensor, data, path)
        return self._on(answer, "revealLeaves", *arguments, label="reveal demanded leaves")

    def answer_step(self, answer: Answer, challenger: Address, step: Any) -> Call:
        """Bring the demanded step, which is consistent."""
        arguments = (answer.preimage, challenger, step)
        return self._on(answer, "answerStep", *arguments, label="answer a demanded step")

    # ── End ─────────────────────────────────────────────────────────────────────────────────────
    def convict_silent(self, answer: Answer, challenger: Address) -> Call:
        """Convict an operator whose turn is over."""
        return self._on(answer, "convictSilent", challenger, label="convict: silent")

    def lapse(self, answer: Answer, challenger: Address) -> Call:
        """End a challenge whose challenger's turn is over."""
        return self._on(answer, "lapse", challenger, label="end a lapsed challenge")

    def release_bond(self, request_id: RequestId, challenger: Address) -> Call:
        """Free the bond of a challenge whose request ended in another way."""
        label = "release a challenger's bond"
        return self._call("releaseBond", request_id, challenger, label=label)

    def withdraw_bond(self) -> Call:
        """Pay out the caller's bonds in the chain's currency."""
        return self._call("withdrawBond", label="withdraw bonds")

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def config(self, block: BlockId = "latest") -> GameConfig:
        """Return what was fixed at deployment."""
        market, registry, verifier, *times = self._read("config", block=block)
        return GameConfig(address(market), address(registry), address(verifier), *times)

    def challenge_of(
        self, request_id: RequestId, challenger: Address, block: BlockId = "latest"
    ) -> Challenge:
        """Return a challenge; its turn is NONE when there is none."""
        values: Sequence[Any] = self._read("challengeOf", request_id, challenger, block=block)
        neighbours = map(address, values[9:])
        return Challenge(*[Turn(values[0]), *values[1:9], *neighbours])

    def trace_of(self, request_id: RequestId, block: BlockId = "latest") -> Trace:
        """Return the trace that the operator committed to on chain."""
        return Trace(*self._read("traceOf", request_id, block=block))

    def first_challenger_of(self, request_id: RequestId, block: BlockId = "latest") -> Address:
        """Return who opened the oldest challenge that has not failed; zero = nobody."""
        return address(self._read("firstChallengerOf", request_id, block=block))

    def bond_of(self, account: Address, block: BlockId = "latest") -> Wei:
        """Return what the account may withdraw."""
        return Wei(self._read("bondOf", account, block=block))

    def bond_needed(self, block: BlockId = "latest") -> Wei:
        """Return what a challenge needs at that block's base fee."""
        return Wei(self._read("bondNeeded", block=block))

    def burn_address(self, block: BlockId = "latest") -> Address:
        """Return who is credited with burned bonds."""
        return address(self._read("burnAddress", block=block))

    def receipt_hash(
        self,
        request_id: RequestId,
        output_root: Bytes32,
        trace_root: Bytes32,
        block: BlockId = "latest",
    ) -> Bytes32:
        """Return the digest that a receipt's signature is over."""
        arguments = (request_id, output_root, trace_root)
        return Bytes32(self._read("receiptHash", *arguments, block=block))

    def _on(self, answer: Answer, name: str, *arguments: Any, label: str, value: int = 0) -> Call:
        given = (answer.request, answer.delivery, *arguments)
        return self._call(name, *given, value=value, label=label)
