"""What an endpoint says of channels: offers, what it holds of one, and consent to close one."""

from typing import Annotated, Any

from eth_utils.address import is_address, to_checksum_address
from fastapi import FastAPI, Query, Request

from oracle.errors import InputInvalid
from oracle.protocol import channel_wire, vouchers
from oracle.protocol.hexadecimal import parse_bytes32, to_hex
from oracle.services.documents import jsonable
from oracle.types import Address, Bytes32
from worker.endpoint.desk import Desk


def add(app: FastAPI, desk: Desk) -> None:
    """Add the routes."""

    @app.get("/channels/offer")
    async def offers() -> dict[str, Any]:
        """Say what is sold, on which chain, and how many convictions are paid for."""
        return {
            "chainId": desk.contracts.chain_id,
            "contracts": jsonable(desk.contracts),
            "offers": [
                {**channel_wire.offer_json(one.offer), "model": one.name,
                 "locks": await desk.locks(offer_id)}
                for offer_id, one in desk.sold.items()
            ],
        }  # fmt: skip

    @app.get("/channels/{payer}/{signer}/{offer_id}")
    async def channel(
        payer: str, signer: str, offer_id: str, after: Annotated[int, Query(ge=0)] = 2**62
    ) -> dict[str, Any]:
        """Say what is held of a channel, with the receipts behind `after`, some at a time."""
        offer, who, by = _offer_id(offer_id), _address(payer), _address(signer)
        channel_id = vouchers.channel_id(who, by, offer)
        account = await desk.accounts.kept(channel_id, by, desk.fee_of(offer))
        held = account.voucher
        receipts = await desk.accounts.receipts(channel_id, after)
        return {
            "channelId": to_hex(channel_id),
            "cumulative": str(account.promised),
            "answers": held.answers if held else 0,
            "answered": account.answered,
            "receiptsRoot": to_hex(account.tree.root),
            "receipts": [channel_wire.receipt_json(receipt) for receipt in receipts],
        }

    @app.post("/channels/{payer}/{signer}/{offer_id}/close")
    async def close(request: Request, payer: str, signer: str, offer_id: str) -> dict[str, str]:
        """Agree that a channel closes at once, when its signer asks for it."""
        try:
            cumulative, deadline, signature = channel_wire.read_close(await request.body())
        except ValueError as error:
            raise InputInvalid(str(error)) from error
        signed = await desk.agree_to_close(
            _address(payer), _address(signer), _offer_id(offer_id), cumulative, deadline, signature
        )
        return {"signature": to_hex(signed)}


def _offer_id(given: str) -> Bytes32:
    try:
        return parse_bytes32(given)
    except ValueError as error:
        raise InputInvalid(f"{given:.80} is no id of an offer: {error}") from error


def _address(given: str) -> Address:
    if not is_address(given):
        raise InputInvalid(f"{given:.80} is no address")
    return Address(to_checksum_address(given))
