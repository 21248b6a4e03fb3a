"""A network with an exact model on it, its operator's real processes, and a challenger by hand.

Nobody infers: the test delivers what it likes, true or not. Watcher, submitter and responder are
the operator's own.
"""

from oracle.chain.arguments import DisputedAnswer
from oracle.chain.bindings.dispute_game import DisputeGame
from oracle.chain.bindings.inference_market import Requested
from oracle.chain.bindings.model_registry import (
    ModelRegistered,
    ModelRegistry,
    Publication,
    VersionPublished,
)
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.program_registry import ProgramRegistry
from oracle.chain.logs import topic_of
from oracle.chain.versions import record_of
from oracle.exact import constants as constants_
from oracle.exact import files
from oracle.exact.commitments import Committed
from oracle.ipfs.client import IpfsClient
from oracle.ports import free_port
from oracle.protocol.canonical import dumps, sha256
from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.manifest import Manifest
from oracle.queue import celery_app
from oracle.queue.message import Message
from oracle.queue.messages import DeliverMessage
from oracle.services.traces import TraceClient
from oracle.store.job import JobState
from oracle.types import ZERO32, Assurance, Bytes32, Order, RequestId, VersionRecord
from tests.contracts.exact import example
from tests.support.waiting import wait_until
from tests.system.world import FEE, LIFETIME, World

WINDOW = 1800  # seconds: longer than any test


class DisputeWorld(World):
    """One exact model, an operator that answers for it, and requesters who may challenge."""

    def __init__(self, home, **options):
        self.example = example()
        self.port = free_port()  # of the responder
        super().__init__(home, window=WINDOW, **options)
        self.game = DisputeGame(self.rpc, self.contracts.dispute_game)
        self.challenger = self.requesters[1]

    def _people(self) -> int:
        super()._people()
        contracts, program = self.contracts, self.example.program
        self.ipfs_client = IpfsClient(self.ipfs.api_url)
        manifest = self._publish_files()
        digest = self.ipfs_client.publish_bytes(manifest).sha256
        self.owner.send(
            ProgramRegistry(self.rpc, contracts.program_registry).register_program(program.words)
        )
        registry = ModelRegistry(self.rpc, contracts.model_registry)
        made = self.owner.send(registry.register_model("exact", 0)).one(ModelRegistered)
        publication = Publication(
            digest, program.model_root, Assurance.EXACT, 0, FEE, 7000, 0, 1, self.window, 0
        )
        self.owner.send(registry.publish_version(made.model_id, ZERO32, publication))
        operators = OperatorRegistry(self.rpc, contracts.operator_registry)
        self.owner.send(operators.authorize(made.model_id, self.operator.address, True))
        return made.model_id

    def _publish_files(self) -> bytes:
        from oracle.exact import quantisation
        from oracle.exact.dtypes import DType

        program, constants = self.example.program, self.example.constants
        entries = []
        for name, data in (
            ("model.program", program.encode()),
            ("constants.safetensors", constants_.save(program, constants)),
        ):
            path = self.home / name
            path.write_bytes(data)
            found = self.ipfs_client.publish_file(path)
            entries.append(
                {"path": name, "cid": found.cid, "sha256": to_hex(found.sha256), "size": found.size}
            )
        x = quantisation.Linear("x", DType.I8, (64, 8), (0, 1), 64, 1.0)
        y = quantisation.OutputCode("y", DType.I32, (8, 8), 1.0)
        manifest = Manifest.parse(
            dumps(
                {
                    "schema": "tallystick/manifest/1",
                    "name": "exact",
                    "files": sorted(entries, key=lambda entry: entry["path"]),
                    "runtime": {"format": "exact", "entry": "model.program"},
                    "inputs": [{"name": "x", "dtype": "F32", "shape": [64, 8]}],
                    "outputs": [{"name": "y", "dtype": "F32", "shape": [8, 8]}],
                    "exact": {
                        "constants": "constants.safetensors",
                        "inputs": [quantisation.to_json(x)],
                        "outputs": [quantisation.to_json(y)],
                        "output_id": len(program.ops),
                    },
                }
            )
        )
        return manifest.to_bytes()

    # ── Requests and answers ────────────────────────────────────────────────────────────────────

    def ask_exact(self, committed: Committed | None = None) -> RequestId:
        """Ask for the example's input and tell the submitter an answer; return when delivered."""
        committed = committed or self.example.honest
        data = files.record(0, self.example.honest.tree(0))
        self.ipfs_client.publish_bytes(data)
        order = self.order(self.requesters[0])
        order = Order(
            order.model_id, 1, order.lane, committed.input_root, sha256(data), ZERO32, FEE,
            LIFETIME, LIFETIME, self.operator.address,
        )  # fmt: skip
        request_id = self.requesters[0].send(self.market.request(order)).one(Requested).request_id
        wait_until(lambda: self.job(request_id) is not None, "the watcher sees the request")
        output = committed.tree(len(self.example.program.ops))
        record = files.record(len(self.example.program.ops), output)
        self.ipfs_client.publish_bytes(record)
        self.send(DeliverMessage(request_id, committed.output_root, sha256(record)))
        wait_until(
            lambda: (job := self.job(request_id)) is not None and job.state is JobState.DELIVERED,
            lambda: f"a delivery, the job is {self.job(request_id)}",
        )
        return request_id

    def send(self, message: Message) -> None:
        """Put a message on the operator's queue for it."""
        with celery_app.create(lambda: self.settings) as app:
            celery_app.send(app, message)

    def answer(self, request_id: RequestId) -> DisputedAnswer:
        """Return what callers of the game bring."""
        job = self.job(request_id)
        return DisputedAnswer(job.request, job.delivery, self.record())

    def record(self) -> VersionRecord:
        with self.store.read() as tx:
            return record_of(tx.logs_of_model(self.model_id, topic_of(VersionPublished)), 1)

    # ── The challenger ──────────────────────────────────────────────────────────────────────────

    def challenge(self, request_id: RequestId, witness: Bytes32 = ZERO32, wallet=None) -> None:
        """Challenge a delivery; without a witness the trace is demanded."""
        bond = 2 * self.game.bond_needed(request_id)
        (wallet or self.challenger).send(
            self.game.challenge(*self.answer(request_id).state, witness, value=bond)
        )

    # ── Processes ───────────────────────────────────────────────────────────────────────────────

    def fork_responder(self, **more: str) -> int:
        """Start the real responder and return its pid."""
        return self._fork("respond", **({"TALLYSTICK_LISTEN": self.listen} | more))

    @property
    def listen(self) -> str:
        return f"127.0.0.1:{self.port}"

    def traces(self) -> TraceClient:
        """Return a client of the responder."""
        return TraceClient(f"http://{self.listen}", timeout=60, patience=300)
