"""A market with an exact model on it, an operator that can lie, and a challenger with a home."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from oracle.agents.challenger.challenger import Challenger
from oracle.agents.challenger.deliveries import Scope
from oracle.agents.challenger.engine import Budget
from oracle.chain.anvil import dev_account
from oracle.chain.arguments import DisputedAnswer
from oracle.chain.bindings.dispute_game import Receipt
from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.exact import constants as constants_
from oracle.exact import files, game, quantisation
from oracle.exact.commitments import Committed, trace_root
from oracle.exact.dtypes import DType
from oracle.exact.partial_tensor import TreeNode
from oracle.exact.receipt import receipt as typed_receipt
from oracle.protocol import tensor
from oracle.services.served_traces import SignedReceipt
from oracle.types import (
    NO_CLAIM,
    ZERO32,
    Address,
    Bytes32,
    Delivery,
    OperatorAnswer,
    Order,
    RequestId,
)
from tests.contracts.exact import Example, example
from tests.services.conftest import DOLLAR, World

CHALLENGER, OTHER = dev_account(5), dev_account(6)


class Shop:
    """What operators serve, in memory."""

    def __init__(self) -> None:
        self.receipts: dict[RequestId, SignedReceipt] = {}
        self.tensors: dict[tuple[RequestId, int], bytes] = {}

    def receipt(self, endpoint: str, request_id: RequestId) -> SignedReceipt | None:
        return self.receipts.get(request_id)

    def tensor(self, endpoint: str, request_id: RequestId, op: int, size: int) -> bytes | None:
        return self.tensors.get((request_id, op))


@dataclass
class Arena:
    """Requests of one exact model, and everybody's acts on them."""

    world: World
    model_id: int
    home: Path
    example: Example = field(default_factory=example)
    shop: Shop = field(default_factory=Shop)
    committed: dict[RequestId, Committed] = field(default_factory=dict)

    # ── Requester and operator ──────────────────────────────────────────────────────────────────

    def ask(self) -> RequestId:
        world, network = self.world, self.world.network
        honest = self.example.honest
        data = b"".join(files.record(i, honest.tree(i)) for i in range(1))
        world.ipfs.publish_bytes(data)
        order = Order(
            model_id=self.model_id,
            version=1,
            lane=network.lens.free_lane(world.requester.address, 0),
            input_root=honest.input_root,
            input_cid=tensor.digest(data),
            params=ZERO32,
            max_fee=DOLLAR,
            priority_window=60,
            lifetime=600,
            operator=world.operator.address,
        )
        event = world.requester.send(network.market.request(order)).one(Requested)
        self.request = event.request
        return event.request_id

    def deliver(self, committed: Committed, *, bytes_too: bool = True) -> RequestId:
        """Ask, and have the operator deliver what somebody committed to."""
        request_id = self.ask()
        program = self.example.program
        data = files.record(program.id_of(len(program.ops) - 1), committed.tree(len(program.ops)))
        if bytes_too:
            self.world.ipfs.publish_bytes(data)
        call = self.world.network.market.deliver(
            self.request, NO_CLAIM, OperatorAnswer(committed.output_root, tensor.digest(data))
        )
        event = self.world.operator.send(call).one(Delivered)
        self.committed[request_id] = committed
        self.answer = DisputedAnswer(
            self.request,
            Delivery(event.operator, event.stamp, event.output_root),
            self.record,
        )
        return request_id

    @property
    def record(self):
        from oracle.chain.bindings.model_registry import VersionPublished
        from oracle.services.event_history import topic

        found = self.world.network.history.read(
            self.world.network.registry.address, (VersionPublished,), topic(self.model_id)
        )
        return found[0].event.record

    def sign(
        self, request_id: RequestId, output_root: Bytes32, root: Bytes32, who: int = 1
    ) -> Receipt:
        typed = typed_receipt(
            chain_id=self.world.network.contracts.chain_id,
            game=self.world.network.game.address,
            request_id=request_id,
            output_root=output_root,
            trace_root=root,
        )
        signed = dev_account(who).sign_typed_data(full_message=typed)
        return Receipt(output_root, root, bytes(signed.signature))

    def serve(self, request_id: RequestId, committed: Committed | None = None) -> None:
        """Let the operator serve its trace."""
        committed = committed or self.committed[request_id]
        leaves = committed.trace_leaves
        receipt = self.sign(request_id, committed.output_root, trace_root(leaves))
        self.shop.receipts[request_id] = SignedReceipt(receipt, leaves)
        for op in range(len(self.example.program.ops)):
            tensor_id = self.example.program.id_of(op)
            self.shop.tensors[request_id, op] = files.record(tensor_id, committed.tree(tensor_id))

    def reply(self, request_id: RequestId, challenger: Address) -> int:
        """Let the operator answer what is demanded of it; return the gas."""
        network, committed = self.world.network, self.committed[request_id]
        state = network.game.challenge_of(request_id, challenger)
        if state.turn == 2:
            trace = game.answer_trace(committed)
            call = network.game.commit_trace(
                *self.answer.state,
                self.answer.preimage,
                trace.preamble,
                trace.graph_root,
                trace.leaves,
            )
        elif state.turn == 3:
            op, level = state.target >> 72 & 0xFFFF, state.target >> 64 & 0xFF
            shown = game.answer_node(committed, op, TreeNode(level, state.target & (1 << 64) - 1))
            if isinstance(shown, game.OpenNodeArguments):
                call = network.game.open_node(
                    *self.answer.state,
                    self.answer.preimage,
                    challenger,
                    shown.tensor,
                    shown.nodes,
                    shown.path,
                )
            else:
                call = network.game.reveal_leaves(
                    *self.answer.state,
                    self.answer.preimage,
                    challenger,
                    shown.tensor,
                    shown.data,
                    shown.path,
                )
        else:
            raise AssertionError(f"it is not the operator's turn: {state.turn}")
        return self.world.operator.send(call).gas_used

    # ── Challenger ──────────────────────────────────────────────────────────────────────────────

    def challenger(self, name: str = "me", account=CHALLENGER, **options) -> Challenger:
        scope = Scope(**options.pop("scope", {}))
        budget = options.pop("budget", Budget())
        folder = self.home / name
        return Challenger(
            options.pop("network", self.world.network),
            account,
            self.shop,
            folder=folder,
            scope=scope,
            budget=budget,
            **options,
        )

    def balance(self, account: Address) -> int:
        return self.world.network.market.balance_of(account)


def folder_of(path: Path, made: Example, name: str = "example") -> Path:
    """Write the example as a folder that can be published."""
    x = quantisation.Linear("x", DType.I8, (64, 8), (0, 1), 64, 1.0)
    y = quantisation.OutputCode("y", DType.I32, (8, 8), 1.0)
    path.mkdir(parents=True)
    (path / "model.program").write_bytes(made.program.encode())
    (path / "constants.safetensors").write_bytes(constants_.save(made.program, made.constants))
    description = {
        "name": name,
        "runtime": {"format": "exact", "entry": "model.program"},
        "inputs": [{"name": "x", "dtype": "F32", "shape": [64, 8]}],
        "outputs": [{"name": "y", "dtype": "F32", "shape": [8, 8]}],
        "exact": {
            "constants": "constants.safetensors",
            "inputs": [quantisation.to_json(x)],
            "outputs": [quantisation.to_json(y)],
            "output_id": len(made.program.ops),
        },
    }
    (path / "model.json").write_text(json.dumps(description))
    return path


@pytest.fixture
def arena(world: World, tmp_path: Path) -> Arena:
    return arena_of(world, tmp_path)


def arena_of(world: World, home: Path) -> Arena:
    """Publish an exact model, with an operator and a requester."""
    folder = folder_of(home / "exact", example())
    model_id = replace(world, folder=folder).publish(insured_multiple=10).model_id
    world.serve(model_id, stake=1000)
    world.prepay(20 * DOLLAR)
    return Arena(world, model_id, home / "challengers")
