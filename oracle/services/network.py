"""The network as services see it: one node, one deployment, one IPFS; made once, passed on."""

from dataclasses import dataclass
from pathlib import Path

from oracle.chain import deploy
from oracle.chain.bindings.committee import Committee
from oracle.chain.bindings.committee_seats import CommitteeSeats
from oracle.chain.bindings.data_credits import DataCredits
from oracle.chain.bindings.data_rounds import DataRounds
from oracle.chain.bindings.dispute_game import DisputeGame
from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.bindings.model_access import ModelAccess
from oracle.chain.bindings.model_registry import ModelRegistry
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.payment_channels import PaymentChannels
from oracle.chain.bindings.program_registry import ProgramRegistry
from oracle.chain.bindings.request_lens import RequestLens
from oracle.chain.bindings.row_demands import RowDemands
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.bindings.training_game import TrainingGame
from oracle.chain.bindings.training_rounds import TrainingRounds
from oracle.chain.bindings.valuation_game import ValuationGame
from oracle.chain.rpc import Node, Rpc
from oracle.chain.wallet import Wallet
from oracle.config import Settings
from oracle.ipfs.client import IpfsClient
from oracle.ipfs.port import Ipfs
from oracle.services import wallets
from oracle.services.event_history import History
from oracle.services.history_cache import HistoryCache
from oracle.services.lineage.manifests import Manifests
from oracle.types import Contracts


@dataclass(frozen=True, slots=True)
class Network:
    """Everything a use case needs. Holds no key."""

    settings: Settings
    contracts: Contracts
    rpc: Node
    ipfs: Ipfs
    registry: ModelRegistry
    access: ModelAccess
    operators: OperatorRegistry
    market: InferenceMarket
    channels: PaymentChannels
    lens: RequestLens
    programs: ProgramRegistry
    game: DisputeGame
    committee: Committee
    seats: CommitteeSeats
    credits: DataCredits
    data_rounds: DataRounds
    row_demands: RowDemands
    valuations: ValuationGame
    training: TrainingRounds
    training_game: TrainingGame
    token: TestDollar
    history: History
    manifests: Manifests

    @classmethod
    def open(cls, settings: Settings) -> "Network":
        """Connect, and check that the node serves the chain and the contracts of the settings.

        Raises:
            ConfigInvalid: no deployment is known, or the node serves another chain.
            Unavailable: the node cannot be reached.
            DeploymentFailed: the contracts are not there (the chain was started anew).
        """
        contracts = settings.deployed
        rpc = Rpc(settings.rpc_url)
        rpc.expect_chain(contracts.chain_id)
        deploy.verify(rpc, contracts)
        return cls.over(settings, rpc, IpfsClient(settings.ipfs_api, settings.ipfs_timeout))

    @classmethod
    def over(cls, settings: Settings, rpc: Node, ipfs: Ipfs) -> "Network":
        """Return a network over given ports; nothing is checked or sent."""
        contracts = settings.deployed
        return cls(
            settings=settings,
            contracts=contracts,
            rpc=rpc,
            ipfs=ipfs,
            registry=ModelRegistry(rpc, contracts.model_registry),
            access=ModelAccess(rpc, contracts.model_access),
            operators=OperatorRegistry(rpc, contracts.operator_registry),
            market=InferenceMarket(rpc, contracts.inference_market),
            channels=PaymentChannels(rpc, contracts.payment_channels),
            lens=RequestLens(rpc, contracts.request_lens),
            programs=ProgramRegistry(rpc, contracts.program_registry),
            game=DisputeGame(rpc, contracts.dispute_game),
            committee=Committee(rpc, contracts.committee),
            seats=CommitteeSeats(rpc, contracts.committee_seats),
            credits=DataCredits(rpc, contracts.data_credits),
            data_rounds=DataRounds(rpc, contracts.data_rounds),
            row_demands=RowDemands(rpc, contracts.row_demands),
            valuations=ValuationGame(rpc, contracts.valuation_game),
            training=TrainingRounds(rpc, contracts.training_rounds),
            training_game=TrainingGame(rpc, contracts.training_game),
            token=TestDollar(rpc, contracts.token),
            history=History(rpc, contracts, HistoryCache(settings.home / "cache" / "history", rpc)),
            manifests=Manifests(ipfs),
        )

    def wallet(self, name: str, password: str) -> Wallet:
        """Unlock the wallet of this name.

        Raises:
            NotFound, ConfigInvalid, PasswordWrong: see `oracle.chain.keystore.load`.
        """
        account = wallets.unlock(self.settings, name, password)
        return Wallet(self.rpc, account, chain_id=self.contracts.chain_id)

    @property
    def cache(self) -> Path:
        """Folder of files fetched by CID for this user."""
        return self.settings.home / "cache"
