"""Gas of whole dispute games about a program of MiniLM's size, move by move, on Anvil.

The program has the shapes of all-MiniLM-L6-v2 (6 layers, 128 × 384, 12 heads) with drawn weights:
gas depends on shapes alone. The liar changes one element and computes everything after it from
that. Every figure is a receipt's `gasUsed`, the 21,000 of its transaction included.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.arguments import NO_RECEIPT, DisputedAnswer
from oracle.chain.bindings.dispute_game import DisputeGame, Receipt
from oracle.chain.bindings.inference_market import Delivered, InferenceMarket, Requested
from oracle.chain.bindings.model_registry import ModelRegistry, Publication, VersionPublished
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.program_registry import ProgramRegistry
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.deploy import deploy
from oracle.chain.transactions import Receipt as Mined
from oracle.chain.wallet import Wallet
from oracle.exact import game as decisions
from oracle.exact import proofs
from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import DType, Spec, channels
from oracle.exact.partial_tensor import DisputedTensors, PartialTensor, TreeNode
from oracle.exact.program import Program
from oracle.exact.reference import evaluate, execute
from oracle.exact.tensors import depth_of
from oracle.merkle import keccak
from oracle.protocol import vouchers
from oracle.types import (
    NO_CLAIM,
    ZERO32,
    ZERO_ADDRESS,
    Amount,
    Assurance,
    Bytes32,
    Delivery,
    OperatorAnswer,
    Order,
    VersionRecord,
)

I8, U8, I16, U16, CHANNEL = DType.I8, DType.U8, DType.I16, DType.U16, DType.CHANNEL
TOKENS, WIDTH, HEADS, INNER, LAYERS = 128, 384, 12, 1536, 6
HEAD = WIDTH // HEADS
OPERATORS = 150
SALT = Bytes32(b"\x5a" * 32)
GOALS = {"transactions": 9, "withheld": 1_200_000}


class Strided(TypedDict):
    """A view's sizes and strides."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]


# ── The program ───────────────────────────────────────────────────────────────────────────────────
@dataclass
class Encoder:
    """Builds the encoder and remembers which operators the games are about."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))
    builder: ProgramBuilder = field(default_factory=ProgramBuilder)
    places: dict[str, int] = field(default_factory=dict)

    def build(self) -> tuple[Program, Constants]:
        x = self.builder.input(Spec(I16, TOKENS, WIDTH))
        for _ in range(LAYERS):
            x = self.attention(x)
            x = self.feed_forward(x)
        while x.number < OPERATORS - 3:  # what masks, embeddings and casts come to
            x = self.builder.rescale(x, self.scale(1, 1), dtype=I16)
        pooled = self.builder.view(x, WIDTH, TOKENS, sizes=(WIDTH, TOKENS), strides=(1, WIDTH))
        self.builder.mean(pooled, self.scale(1, 1 << 16), dtype=I16, cols=WIDTH)
        return self.builder.build()

    def attention(self, x: Ref) -> Ref:
        b = self.builder
        narrow = b.rescale(x, self.scale(1, 256), dtype=I8)
        query, key, value = (self.linear(narrow, WIDTH, I8) for _ in range(3))
        by_head: Strided = {"sizes": (HEADS, TOKENS, HEAD), "strides": (HEAD, WIDTH, 1)}
        query = b.view(query, HEADS * TOKENS, HEAD, **by_head)
        key = b.view(key, HEADS * TOKENS, HEAD, **by_head)
        across: Strided = {"sizes": (HEADS, HEAD, TOKENS), "strides": (HEAD, 1, WIDTH)}
        value = b.view(value, WIDTH, TOKENS, **across)
        scores = b.dot(query, key, self.scale(1, 16), dtype=I16, group=TOKENS)
        self.places.setdefault("scores", scores.number)
        table = np.linspace(65_535, 0, 1024).astype(np.uint16).reshape(1, -1)
        weights = b.softmax(scores, b.constant(table, U16), dtype=U8, shift=4)
        mixed = b.dot(weights, value, self.scale(1, 256), dtype=I8, group=TOKENS)
        back: Strided = {"sizes": (TOKENS, HEADS, HEAD), "strides": (HEAD, TOKENS * HEAD, 1)}
        mixed = b.view(mixed, TOKENS, WIDTH, **back)
        return self.joined(x, self.linear(mixed, WIDTH, I16))

    def feed_forward(self, x: Ref) -> Ref:
        b = self.builder
        narrow = b.rescale(x, self.scale(1, 256), dtype=I8)
        hidden = self.linear(narrow, INNER, I8)
        table = np.maximum(np.arange(-128, 128), -8).astype(np.int8).reshape(1, 256)
        hidden = b.lut(hidden, b.constant(table, I8))
        out = self.linear(hidden, WIDTH, I8)
        self.places.setdefault("dot", out.number)
        return self.joined(x, b.rescale(out, self.scale(256, 1), dtype=I16))

    def linear(self, x: Ref, columns: int, dtype: DType) -> Ref:
        weights = self.rng.integers(-128, 128, (columns, x.spec.cols)).astype(np.int8)
        scale = self.scale(1, 512 if dtype == I8 else 2, columns)
        return self.builder.dot(x, self.builder.constant(weights, I8), scale, dtype=dtype)

    def joined(self, x: Ref, y: Ref) -> Ref:
        both = self.builder.constant(channels([[0, 0]], [[1, 1]], [[1, 1]]), CHANNEL)
        total = self.builder.add(x, y, both, dtype=I16)
        scale = self.scale(1, 16, WIDTH)
        return self.builder.layernorm(total, scale, eps=1, dtype=I16)

    def scale(self, up: int, down: int, columns: int = 1) -> Ref:
        bias, mult, shift = (np.full((1, columns), n) for n in (0, 4 * up, down.bit_length() + 1))
        return self.builder.constant(channels(bias, mult, shift), CHANNEL)


def lie(honest: Committed, constants: Constants, op: int, row: int, col: int) -> Committed:
    """Change one element and compute what follows from it."""
    program = honest.program
    tensors = [np.array(tensor) for tensor in honest.tensors]
    wrong = tensors[program.id_of(op)]
    wrong[row, col] = 100 if wrong[row, col] != 100 else -100
    for after in range(op + 1, len(program.ops)):
        tensors[program.id_of(after)] = evaluate(program.ops[after], constants, tensors)
    return Committed(program, tensors)


# ── The chain ─────────────────────────────────────────────────────────────────────────────────────
class Network:
    """A deployment where the program is a version, with a requester, an operator, a challenger."""

    def __init__(self, anvil: Anvil, program: Program) -> None:
        rpc = anvil.rpc
        self.owner, self.operator, self.requester, self.challenger = (
            Wallet(rpc, dev_account(i)) for i in range(4)
        )
        at = deploy(self.owner)
        self.chain_id = at.chain_id
        self.market = InferenceMarket(rpc, at.inference_market)
        self.game = DisputeGame(rpc, at.dispute_game)
        token, operators = TestDollar(rpc, at.token), OperatorRegistry(rpc, at.operator_registry)
        data = program.encode()
        words = [int.from_bytes(data[at_ : at_ + 32]) for at_ in range(0, len(data), 32)]
        registration = ProgramRegistry(rpc, at.program_registry).register_program(words)
        self.registered = self.owner.send(registration).gas_used
        self.record = self._publish(ModelRegistry(rpc, at.model_registry), program)
        for wallet, spender in ((self.operator, operators), (self.requester, self.market)):
            wallet.send(token.faucet(wallet.address, Amount(900 * 10**6)))
            wallet.send(token.approve(spender.address, Amount(10**12)))
        self.operator.send(operators.register(ZERO32, ""))
        self.owner.send(operators.authorize(1, self.operator.address, True))
        self.operator.send(operators.stake(self.operator.address, Amount(900 * 10**6)))
        self.requester.send(self.market.deposit(self.requester.address, Amount(900 * 10**6)))

    def _publish(self, registry: ModelRegistry, program: Program) -> VersionRecord:
        self.owner.send(registry.register_model("encoder", 0))
        publication = Publication(
            manifest_digest=keccak(b"manifest"),
            model_root=program.model_root,
            assurance=Assurance.EXACT,
            tolerance=0,
            fee=Amount(50_000),
            operator_bps=7000,
            data_bps=0,
            insured_multiple=5,
            challenge_window=3600,
            max_units=0,
        )
        call = registry.publish_version(1, ZERO32, publication)
        return self.owner.send(call).one(VersionPublished).record

    def answer(self, committed: Committed, lane: int) -> DisputedAnswer:
        order = Order(
            model_id=1,
            version=1,
            lane=lane,
            input_root=committed.input_root,
            input_cid=ZERO32,
            params=ZERO32,
            max_fee=Amount(50_000),
            priority_window=600,
            lifetime=1200,
            operator=self.operator.address,
            consumer=ZERO_ADDRESS,
        )
        request = self.requester.send(self.market.request(order)).one(Requested).request
        call = self.market.deliver(request, NO_CLAIM, OperatorAnswer(committed.output_root, ZERO32))
        event = self.operator.send(call).one(Delivered)
        delivery = Delivery(event.operator, event.stamp, event.output_root)
        return DisputedAnswer(request, delivery, self.record)


@dataclass
class Play:
    """One game: who knows what, and what each transaction cost."""

    network: Network
    constants: Constants
    honest: Committed
    liar: Committed
    answer: DisputedAnswer

    def served(self, op: int, row: int, col: int) -> Iterator[tuple[str, Mined]]:
        """The operator signed its trace root and handed out the data: challenge, prove."""
        game, me = self.network.game, self.network.challenger
        request_id = self.network.market.request_id_of(self.answer.request)
        words = (request_id, me.address, SALT, op, row, col)
        yield (
            "challenge",
            me.send(game.challenge(*self.answer.state, _witness(*words), value=self.bond)),
        )
        roots = (self.liar.output_root, self.liar.trace_root)
        digest = game.receipt_hash(request_id, *roots)
        signature = vouchers.sign(bytes(dev_account(1).key), digest)
        step = proofs.step(self.constants, self.liar, op, row, col)
        receipt = Receipt(*roots, signature)
        proof = game.prove(*self.answer.state, self.answer.preimage, receipt, SALT, step)
        yield "prove", me.send(proof)

    def withheld(self) -> Iterator[tuple[str, Mined]]:
        """Nothing was handed out: the challenger knows what the chain logs."""
        game, me, operator = self.network.game, self.network.challenger, self.network.operator
        yield "challenge", me.send(game.challenge(*self.answer.state, ZERO32, value=self.bond))
        trace = decisions.answer_trace(self.liar)
        given = (*self.answer.state, self.answer.preimage)
        posted = game.commit_trace(*given, trace.preamble, trace.graph_root, trace.leaves)
        yield "commitTrace", operator.send(posted)
        known: dict[int, PartialTensor] = {}
        root = self.liar.output_root
        while True:
            match decisions.next_move(self.honest, root, trace.leaves, known):
                case decisions.DemandNode(op, node):
                    demand = game.demand_node(*self.answer.state, op, node.level, node.index)
                    yield "demandNode", me.send(demand)
                    yield self._shown(op, node, known)
                case decisions.ProveElement(op, row, col):
                    view = DisputedTensors(self.honest, trace.leaves, root, known)
                    step = proofs.step(self.constants, view, op, row, col)
                    yield "prove", me.send(game.prove(*given, NO_RECEIPT, ZERO32, step))
                    return
                case move:
                    raise AssertionError(move)

    def _shown(self, op: int, node: TreeNode, known: dict[int, PartialTensor]) -> tuple[str, Mined]:
        game, operator = self.network.game, self.network.operator
        challenger, program = self.network.challenger.address, self.honest.program
        given = (*self.answer.state, self.answer.preimage)
        pieces = known.setdefault(op, PartialTensor(program.spec_of(program.id_of(op))))
        shown = decisions.answer_node(self.liar, op, node)
        if isinstance(shown, decisions.OpenNodeArguments):
            arguments = (*given, challenger, shown.tensor, shown.nodes, shown.path)
            pieces.add_nodes(node, shown.nodes)
            return "openNode", operator.send(game.open_node(*arguments))
        pieces.add_leaves(node, shown.data)
        leaves = (*given, challenger, shown.tensor, shown.data, shown.path)
        return "revealLeaves", operator.send(game.reveal_leaves(*leaves))

    @property
    def bond(self) -> Any:
        game, market = self.network.game, self.network.market
        request_id = market.request_id_of(self.answer.request)
        return 4 * game.bond_needed(request_id)  # the base fee may rise a little meanwhile


def _witness(request_id: bytes, challenger: str, salt: bytes, *place: int) -> Bytes32:
    words = [request_id, bytes.fromhex(challenger[2:]).rjust(32, b"\0"), salt]
    return keccak(b"".join([*words, *(number.to_bytes(32) for number in place)]))


# ── The figures ───────────────────────────────────────────────────────────────────────────────────
def measure() -> dict[str, Any]:
    """Play three games; return the gas of their transactions, the totals and the goals."""
    encoder = Encoder()
    program, constants = encoder.build()
    rng = np.random.default_rng(12)
    inputs = (rng.integers(-30_000, 30_000, (TOKENS, WIDTH)).astype(np.int16),)
    honest = Committed(program, execute(program, constants, inputs).tensors)
    dot, scores = encoder.places["dot"], encoder.places["scores"]
    games: dict[str, Any] = {}
    with Anvil() as anvil:
        network = Network(anvil, program)
        for lane, (name, op) in enumerate(
            (("served", dot), ("withheld", dot), ("withheld, deepest tensor", scores))
        ):
            place = (op, 77, 100)
            liar = lie(honest, constants, *place)
            play = Play(network, constants, honest, liar, network.answer(liar, lane))
            moves = play.served(*place) if name == "served" else play.withheld()
            games[name] = _game(moves, depth_of(program.ops[op].result))
    return {
        "program": {"operators": len(program.ops), "registerProgram": network.registered},
        "games": games,
        "goals": GOALS,
    }


def _game(moves: Iterator[tuple[str, Mined]], depth: int) -> dict[str, Any]:
    sent = [{"transaction": name, "gas": mined.gas_used} for name, mined in moves]
    total = sum(int(str(row["gas"])) for row in sent)
    return {"depth": depth, "transactions": sent, "count": len(sent), "total": total}


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per transaction."""
    result = measure()
    program = result["program"]
    report(f"program of {program['operators']} operators")
    report(f"  {'registerProgram':26} {program['registerProgram']:>9,}")
    for name, game in result["games"].items():
        report(f"{name} (tensor of depth {game['depth']})")
        for row in game["transactions"]:
            report(f"  {row['transaction']:26} {row['gas']:>9,}")
        goal = "" if name == "served" else f"   goal ≤ {GOALS['withheld']:,}"
        report(f"  {game['count']} transactions {game['total']:>23,}{goal}")
    return result


if __name__ == "__main__":
    run(print, Path("build/bench"))
