"""A payment channel as a Python program uses it: `ask` takes what `Connection.ask` takes."""

from collections.abc import Mapping

from oracle.services import inputs, quoting
from oracle.services.channels.endpoint_client import (
    EndpointOverloaded,
    EndpointRefused,
    VoucherNotTaken,
)
from oracle.services.channels.paid_channel import ChannelClient
from oracle.services.channels.received_receipts import ReceiptWrong, ReceivedAnswer
from tallystick.channel_openai import OpenAiChannel
from tallystick.given import Input, source_of

__all__ = [
    "EndpointOverloaded",
    "EndpointRefused",
    "PaidChannel",
    "ReceiptWrong",
    "ReceivedAnswer",
    "VoucherNotTaken",
]


class PaidChannel(ChannelClient):
    """One channel of a wallet. Safe for threads."""

    def ask(self, input: Input, *, params: Mapping[str, float] | None = None) -> ReceivedAnswer:
        """Pay for an answer and return it; arguments are those of `Connection.ask`.

        Raises:
            InputInvalid: input or parameters do not fit the manifest; nothing was sent.
            VoucherNotTaken, EndpointRefused: nothing was charged.
            EndpointOverloaded: nothing was charged, as far as it says; it has `retry_after`.
            ReceiptWrong: the operator's word is not worth its price; nothing more is asked.
            Unavailable: no reply. The next `ask` takes over the receipt if there is one.
        """
        source, content = source_of(input)
        prepared = inputs.prepare(
            source,
            self.manifest,
            lambda entry: quoting.fetch_file(self.network, entry, None),
            lambda: content,
        )
        return self.ask_encoded(prepared.data, self.manifest.pack_params(params or {}))

    def openai(self) -> OpenAiChannel:
        """Return OpenAI's API as a WSGI application, which this channel pays for.

        `openai.OpenAI(base_url="http://channel/v1", api_key="none", http_client=httpx2.Client(
        transport=httpx2.WSGITransport(app=channel.openai())))` is its client.

        Raises:
            InputInvalid: the model takes no text.
        """
        return OpenAiChannel(self)
