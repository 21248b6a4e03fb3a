"""The ModelRegistry contract; IModelRegistry.sol says what each function means."""

from dataclasses import dataclass

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract
from oracle.chain.rpc import BlockId
from oracle.types import Address, Amount, Assurance, Bytes32, Terms


@dataclass(frozen=True, slots=True)
class Publication:
    """What an owner says when publishing a version; see `oracle.types.Terms` for units."""

    manifest_digest: Bytes32
    model_root: Bytes32
    assurance: Assurance
    tolerance: int  # absolute, in 1e-9
    fee: Amount
    operator_bps: int
    data_bps: int
    insured_multiple: int
    challenge_window: int  # seconds


class ModelRegistry(Contract):
    """Models as ERC-721 tokens with append-only histories."""

    NAME = "ModelRegistry"

    # ── Register and publish ────────────────────────────────────────────────────────────────────
    def register_model(self, name: str, update_interval: int = 0) -> Call:
        """Mint a model to the caller; the id is in `ModelRegistered`."""
        return self._call("registerModel", name, update_interval, label=f"register {name!r}")

    def publish_version(self, model_id: int, prev_head: Bytes32, publication: Publication) -> Call:
        """Append a version to the history that `prev_head` ends."""
        return self._call(
            "publishVersion",
            model_id,
            prev_head,
            publication,
            label=f"publish a version of model {model_id}",
        )

    def set_terms(
        self,
        model_id: int,
        version: int,
        *,
        fee: Amount,
        operator_bps: int,
        data_bps: int,
        insured_multiple: int,
        challenge_window: int,
    ) -> Call:
        """Set price and shares for later requests."""
        shares = (operator_bps, data_bps, insured_multiple, challenge_window)
        label = f"set the terms of model {model_id} version {version}"
        return self._call("setTerms", model_id, version, fee, *shares, label=label)

    def retire_version(self, model_id: int, version: int) -> Call:
        """Refuse new requests of a version, for ever."""
        label = f"retire model {model_id} version {version}"
        return self._call("retireVersion", model_id, version, label=label)

    # ── History and terms ───────────────────────────────────────────────────────────────────────
    def terms_of(self, model_id: int, version: int, block: BlockId = "latest") -> Terms:
        """Return the terms; assurance NONE when there is no such version."""
        return Terms.unpack(self._read("termsOf", model_id, version, block=block))

    def head_of(self, model_id: int, block: BlockId = "latest") -> Bytes32:
        """Return the current head of the history; zero before the first version."""
        return Bytes32(self._read("headOf", model_id, block=block))

    def head_at(self, model_id: int, version: int, block: BlockId = "latest") -> Bytes32:
        """Return the head right after a version."""
        return Bytes32(self._read("headAt", model_id, version, block=block))

    def manifest_of(self, model_id: int, version: int, block: BlockId = "latest") -> Bytes32:
        """Return the SHA-256 of the version's manifest; zero when there is no such version."""
        return Bytes32(self._read("manifestOf", model_id, version, block=block))

    def version_count(self, model_id: int, block: BlockId = "latest") -> int:
        """Return how many versions were published."""
        return int(self._read("versionCount", model_id, block=block))

    def model_count(self, block: BlockId = "latest") -> int:
        """Return how many models exist; ids run from 1."""
        return int(self._read("modelCount", block=block))

    def name_of(self, model_id: int, block: BlockId = "latest") -> str:
        """Return the model's label."""
        return str(self._read("nameOf", model_id, block=block))

    def update_interval_of(self, model_id: int, block: BlockId = "latest") -> int:
        """Return the fewest seconds between two versions."""
        return int(self._read("updateIntervalOf", model_id, block=block))

    def challenge_window_range(self, block: BlockId = "latest") -> tuple[int, int]:
        """Return the (shortest, longest) challenge window in seconds."""
        shortest, longest = self._read("challengeWindowRange", block=block)
        return shortest, longest

    # ── ERC-721 ─────────────────────────────────────────────────────────────────────────────────
    def owner_of(self, model_id: int, block: BlockId = "latest") -> Address:
        """Return who holds the model's token."""
        return address(self._read("ownerOf", model_id, block=block))

    def balance_of(self, owner: Address, block: BlockId = "latest") -> int:
        """Return how many models the owner holds."""
        return int(self._read("balanceOf", owner, block=block))

    def get_approved(self, model_id: int, block: BlockId = "latest") -> Address:
        """Return who may transfer this model besides its owner."""
        return address(self._read("getApproved", model_id, block=block))

    def is_approved_for_all(
        self, owner: Address, operator: Address, block: BlockId = "latest"
    ) -> bool:
        """Return whether `operator` may transfer all models of `owner`."""
        return bool(self._read("isApprovedForAll", owner, operator, block=block))

    def supports_interface(self, interface_id: bytes, block: BlockId = "latest") -> bool:
        """Answer ERC-165 for a 4-byte interface id."""
        return bool(self._read("supportsInterface", interface_id, block=block))

    def token_uri(self, model_id: int, block: BlockId = "latest") -> str:
        """Return the token's URI."""
        return str(self._read("tokenURI", model_id, block=block))

    def name(self, block: BlockId = "latest") -> str:
        """Return the collection's name."""
        return str(self._read("name", block=block))

    def symbol(self, block: BlockId = "latest") -> str:
        """Return the collection's symbol."""
        return str(self._read("symbol", block=block))

    def approve(self, to: Address, model_id: int) -> Call:
        """Let `to` transfer this model."""
        return self._call("approve", to, model_id)

    def set_approval_for_all(self, operator: Address, approved: bool) -> Call:
        """Let `operator` transfer all of the caller's models, or no longer."""
        return self._call("setApprovalForAll", operator, approved)

    def transfer_from(self, from_: Address, to: Address, model_id: int) -> Call:
        """Transfer a model without asking the receiver."""
        label = f"transfer model {model_id} to {to}"
        return self._call("transferFrom", from_, to, model_id, label=label)

    def safe_transfer_from(
        self, from_: Address, to: Address, model_id: int, data: bytes = b""
    ) -> Call:
        """Transfer a model; a contract that receives it must accept."""
        label = f"transfer model {model_id} to {to}"
        signature = "safeTransferFrom(address,address,uint256,bytes)"
        return self._call(signature, from_, to, model_id, data, label=label)
