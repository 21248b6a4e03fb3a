"""Where operators answer what channels pay: announced on chain, a stranger's text until checked.

Whoever asks an announced place sends a request where a stranger wants it. So it is `https` at a
public address, where a server of our own network would have no certificate for the name. Only
development networks, and whoever sets `private_endpoints`, go to loopback and private addresses.
"""

import re
import socket
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from oracle.chain.bindings.payment_channels import EndpointAnnounced
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, Refused, Unavailable
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address

MAX_BYTES = 256  # as in the contract
_PLAIN = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d+)?")  # no sign of a policy's own
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def announced(network: Network, operators: Collection[Address]) -> Mapping[Address, str]:
    """Return what operators announced last; without those that announced no such URL."""
    if not operators:
        return {}
    found = network.history.read(
        network.channels.address, (EndpointAnnounced,), [topic(one) for one in operators]
    )
    events = [h.event for h in found if isinstance(h.event, EndpointAnnounced)]
    last = {event.operator: event.url for event in events}
    return {operator: url for operator, url in last.items() if _usable(url)}


def announce(network: Network, wallet: Wallet, url: str) -> Sent | None:
    """Say where the wallet's endpoint is; None = that is known already.

    Raises:
        InputInvalid: nobody would ask there.
    """
    parse(url)
    if announced(network, [wallet.address]).get(wallet.address) == url:
        return None
    return send(wallet, network.channels.announce(url))[0]


def reachable(network: Network, url: str) -> str:
    """Return an announced URL that may be asked, without a slash at its end.

    Raises:
        InputInvalid: it is none. Refused: it leads to a private address.
        Unavailable: its name cannot be resolved.
    """
    parts = parse(url)
    if not _is_private(network):
        assert parts.hostname is not None
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port or _PORTS[parts.scheme])
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"{url}: {error}") from error
        private = [a[4][0] for a in found if not ip_address(str(a[4][0]).split("%")[0]).is_global]
        if private:
            raise Refused(
                f"{url} leads to {private[0]}, which is no public address",
                hint="TALLYSTICK_PRIVATE_ENDPOINTS=true allows it",
            )
    return url.rstrip("/")


def origin(network: Network, url: str) -> str:
    """Return the origin that a browser's page may ask; "" = none: its policy names no other place.

    The browser of a stranger asks there, so it is `https`, also where our own servers may be asked
    without.
    """
    if not url or not _PLAIN.fullmatch((parts := parse(url)).netloc):
        return ""
    if parts.scheme == "https" or _is_private(network):
        return f"{parts.scheme}://{parts.netloc}"
    return ""


def parse(url: str) -> SplitResult:
    """Return the parts of an endpoint's URL. Pure.

    Raises:
        InputInvalid: it is not https://host[:port][/path], or http:// on loopback.
    """
    try:
        parts = urlsplit(url)
        port_is_one = parts.port != 0
    except ValueError as error:
        raise InputInvalid(f"endpoint {url!r:.300}: {error}", hint=_HINT) from error
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    extra = "@" in parts.netloc or parts.query or parts.fragment or "?" in url or "#" in url
    printable = url.isascii() and url.isprintable() and " " not in url
    if not (parts.scheme == "https" or plain) or not parts.hostname or extra or not port_is_one:
        raise InputInvalid(f"{url!r:.300} is no endpoint", hint=_HINT)
    if not printable or "\\" in url or len(url) > MAX_BYTES:
        raise InputInvalid(
            f"{url!r:.300} has characters that a URL has not, or more than {MAX_BYTES}", hint=_HINT
        )
    return parts


def _is_private(network: Network) -> bool:
    """Whether private addresses may be asked."""
    from oracle.chain.anvil import CHAIN_ID  # noqa: PLC0415 - it loads a signer

    return network.settings.private_endpoints or network.contracts.chain_id == CHAIN_ID


def _usable(url: str) -> bool:
    try:
        parse(url)
    except InputInvalid:
        return False
    return True


_HINT = "https://host[:port][/path], without a password; http:// on loopback alone"
