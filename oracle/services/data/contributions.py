"""Data sets that people bring: committed to, revealed after the close, listed.

```
 files ─▶ data set ─▶ secret kept here ─▶ submit (commitment)   ┈ round closes ┈   reveal
          by schema   before anything      or sign, and somebody   rows on IPFS, root and salt
                      is sent              else relays             on chain
```
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oracle.chain.arguments import DataOpening, Submission
from oracle.chain.bindings.data_rounds import ContributionStatus, ContributionSubmitted
from oracle.chain.rpc import quantity
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, NotFound, Refused, TransientError
from oracle.ipfs import data_sets
from oracle.protocol import eip712
from oracle.protocol.training import commitment as commit
from oracle.services import balances
from oracle.services.amounts import parse_address
from oracle.services.data import files, rounds, secrets
from oracle.services.data.listing import ContributionInfo, list_contributions, show
from oracle.services.data.rounds import RoundClosed
from oracle.services.data.secrets import Secret, SecretBook
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import ZERO32, Address, Amount, Bytes32, Say, Timestamp
from oracle.valuation.dataset import DataSet
from oracle.valuation.errors import DataOversized, SchemaMismatch
from oracle.valuation.readers import ReadLimits

SIGNATURE_LIFETIME = 3600  # seconds
MAX_FILE = 1 << 32  # bytes that one file may hold once it is unpacked


class AlreadyBrought(Refused):
    """The model has been given this very data set before, under whatever name or order."""


class SubmissionPending(TransientError):
    """A commitment to this data set may be on its way."""


@dataclass(frozen=True, slots=True)
class PreparedContribution:
    """A data set that fits a round, and what is committed to."""

    round_id: int
    model_id: int
    data: DataSet
    secret: Secret
    deposit: Amount
    fee: Amount
    on_chain: int | None  # index, when an earlier try got that far
    again: bool  # there was an earlier try


@dataclass(frozen=True, slots=True)
class Brought:
    """A contribution that is on the chain."""

    round_id: int
    index: int
    owner: Address
    data_root: Bytes32
    rows: int
    commitment: Bytes32
    deposit: Amount
    fee: Amount
    reveal_from: Timestamp
    reveal_until: Timestamp
    transaction: Sent | None  # None: an earlier try had sent it


@dataclass(frozen=True, slots=True)
class SignedSubmission:
    """A submission that somebody else may send, and pay for. Holds nothing that is secret."""

    chain_id: int
    contract: Address  # DataRounds
    submission: Submission
    signature: bytes

    def to_json(self) -> str:
        """Return it as JSON."""
        given = self.submission
        body = {
            "chain_id": self.chain_id,
            "contract": self.contract,
            "owner": given.owner,
            "round_id": given.round_id,
            "commitment": "0x" + given.commitment.hex(),
            "endorser_bps": given.endorser_bps,
            "deadline": given.deadline,
            "signature": "0x" + self.signature.hex(),
        }
        return json.dumps(body, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SignedSubmission":
        """Read what `to_json` wrote.

        Raises:
            InputInvalid: something else.
        """
        try:
            body = json.loads(text)
            commitment, signature = (
                bytes.fromhex(body[name].removeprefix("0x")) for name in ("commitment", "signature")
            )
            if len(commitment) != 32:
                raise ValueError(f"a commitment of {len(commitment)} bytes")
            submission = Submission(
                parse_address(body["owner"]),
                int(body["round_id"]),
                Bytes32(commitment),
                int(body["endorser_bps"]),
                Timestamp(int(body["deadline"])),
            )
            contract = parse_address(body["contract"])
            return cls(int(body["chain_id"]), contract, submission, signature)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputInvalid(
                f"not a signed submission: {error!r:.200}",
                hint="`tallystick data submit MODEL FILES --sign OUT` writes one",
            ) from error


@dataclass(frozen=True, slots=True)
class RevealedSet:
    """A data set that is open now."""

    round_id: int
    index: int
    data_root: Bytes32
    cid: Bytes32
    transaction: Sent


# ── Commit ──────────────────────────────────────────────────────────────────────────────────────
def prepare(
    network: Network,
    owner: Address,
    model_id: int,
    paths: Sequence[Path],
    *,
    drop_repeats: bool = False,
    say: Say = lambda _: None,
) -> PreparedContribution:
    """Read files for the model's round and keep the secret of a commitment to them.

    May be repeated: the same rows give the same data set, and a commitment made before is taken up.

    Raises:
        NotFound: the model has no round. RoundClosed: it takes nothing any more.
        DataInvalid: a subclass says what is wrong with the data.
        AlreadyBrought: the model has this data set already.
    """
    round_id = rounds.current(network, model_id)
    info = rounds.show(network, round_id)
    if info.phase is not rounds.RoundPhase.SUBMIT:
        raise RoundClosed(
            f"round {round_id} of model {model_id} takes no data sets: {info.phase.value}",
            hint="wait for the next round",
        )
    terms = info.terms
    schema = files.fetch(network, terms.schema)
    limits = ReadLimits(rows=terms.max_rows, bytes=MAX_FILE)
    data = files.read(paths, schema, limits=limits, drop_repeats=drop_repeats, say=say)
    if data.rows > terms.max_rows:
        raise DataOversized("the data set", "rows", terms.max_rows)
    if data.width != terms.features:
        raise SchemaMismatch(f"the data set has {data.width} columns, not {terms.features}")
    _refuse_known(network, model_id, owner, data)
    deposit, _ = network.data_rounds.requirements_of(model_id, owner)
    book = SecretBook.of(network.settings.home, network.contracts)
    kept = [s for s in book.of_account(owner, round_id) if s.root == data.root]
    index = _index_of(network, round_id, kept[0].commitment) if kept else None
    if kept:
        secret = kept[0]
    else:
        salt = secrets.salt()
        commitment = commit(round_id, owner, salt, data.root, data.rows)
        secret = Secret(commitment, owner, round_id, salt, data.root, data.rows)
        book.keep(secret, data)
    again = bool(kept)
    return PreparedContribution(round_id, model_id, data, secret, deposit, info.fee, index, again)


def submit(
    network: Network, wallet: Wallet, prepared: PreparedContribution, *, endorser_bps: int = 0
) -> Brought:
    """Commit to a prepared data set. Takes fee and deposit from the wallet.

    Raises:
        ContractError: the round is over or full, or the tier takes no more.
        SubmissionPending: an earlier try may still be mined; a second one would cost as much.
    """
    if prepared.on_chain is not None:
        return _brought(network, prepared, prepared.on_chain, None)
    if prepared.again:
        _refuse_pending(network, wallet)
    balances.allow(
        network, wallet, network.data_rounds.address, Amount(prepared.deposit + prepared.fee)
    )
    call = network.data_rounds.submit(prepared.round_id, prepared.secret.commitment, endorser_bps)
    sent, receipt = send(wallet, call)
    return _brought(network, prepared, receipt.one(ContributionSubmitted).index, sent)


def sign(
    network: Network,
    wallet: Wallet,
    prepared: PreparedContribution,
    *,
    endorser_bps: int = 0,
    lifetime: int = SIGNATURE_LIFETIME,
) -> SignedSubmission:
    """Sign a submission (EIP-712) that somebody else sends and pays for; credit stays the signer's.

    One at a time: the signature names the signer's next nonce.
    """
    deadline = Timestamp(network.history.now() + lifetime)
    commitment = prepared.secret.commitment
    submission = Submission(wallet.address, prepared.round_id, commitment, endorser_bps, deadline)
    message = eip712.submission(
        chain_id=network.contracts.chain_id,
        credits=network.data_rounds.address,
        owner=wallet.address,
        round_id=prepared.round_id,
        commitment=commitment,
        endorser_bps=endorser_bps,
        nonce=network.data_rounds.standing_of(prepared.model_id, wallet.address).nonce,
        deadline=deadline,
    )
    return SignedSubmission(
        network.contracts.chain_id,
        network.data_rounds.address,
        submission,
        wallet.sign_typed(message),
    )


def relay(network: Network, wallet: Wallet, signed: SignedSubmission) -> ContributionInfo:
    """Send a signed submission; the wallet pays fee and deposit, which goes back to the owner.

    Raises:
        InputInvalid: signed for another chain or contract.
        ContractError: signed by another key, expired, or used before.
    """
    place = (signed.chain_id, signed.contract)
    if place != (network.contracts.chain_id, network.data_rounds.address):
        raise InputInvalid(
            f"the submission is signed for chain {place[0]}, contract {place[1]}",
            hint=f"this is chain {network.contracts.chain_id}, {network.data_rounds.address}",
        )
    submission = signed.submission
    model_id = network.data_rounds.round_of(submission.round_id).model_id
    deposit, _ = network.data_rounds.requirements_of(model_id, submission.owner)
    balances.allow(
        network,
        wallet,
        network.data_rounds.address,
        Amount(deposit + network.data_rounds.config().fee),
    )
    call = network.data_rounds.submit_for(*submission, signed.signature)
    index = send(wallet, call)[1].one(ContributionSubmitted).index
    return show(network, submission.round_id, index)


# ── Reveal ──────────────────────────────────────────────────────────────────────────────────────
def reveal(network: Network, wallet: Wallet, round_id: int) -> tuple[RevealedSet, ...]:
    """Publish the rows of all contributions committed to on this machine, and open them.

    Raises:
        NotFound: no secret of this round is kept here, or the rows are gone.
        ContractError: too early, too late, or the data set was committed earlier by another.
    """
    hidden = kept_here(network, round_id)
    if not hidden:
        raise NotFound(
            f"this machine holds no hidden contribution to round {round_id}",
            hint="reveal where `tallystick data submit` was run, with the same --home",
        )
    return tuple(open_one(network, wallet, *one) for one in hidden)


def kept_here(network: Network, round_id: int) -> tuple[tuple[ContributionInfo, Secret], ...]:
    """Return the hidden contributions of a round that this machine can open."""
    book = SecretBook.of(network.settings.home, network.contracts)
    hidden = [
        (info, book.find(info.commitment))
        for info in list_contributions(network, round_id)
        if info.status is ContributionStatus.COMMITTED
    ]
    return tuple((info, secret) for info, secret in hidden if secret is not None)


def open_one(
    network: Network, wallet: Wallet, info: ContributionInfo, secret: Secret
) -> RevealedSet:
    """Publish the rows of one contribution and open it; errors as `reveal`."""
    book = SecretBook.of(network.settings.home, network.contracts)
    opening = DataOpening(secret.root, secret.rows, secret.salt, secret.root, ZERO32)
    # Nothing becomes public that the contract would refuse.
    wallet.simulate(network.data_rounds.reveal(info.round_id, info.index, *opening))
    cid = data_sets.publish(network.ipfs, book.data(secret), book.folder)
    call = network.data_rounds.reveal(info.round_id, info.index, *opening._replace(cid=cid))
    sent, _ = send(wallet, call)
    return RevealedSet(info.round_id, info.index, secret.root, cid, sent)


# ── Inside ──────────────────────────────────────────────────────────────────────────────────────
def _refuse_known(network: Network, model_id: int, owner: Address, data: DataSet) -> None:
    """Raise AlreadyBrought when these rows are another's, or were valued for the model."""
    for round_ in rounds.list_rounds(network, model_id):
        void = round_.phase is rounds.RoundPhase.VOID
        for info in list_contributions(network, round_.round_id):
            unvalued = info.owner == owner and (void or info.number is None)
            if info.data_root == data.root and not unvalued:
                raise AlreadyBrought(
                    f"this data set is contribution {info.index} of round {info.round_id}",
                    hint="its name and the order of its rows make no difference; bring new rows",
                )


def _refuse_pending(network: Network, wallet: Wallet) -> None:
    """Raise SubmissionPending while a transaction of the wallet is not mined."""
    mined = quantity(network.rpc.call("eth_getTransactionCount", wallet.address, "latest"))
    if wallet.next_nonce() != mined:
        raise SubmissionPending(
            f"{wallet.address} has sent transactions that are not mined yet",
            hint="submit the same files again once they are: what was sent is taken up",
        )


def _index_of(network: Network, round_id: int, commitment: Bytes32) -> int | None:
    for info in list_contributions(network, round_id):
        if info.commitment == commitment:
            return info.index
    return None


def _brought(
    network: Network, prepared: PreparedContribution, index: int, sent: Sent | None
) -> Brought:
    round_ = network.data_rounds.round_of(prepared.round_id)
    return Brought(
        round_id=prepared.round_id,
        index=index,
        owner=prepared.secret.account,
        data_root=prepared.data.root,
        rows=prepared.data.rows,
        commitment=prepared.secret.commitment,
        deposit=prepared.deposit,
        fee=prepared.fee,
        reveal_from=round_.submit_until,
        reveal_until=round_.reveal_until,
        transaction=sent,
    )
