"""A market on Anvil on which exact programs are published, answered falsely, and convicted."""

from typing import Any

from eth_abi.abi import encode

from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.arguments import DisputedAnswer
from oracle.chain.bindings.dispute_game import DisputeGame, FaultProven, Receipt
from oracle.chain.bindings.inference_market import Delivered, InferenceMarket, Requested
from oracle.chain.bindings.model_access import ModelAccess, Policy
from oracle.chain.bindings.model_registry import (
    ModelRegistered,
    ModelRegistry,
    Publication,
    VersionPublished,
)
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.program_registry import ProgramRegistry
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.deploy import deploy
from oracle.chain.rpc import quantity
from oracle.chain.wallet import Wallet
from oracle.exact.commitments import Committed
from oracle.exact.program import Program
from oracle.exact.receipt import receipt
from oracle.exact.steps import ProofStep
from oracle.protocol.canonical import keccak
from oracle.types import (
    NO_CLAIM,
    ZERO32,
    Amount,
    Assurance,
    Bytes32,
    Delivery,
    OperatorAnswer,
    Order,
    RequestId,
)

FEE = Amount(50_000)
SALT = Bytes32(keccak(b"salt"))


class ProofMarket:
    """A deployment with one model, an operator that lies, a requester and a challenger."""

    def __init__(self, anvil: Anvil) -> None:
        rpc = self.rpc = anvil.rpc
        wallets = [Wallet(rpc, dev_account(i)) for i in range(4)]
        self.owner, self.operator, self.requester, self.challenger = wallets
        self._registered: dict[bytes, int] = {}
        at = deploy(self.owner)
        self.chain_id = at.chain_id
        self.programs = ProgramRegistry(rpc, at.program_registry)
        self.registry = ModelRegistry(rpc, at.model_registry)
        self.market = InferenceMarket(rpc, at.inference_market)
        self.game = DisputeGame(rpc, at.dispute_game)
        self.verifier = at.step_verifier
        operators, token = OperatorRegistry(rpc, at.operator_registry), TestDollar(rpc, at.token)
        registered = self.owner.send(self.registry.register_model("bench", 0))
        self.model_id = registered.one(ModelRegistered).model_id
        access = ModelAccess(rpc, at.model_access)
        self.owner.send(access.set_policy(self.model_id, Policy.OPEN, 0, 0))
        for wallet in (self.operator, self.requester):
            wallet.send(token.faucet(wallet.address, Amount(900 * 10**6)))
        self.operator.send(token.approve(operators.address, Amount(10**12)))
        self.requester.send(token.approve(self.market.address, Amount(10**12)))
        self.operator.send(operators.register(ZERO32, ""))
        self.owner.send(operators.authorize(self.model_id, self.operator.address, True))
        self.operator.send(operators.stake(self.operator.address, Amount(800 * 10**6)))
        self.requester.send(self.market.deposit(self.requester.address, Amount(400 * 10**6)))

    def convict(self, program: Program, committed: Committed, step: ProofStep) -> dict[str, int]:
        """Publish a program, deliver a false answer, challenge it and prove the fault.

        Returns:
            Gas of `register`, `challenge` and `prove`; of prove also `prove bytes` of calldata,
            `prove floor`, what these bytes cost at the least, and `verifier`, its execution.
        """
        registering = self._register(program)
        answer, request_id = self._answered(program, committed)
        witness = self._witness(request_id, step)
        bond = self.game.bond_needed(request_id)
        challenged = self.challenger.send(self.game.challenge(*answer.state, witness, value=bond))
        signed = self._receipt(request_id, committed)
        prove = self.game.prove(*answer.state, answer.preimage, signed, SALT, step)
        proven = self.challenger.send(prove)
        assert proven.one(FaultProven).request_id == request_id
        return {
            "register": registering,
            "challenge": challenged.gas_used,
            "prove": proven.gas_used,
            "prove bytes": len(prove.data),
            "prove floor": floor_of(prove.data),
            "verifier": self._verifier_gas(proven.tx_hash),
        }

    def _register(self, program: Program) -> int:
        """Register a program once, and return the gas of that."""
        if program.model_root not in self._registered:
            mined = self.owner.send(self.programs.register_program(list(program.words)))
            self._registered[program.model_root] = mined.gas_used
        return self._registered[program.model_root]

    def _answered(self, program: Program, committed: Committed) -> tuple[DisputedAnswer, RequestId]:
        publication = Publication(
            manifest_digest=keccak(program.model_root),
            model_root=program.model_root,
            assurance=Assurance.EXACT,
            tolerance=0,
            fee=FEE,
            operator_bps=7000,
            data_bps=0,
            insured_multiple=2,
            challenge_window=600,
            max_units=0,
        )
        head = self.registry.head_of(self.model_id)
        published = self.owner.send(self.registry.publish_version(self.model_id, head, publication))
        record = published.one(VersionPublished).record
        order = Order(
            model_id=self.model_id,
            version=record.version,
            lane=0,
            input_root=committed.input_root,
            input_cid=ZERO32,
            params=ZERO32,
            max_fee=FEE,
            priority_window=600,
            lifetime=1200,
            operator=self.operator.address,
        )
        asked = self.requester.send(self.market.request(order)).one(Requested)
        call = self.market.deliver(
            asked.request, NO_CLAIM, OperatorAnswer(committed.output_root, ZERO32)
        )
        told = self.operator.send(call).one(Delivered)
        delivery = Delivery(told.operator, told.stamp, Bytes32(told.output_root))
        return DisputedAnswer(asked.request, delivery, record), asked.request_id

    def _witness(self, request_id: RequestId, step: ProofStep) -> Bytes32:
        types = ["bytes32", "address", "bytes32", "uint256", "uint256", "uint256"]
        words = (request_id, self.challenger.address, SALT, step.op, step.row, step.col)
        return Bytes32(keccak(encode(types, words)))

    def _receipt(self, request_id: RequestId, committed: Committed) -> Receipt:
        roots = {"output_root": committed.output_root, "trace_root": committed.trace_root}
        message = receipt(
            chain_id=self.chain_id, game=self.game.address, request_id=request_id, **roots
        )
        return Receipt(**roots, signature=self.operator.sign_typed(message))

    def _verifier_gas(self, tx_hash: Bytes32) -> int:
        """Return what the game's call of the verifier used."""
        trace: Any = self.rpc.call(
            "debug_traceTransaction", "0x" + tx_hash.hex(), {"tracer": "callTracer"}
        )
        calls = [c for c in trace["calls"] if c["to"].lower() == self.verifier.lower()]
        assert len(calls) == 1
        return quantity(calls[0]["gasUsed"])


def floor_of(data: bytes) -> int:
    """Return the least that a transaction with this calldata pays (EIP-7623)."""
    return 21_000 + 10 * sum(4 if byte else 1 for byte in data)
