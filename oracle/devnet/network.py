"""Brings a whole network up in order, keeps it running, takes it down again.

```
 servers (together) ─▶ contracts ─▶ wallets, money ─▶ network.json ─▶ stakes ─▶ operators (together)
```
Every start begins a new chain: what remembers the old one (network.json, the operators' stores) is
removed; keys, IPFS blocks and weight caches are kept.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from eth_account.signers.local import LocalAccount

from oracle.agents.folder import locked_account
from oracle.chain.anvil import CHAIN_ID, dev_account
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.rpc import Rpc, quantity
from oracle.chain.wallet import Wallet
from oracle.config import NETWORK_FILE, Settings, save_network
from oracle.devnet import accounts, background, rest, servers
from oracle.devnet.background import RunningPart
from oracle.devnet.operator_processes import endpoint_process, processes
from oracle.devnet.supervisor import ProcessEvent, ProcessSpec, Supervisor
from oracle.errors import ConfigInvalid
from oracle.ports import free_port
from oracle.services import balances, wallets
from oracle.services.network import Network
from oracle.types import ZERO32, Address, Amount, Say

STAKE = Amount(1_000 * 10**6)  # of each operator
PREPAID = Amount(1_000 * 10**6)  # of the gateway
SERVERS = "servers"
GATEWAY = "gateway"
LOCKS = 8  # convictions that a selling operator puts stake behind, for each model
POLL_INTERVAL = 0.05  # seconds; a look costs a few milliseconds of a core


@dataclass(frozen=True, slots=True)
class DevnetPlan:
    """What a development network consists of; the empty URLs mean: start one."""

    home: Path
    operators: tuple[str, ...] = ("alpha", "beta")
    selling: tuple[str, ...] = ()  # of the operators: who answers what channels pay as well
    rpc_port: int = 0  # 0 = a free one
    block_time: int = 1  # seconds
    ipfs_api: str = ""
    redis_url: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)  # by operator (worker/faults.py)
    people: tuple[str, ...] = ()  # who else gets a wallet
    close_delay: int = 60  # seconds until a channel that its payer closes can be emptied
    rest: bool = False  # serve the REST gateway as well
    rest_port: int = 0  # 0 = a free one
    rest_channels: bool = False  # the gateway pays over channels where it can


class Devnet:
    """A development network that belongs to this process; use `running`."""

    def __init__(self, plan: DevnetPlan, environ: Mapping[str, str], say: Say) -> None:
        """Take the plan; nothing is started."""
        self.plan = plan
        self.settings = Settings(
            home=plan.home, log_level=environ.get("TALLYSTICK_LOG_LEVEL", "info")
        )
        self.kinds: Mapping[str, str] = {}
        self.ipfs_repo: Path | None = None
        self.rest_url = ""  # of the gateway, once it is started
        self._environ = environ
        self._say = say
        self._groups: dict[str, Supervisor] = {}
        self._ports: dict[str, int] = {}  # of the operators' responders and endpoints
        self._accounts: dict[str, Address] = {}
        self._network: Network | None = None
        self._locks = ExitStack()  # of the operators' accounts

    def start_servers(self) -> None:
        """Start chain, IPFS and queue on free ports.

        Raises:
            ConfigInvalid: a network runs in this home already, or a program is missing.
            ProcessFailed: a server did not come up.
        """
        plan = self.plan
        background.refuse_second(plan.home)
        _forget_old_chain(plan.home)
        background.write(plan.home, background.myself())
        found = servers.plan(
            plan.home,
            environ=self._environ,
            rpc_port=plan.rpc_port,
            block_time=plan.block_time,
            ipfs_api=plan.ipfs_api,
            redis_url=plan.redis_url,
        )
        self._say("starting chain, IPFS and queue")
        self._groups[SERVERS] = Supervisor(found.specs)
        self._groups[SERVERS].start(together=True)
        self.kinds, self.ipfs_repo = found.kinds, found.ipfs_repo
        self.settings = replace(
            self.settings,
            rpc_url=found.rpc_url,
            ws_url=found.rpc_url.replace("http", "ws", 1),  # Anvil serves both on one port
            ipfs_api=found.ipfs_api,
            redis_url=found.redis_url,
            password_file=str(accounts.password_file(self.settings)),
            poll_interval=POLL_INTERVAL,
        )

    def deploy(self) -> None:
        """Put the contracts on the chain, make and fund the wallets, write network.json."""
        self._say("deploying the contracts")
        self._accounts = accounts.ensure(
            self.settings,
            dict.fromkeys(
                (*accounts.PEOPLE, *self.plan.people, *self.plan.operators, *self.plan.faults)
            ),
        )
        config = DeployConfig(
            treasury=self._accounts["treasury"],
            # What honest people have to meet on a machine that is busy with everything else
            claim_period=120,
            demand_period=300,
            valuation_window=600,
            close_delay=self.plan.close_delay,
        )
        with Rpc(self.settings.rpc_url) as rpc:
            contracts = deploy(Wallet(rpc, dev_account(0)), config)
        self.settings = replace(self.settings, contracts=contracts)
        save_network(self.settings)
        self._network = Network.open(self.settings)
        self._say("funding the wallets")
        accounts.fund(self._network, self._accounts.values())

    def stake_operators(self) -> None:
        """Register every operator and lock its stake."""
        for name in self.plan.operators:
            self._say(f"{name} registers and stakes")
            wallet, registry = self.wallet(name), self.network.operators
            calls = [
                registry.register(ZERO32, self.endpoint(name)),
                self.network.token.approve(registry.address, STAKE),
            ]
            if name in self.plan.selling:
                calls.append(self.network.channels.announce(self.channel_endpoint(name)))
            wallet.send_all(calls)
            wallet.send(registry.stake(wallet.address, STAKE))

    def start_operators(self) -> None:
        """Start every operator's processes."""
        for name in self.plan.operators:
            self.start_operator(name)

    def start_operator(self, name: str) -> None:
        """Start one operator's processes (again)."""
        self._say(f"starting {name}'s processes")
        if name not in self._groups:
            wallet = wallets.find(self.settings, name)
            self._locks.enter_context(locked_account(self.settings.home, wallet.address))
            settings = replace(self.settings, fault=self.plan.faults.get(name, ""))
            specs = processes(settings, wallet, infer_processes=1, endpoint=self.endpoint(name))
            if name in self.plan.selling:
                url = self.channel_endpoint(name)
                self.kinds = {**self.kinds, "channels": url}
                listen = url.removeprefix("http://")
                specs = (*specs, endpoint_process(settings, wallet, (), listen, locks=LOCKS))
            self._groups[name] = Supervisor(specs)
        self._groups[name].start(together=True)

    def start_beside(self, name: str, specs: Sequence[ProcessSpec]) -> None:
        """Start processes that are no operator's; they end with the network."""
        self._groups[name] = Supervisor(specs)
        self._groups[name].start(together=True)

    def start_gateway(self) -> None:
        """Prepay for the gateway's account and serve REST."""
        if GATEWAY not in self._groups:
            self._say("starting the REST gateway")
            balances.deposit(self.network, self.wallet(GATEWAY), PREPAID)
            found = rest.gateway(
                self.settings, self.plan.rest_port or free_port(), channels=self.plan.rest_channels
            )
            self.rest_url = found.url
            self.kinds = {**self.kinds, "rest": found.url}
            self._groups[GATEWAY] = Supervisor([found.spec])
        self._groups[GATEWAY].start()

    def endpoint(self, name: str) -> str:
        """Return where an operator's responder is: a free loopback port of its own."""
        port = self._ports.setdefault(name, free_port())
        return f"http://127.0.0.1:{port}"

    def channel_endpoint(self, name: str) -> str:
        """Return where an operator answers what channels pay."""
        return self.endpoint(f"{name}.channels")

    def kill_operator(self, name: str, role: str = "") -> None:
        """Kill one operator's processes in the middle of what they are at, or one of them."""
        for part in self._groups[name].status():
            if not role or part.name == f"{name}.{role}":
                self._groups[name].stop_one(part.name, kill=True)

    def dismiss_operator(self, name: str) -> None:
        """Ask one operator's processes to stop; nobody waits for them."""
        self._groups[name].ask_to_stop()

    def stop(self) -> None:
        """Stop everything, last started first, and forget the network's file."""
        operators = [group for name, group in self._groups.items() if name != SERVERS]
        try:
            for group in operators:
                group.ask_to_stop()
            for group in reversed(self._groups.values()):
                group.stop()
        finally:
            self._locks.close()
            background.forget(self.plan.home)

    def poll(self) -> list[ProcessEvent]:
        """Restart what ended; return what happened."""
        events = [event for group in self._groups.values() for event in group.poll()]
        if events:
            self.publish()
        return events

    def publish(self) -> None:
        """Tell other processes how this network is."""
        background.write(
            self.plan.home,
            replace(background.myself(), ready=True, kinds=self.kinds, parts=self.parts()),
        )

    def parts(self) -> tuple[RunningPart, ...]:
        """Return every process."""
        return tuple(
            RunningPart(process.name, process.state, process.pid, process.restarts)
            for group in self._groups.values()
            for process in group.status()
        )

    def store_url(self, operator: str) -> str:
        """Return where an operator keeps its jobs."""
        return replace(self.settings, operator=operator).database_url

    def head(self) -> int:
        """Return the number of the newest block."""
        return quantity(self.network.rpc.call("eth_blockNumber"))

    @property
    def network(self) -> Network:
        """The network as services see it; there once `deploy` is done."""
        if self._network is None:
            raise RuntimeError("deploy() comes first")
        return self._network

    @property
    def accounts(self) -> Mapping[str, Address]:
        """Every wallet's address by name."""
        return self._accounts

    def wallet(self, name: str) -> Wallet:
        """Return one of the network's wallets, unlocked."""
        return Wallet(self.network.rpc, self.unlock(name), chain_id=self.network.contracts.chain_id)

    def unlock(self, name: str) -> LocalAccount:
        """Return the key of one of the network's wallets."""
        password = wallets.read_password(accounts.password_file(self.settings))
        return wallets.unlock(self.settings, name, password)


@contextmanager
def running(
    plan: DevnetPlan, environ: Mapping[str, str] = os.environ, say: Say = lambda _text: None
) -> Iterator[Devnet]:
    """Bring a network up completely; take it down at the end, however that comes."""
    devnet = Devnet(plan, environ, say)
    try:
        devnet.start_servers()
        devnet.deploy()
        devnet.stake_operators()
        if plan.rest:
            devnet.start_gateway()  # first: it is waited for, and operators take both cores
        devnet.start_operators()
        devnet.publish()
        yield devnet
    finally:
        devnet.stop()


def _forget_old_chain(home: Path) -> None:
    """Remove what belongs to the chain before this one.

    Raises:
        ConfigInvalid: this home is of a network that is not for development.
    """
    old = Settings.load({}, home).contracts
    if old is not None and old.chain_id != CHAIN_ID:
        raise ConfigInvalid(
            f"{home} belongs to chain {old.chain_id}, which is not a development network",
            hint="choose another folder with TALLYSTICK_HOME",
        )
    (home / NETWORK_FILE).unlink(missing_ok=True)
    for folder in (*(home / "operators").glob("*"), home / "gateway"):
        for file in (*folder.glob("store.db*"), *folder.glob("endpoint.db*")):
            file.unlink()
    for name in ("logs", "data", "channels"):  # of rounds that no chain has any more
        shutil.rmtree(home / name, ignore_errors=True)
