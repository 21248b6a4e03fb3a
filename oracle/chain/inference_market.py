"""The InferenceMarket contract; IInferenceMarket.sol says what each function means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract, split_signature
from oracle.chain.revert import dollars
from oracle.chain.rpc import BlockId
from oracle.types import (
    NO_CLAIM,
    ZERO32,
    Address,
    Amount,
    Bytes32,
    Claim,
    Delivery,
    Order,
    Request,
    RequestId,
    Terms,
    Timestamp,
    Verdict,
    Wei,
)


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """What is fixed when the market is deployed (IInferenceMarket.sol)."""

    token: Address
    registry: Address
    access: Address
    operators: Address
    data_credits: Address
    exact_module: Address
    committee_module: Address
    treasury: Address
    protocol_bps: int
    min_lock: Amount
    claim_forfeit: Amount
    claim_period: int  # seconds
    demand_period: int  # seconds
    max_dispute_age: int  # seconds


@dataclass(frozen=True, slots=True)
class Earnings:
    """What a model earned and nobody collected yet."""

    owner_fee: Amount
    data_fee: Amount


@dataclass(frozen=True, slots=True)
class Lock:
    """Stake locked for one delivery, and how a conviction splits it."""

    total: Amount
    compensation: Amount
    bounty: Amount
    burned: Amount


@dataclass(frozen=True, slots=True)
class Demand:
    """A demand for an output's bytes; a deadline of 0 means that there never was one."""

    challenger: Address
    deadline: Timestamp
    bond: Wei


class InferenceMarket(Contract):
    """Balances, requests, deliveries and settlement."""

    NAME = "InferenceMarket"

    # ── Prepaid balances ────────────────────────────────────────────────────────────────────────
    def deposit(self, account: Address, amount: Amount) -> Call:
        """Move tokens of the caller, approved before, into an account's balance."""
        label = f"deposit {dollars(amount)} for {account}"
        return self._call("deposit", account, amount, label=label)

    def deposit_with_permit(self, amount: Amount, deadline: Timestamp, signature: bytes) -> Call:
        """Deposit for the caller with an EIP-2612 permit (65 bytes r‖s‖v)."""
        label = f"deposit {dollars(amount)} with a permit"
        return self._call(
            "depositWithPermit", amount, deadline, *split_signature(signature), label=label
        )

    def withdraw(self, to: Address, amount: Amount) -> Call:
        """Pay out of the caller's balance."""
        return self._call("withdraw", to, amount, label=f"withdraw {dollars(amount)} to {to}")

    # ── Request ─────────────────────────────────────────────────────────────────────────────────
    def request(self, order: Order) -> Call:
        """Escrow the fee and ask; the request is in `Requested`."""
        return self._call("request", order, label=f"request an answer of model {order.model_id}")

    def request_for(
        self,
        requester: Address,
        order: Order,
        nonce: int,
        deadline: Timestamp,
        signature: bytes,
    ) -> Call:
        """Ask in the name of a requester who signed."""
        label = f"request an answer of model {order.model_id} for {requester}"
        return self._call("requestFor", requester, order, nonce, deadline, signature, label=label)

    # ── Claim and deliver ───────────────────────────────────────────────────────────────────────
    def claim(self, request: Request, lapsed: Claim = NO_CLAIM) -> Call:
        """Take the exclusive right to deliver."""
        return self._call("claim", request, lapsed, label="claim a request")

    def deliver(
        self,
        request: Request,
        claim: Claim,
        output_root: Bytes32,
        output_cid: Bytes32 = ZERO32,
    ) -> Call:
        """Post the answer's digest."""
        return self._call(
            "deliver", request, claim, output_root, output_cid, label="deliver an answer"
        )

    def deliver_batch(
        self,
        requests: Sequence[Request],
        claims: Sequence[Claim],
        output_roots: Sequence[Bytes32],
        output_cids: Sequence[Bytes32],
    ) -> Call:
        """Post many answers; one that is not possible reverts all."""
        label = f"deliver {len(requests)} answers"
        return self._call("deliverBatch", requests, claims, output_roots, output_cids, label=label)

    # ── Settle ──────────────────────────────────────────────────────────────────────────────────
    def finalize(self, requests: Sequence[Request], deliveries: Sequence[Delivery]) -> Call:
        """Pay out deliveries whose challenge window has passed."""
        return self._call(
            "finalize", requests, deliveries, label=f"finalize {len(requests)} answer(s)"
        )

    def cancel_expired(self, request: Request, claim: Claim = NO_CLAIM) -> Call:
        """Refund a request that nobody delivered in time."""
        return self._call("cancelExpired", request, claim, label="cancel an expired request")

    # ── Output availability ─────────────────────────────────────────────────────────────────────
    def demand_output(self, request: Request, delivery: Delivery, bond: Wei) -> Call:
        """Oblige the operator to post the output's bytes; `bond` is sent along."""
        return self._call(
            "demandOutput", request, delivery, value=bond, label="demand an output's bytes"
        )

    def post_output(self, request: Request, delivery: Delivery, output: bytes) -> Call:
        """Answer a demand."""
        label = f"post an output of {len(output)} bytes"
        return self._call("postOutput", request, delivery, output, label=label)

    def convict_withheld(self, request: Request, delivery: Delivery) -> Call:
        """Convict an operator that did not answer a demand."""
        return self._call("convictWithheld", request, delivery, label="convict: output withheld")

    # ── Disputes: only modules, except annul_stale ──────────────────────────────────────────────
    def open_dispute(self, request: Request, delivery: Delivery) -> Call:
        """Make `finalize` wait; only the version's dispute module may."""
        return self._call("openDispute", request, delivery)

    def close_dispute(self, request: Request, delivery: Delivery) -> Call:
        """Close one dispute without a conviction; only the module may."""
        return self._call("closeDispute", request, delivery)

    def convict(
        self,
        request: Request,
        delivery: Delivery,
        verdict: Verdict,
        challenger: Address,
        prover: Address,
    ) -> Call:
        """Slash the operator and compensate the requester; only the module may."""
        return self._call("convict", request, delivery, int(verdict), challenger, prover)

    def annul(self, request: Request, delivery: Delivery) -> Call:
        """End the request without a verdict; only the module may."""
        return self._call("annul", request, delivery)

    def annul_stale(self, request: Request, delivery: Delivery) -> Call:
        """The same by anyone, once the disputes are stale."""
        return self._call("annulStale", request, delivery, label="annul a stale dispute")

    # ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    def collect_model_earnings(self, model_id: int) -> Call:
        """Pay the owner's and the data share to whom they belong."""
        label = f"collect the earnings of model {model_id}"
        return self._call("collectModelEarnings", model_id, label=label)

    def collect_protocol_earnings(self) -> Call:
        """Pay the protocol's share to the treasury."""
        return self._call("collectProtocolEarnings", label="collect the protocol's earnings")

    def withdraw_bond(self) -> Call:
        """Pay out the caller's bonds in the chain's currency."""
        return self._call("withdrawBond", label="withdraw bonds")

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def balance_of(self, account: Address, block: BlockId = "latest") -> Amount:
        """Return an account's prepaid balance."""
        return Amount(self._read("balanceOf", account, block=block))

    def nonce_of(self, account: Address, block: BlockId = "latest") -> int:
        """Return the nonce of the account's next request."""
        return int(self._read("nonceOf", account, block=block))

    def model_earnings(self, model_id: int, block: BlockId = "latest") -> Earnings:
        """Return what the model earned and nobody collected yet."""
        return Earnings(*self._read("modelEarnings", model_id, block=block))

    def protocol_earnings(self, block: BlockId = "latest") -> Amount:
        """Return the protocol's share that nobody collected yet."""
        return Amount(self._read("protocolEarnings", block=block))

    def bond_of(self, account: Address, block: BlockId = "latest") -> Wei:
        """Return the account's bonds that it may withdraw."""
        return Wei(self._read("bondOf", account, block=block))

    def request_id_of(self, request: Request, block: BlockId = "latest") -> RequestId:
        """Return the request's id as the contract computes it."""
        return RequestId(self._read("requestIdOf", request, block=block))

    def commitment_of(self, requester: Address, lane: int, block: BlockId = "latest") -> Bytes32:
        """Return a lane's content: 0 never used, 1 free again, else the hash of a live state."""
        return Bytes32(self._read("commitmentOf", requester, lane, block=block))

    def free_lane(self, requester: Address, start: int = 0, block: BlockId = "latest") -> int:
        """Return the first free lane at or after `start`."""
        return int(self._read("freeLane", requester, start, block=block))

    def open_disputes_of(self, request_id: RequestId, block: BlockId = "latest") -> int:
        """Return how many disputes `finalize` waits for, an open demand included."""
        return int(self._read("openDisputesOf", request_id, block=block))

    def demand_of(self, request_id: RequestId, block: BlockId = "latest") -> Demand:
        """Return the demand for the request's output."""
        challenger, deadline, bond = self._read("demandOf", request_id, block=block)
        return Demand(address(challenger), deadline, bond)

    def lock_of(self, terms: Terms, block: BlockId = "latest") -> Lock:
        """Return the stake that a delivery under these terms locks."""
        return Lock(*self._read("lockOf", terms, block=block))

    def config(self, block: BlockId = "latest") -> MarketConfig:
        """Return what was fixed at deployment."""
        values: Sequence[Any] = self._read("config", block=block)
        addresses: list[Any] = [address(value) for value in values[:8]]
        return MarketConfig(*addresses, *values[8:])
