"""A channel as a test drives it: vouchers of its payer, claims and receipts of its operator."""

from dataclasses import dataclass

from oracle.chain.bindings.dispute_game import Receipt
from oracle.chain.bindings.payment_channels import VoucherRow, VouchersClaimed
from oracle.chain.wallet import Wallet
from oracle.exact.receipt import receipt
from oracle.protocol import eip712
from oracle.services import balances, requests
from oracle.services.channels import deposits, offers
from oracle.services.channels.offers import OfferInfo
from oracle.services.network import Network
from oracle.types import ZERO32, ZERO_ADDRESS, Amount, Bytes32, Request, RequestId, Timestamp
from tests.support import clock

DOLLAR = 10**6
_VOUCHER = (
    ("payer", "address"), ("offer", "bytes32"), ("cumulative", "uint128"), ("answers", "uint64"),
    ("receiptsRoot", "bytes32"),
)  # fmt: skip


@dataclass
class Trade:
    """An offer, its operator, and a payer."""

    network: Network
    operator: Wallet
    payer: Wallet
    offer: OfferInfo

    def now(self) -> OfferInfo:
        return offers.show(self.network, self.offer.offer_id)

    def balance(self) -> int:
        return self.network.market.balance_of(self.payer.address)

    def pass_time(self, seconds: int) -> None:
        clock.pass_time(self.network.rpc, seconds)

    def open(self, amount: int = 10 * DOLLAR) -> deposits.ChannelInfo:
        return deposits.fund(self.network, self.payer, self.offer, Amount(amount))

    def row(self, cumulative: int, before: int = 0) -> VoucherRow:
        """Sign a voucher, as a row of a claim."""
        message = {
            "payer": self.payer.address,
            "offer": self.offer.offer_id,
            "cumulative": cumulative,
            "answers": 1,
            "receiptsRoot": ZERO32,
        }
        channels = self.network.channels
        signature = self.payer.sign_typed(
            {
                "types": {
                    "EIP712Domain": [
                        {"name": "name", "type": "string"},
                        {"name": "version", "type": "string"},
                        {"name": "chainId", "type": "uint256"},
                        {"name": "verifyingContract", "type": "address"},
                    ],
                    "Voucher": [{"name": n, "type": t} for n, t in _VOUCHER],
                },
                "primaryType": "Voucher",
                "domain": eip712.domain(
                    "Tallystick", self.network.contracts.chain_id, channels.address
                ),
                "message": message,
            }
        )
        s = int.from_bytes(signature[32:64]) | (signature[64] - 27) << 255
        return VoucherRow(
            who=int(self.payer.address, 16) | 1 << 160,
            sums=cumulative | before << 128,
            receipts_root=Bytes32(ZERO32),
            r=Bytes32(signature[:32]),
            vs=Bytes32(s.to_bytes(32)),
        )

    def claim(self, *rows: VoucherRow, slot: int = 0) -> VouchersClaimed:
        call = self.network.channels.claim(self.offer.offer, [], slot, rows)
        return self.operator.send(call).one(VouchersClaimed)

    def summon(self, index: int) -> RequestId:
        """Have an answer that the operator signed written into the market, by its payer."""
        channels, payer = self.network.channels, self.payer.address
        channel_id = channels.channel_id_of(payer, payer, self.offer.offer_id)
        request = Request(
            model_id=1,
            version=1,
            lane=channels.lane_of(channel_id, index),
            nonce=index,
            requester=payer,
            operator=self.operator.address,
            priority_until=Timestamp(0),
            expires_at=self.network.history.now(),
            consumer=ZERO_ADDRESS,
            callback_gas=0,
            input_root=Bytes32(b"i" * 32),
            input_cid=Bytes32(ZERO32),
            params=Bytes32(ZERO32),
            envelope=Bytes32(ZERO32),
            terms=self.offer.offer.terms,
        )
        request_id = self.network.market.request_id_of(request)
        root = Bytes32(b"o" * 32)
        signed = self.operator.sign_typed(
            receipt(
                chain_id=self.network.contracts.chain_id,
                game=self.network.game.address,
                request_id=request_id,
                output_root=root,
            )
        )
        balances.fund(self.network, payer, Amount(DOLLAR))
        balances.deposit(self.network, self.payer, Amount(DOLLAR))
        answer = Receipt(root, Bytes32(ZERO32), signed)
        self.payer.send(channels.summon(request, payer, self.offer.offer, answer))
        return request_id

    def convict(self, index: int) -> None:
        """Summon an answer whose bytes nobody shows."""
        request_id = self.summon(index)
        bond = requests.bond_needed(self.network, self.payer, request_id)
        demanded = requests.demand(self.network, self.payer, request_id, bond)
        self.pass_time(demanded.deadline - self.network.history.now())
        requests.convict(self.network, self.payer, request_id)
