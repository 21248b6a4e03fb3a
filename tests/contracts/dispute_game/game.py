"""The dispute game as a test drives it: answers that were delivered, and everybody's moves."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from eth_abi import encode
from eth_utils import keccak

from oracle.chain.anvil import dev_account
from oracle.chain.codec import plain
from oracle.exact import game as decisions
from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.partial_tensor import TreeNode
from oracle.exact.steps import ProofStep
from tests.contracts.chain import at, chain
from tests.contracts.exact import Example
from tests.contracts.market import NO_CLAIM, ZERO32, Market
from tests.contracts.signing import sign, typed

MIN_REPLY, CLOCK = 20, 100  # seconds
NONE, CHALLENGER, TRACE, NODE, STEP = range(5)  # turns
SALT = "0x" + "5a" * 32
NO_RECEIPT = (ZERO32, ZERO32, b"")
RECEIPT = {"Receipt": typed("bytes32 requestId,bytes32 outputRoot,bytes32 traceRoot")}


@dataclass(frozen=True)
class Signer:
    """An account of the node's own, with its key."""

    private_key: bytes


@cache
def signer_of(address: str) -> Signer:
    """Return the key of one of the node's accounts, which Brownie does not know."""
    accounts = map(dev_account, range(10))
    return next(Signer(bytes(account.key)) for account in accounts if account.address == address)


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


@dataclass
class Answer:
    """A delivered answer: what the chain has of it, and what its operator committed to."""

    request: tuple
    delivery: tuple
    committed: Committed
    constants: Constants
    id: str

    @property
    def of(self) -> tuple[tuple, tuple]:
        return self.request, self.delivery

    def step(self, op: int, row: int, col: int) -> Any:
        return plain(self.made(op, row, col))

    def made(self, op: int, row: int, col: int) -> ProofStep:
        return proofs.step(self.constants, self.committed, op, row, col)


@dataclass
class Game:
    """The contract with a market around it; version 1 of model 1 is the example's program."""

    contract: Any
    market: Market
    example: Example
    record: tuple

    def answer(
        self, committed: Committed, constants: Constants | None = None, **order: Any
    ) -> Answer:
        """Request an answer and deliver what somebody committed to."""
        request = self.market.request(inputRoot=hexed(committed.input_root), **order)
        root = hexed(committed.output_root)
        operator, market = self.market.operator, self.market.contract
        transaction = market.deliver(request, NO_CLAIM, (root, ZERO32, 0), {"from": operator})
        delivery = (operator.address, transaction.timestamp, root)
        constants = constants or self.example.constants
        return Answer(request, delivery, committed, constants, self.market.id_of(request))

    def witness(self, answer: Answer, account: Any, op: int, row: int, col: int) -> str:
        words = (bytes.fromhex(answer.id[2:]), account.address, bytes.fromhex(SALT[2:]))
        types = ["bytes32", "address", "bytes32", "uint256", "uint256", "uint256"]
        return hexed(keccak(encode(types, [*words, op, row, col])))

    def challenge(
        self, answer: Answer, account: Any, *fault: int, bond: int = 0, **options: Any
    ) -> Any:
        """Challenge with a hidden fault, or by demanding the trace."""
        witness = self.witness(answer, account, *fault) if fault else ZERO32
        return self.contract.challenge(
            *answer.of, witness, {"from": account, "value": bond, **options}
        )

    def prove(
        self, answer: Answer, account: Any, step: Any, receipt: Any = NO_RECEIPT, salt: str = SALT
    ) -> Any:
        arguments = (self.record, receipt, salt, step)
        return self.contract.prove(*answer.of, *arguments, {"from": account})

    def receipt(
        self,
        answer: Answer,
        output_root: Any = None,
        trace_root: Any = None,
        signer: Any = None,
        request_id: Any = None,
        **domain: Any,
    ) -> tuple:
        """Sign a receipt; what is left out is as it was delivered."""
        committed = answer.committed
        message = {
            "requestId": request_id or answer.id,
            "outputRoot": output_root or hexed(committed.output_root),
            "traceRoot": trace_root or hexed(committed.trace_root),
        }
        key = signer_of((signer or self.market.operator).address)
        signed = sign(key, self.contract, "Tallystick", RECEIPT, message, **domain)
        return message["outputRoot"], message["traceRoot"], bytes(signed.signature)

    # ── Replies ─────────────────────────────────────────────────────────────────────────────────
    def commit(self, answer: Answer, sender: Any = None, **changes: Any) -> Any:
        trace = replace(decisions.answer_trace(answer.committed), **changes)
        arguments = (self.record, trace.preamble, trace.graph_root, trace.leaves)
        sender = sender or self.market.operator
        return self.contract.commitTrace(*answer.of, *arguments, {"from": sender})

    def show(self, answer: Answer, challenger: Any, op: int, level: int, index: int) -> Any:
        """Answer a demand for a node as an operator does."""
        shown = decisions.answer_node(answer.committed, op, TreeNode(level, index))
        common = (*answer.of, self.record, challenger, plain(shown.tensor))
        sender = {"from": self.market.operator}
        if isinstance(shown, decisions.OpenNodeArguments):
            return self.contract.openNode(*common, shown.nodes, shown.path, sender)
        return self.contract.revealLeaves(*common, shown.data, shown.path, sender)

    def answer_step(self, answer: Answer, challenger: Any, op: int, row: int, col: int) -> Any:
        step = decisions.answer_step(answer.constants, answer.committed, op, row, col)
        arguments = (*answer.of, self.record, challenger, plain(step))
        return self.contract.answerStep(*arguments, {"from": self.market.operator})

    # ── Ends ────────────────────────────────────────────────────────────────────────────────────
    def lapse(self, answer: Answer, challenger: Any, sender: Any) -> Any:
        """End a challenge right when its challenger's turn is over."""
        at(max(self.turn(answer, challenger)["deadline"], chain[-1].timestamp + 1))
        return self.contract.lapse(*answer.of, challenger, {"from": sender})

    def convict_silent(self, answer: Answer, challenger: Any, sender: Any) -> Any:
        at(max(self.turn(answer, challenger)["deadline"], chain[-1].timestamp + 1))
        return self.contract.convictSilent(*answer.of, challenger, {"from": sender})

    def turn(self, answer: Answer, challenger: Any) -> dict[str, Any]:
        return self.contract.challengeOf(answer.id, challenger).dict()
