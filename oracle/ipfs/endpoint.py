"""Where the RPC of an IPFS node is: a URL taken apart, its password kept out of sight."""

import base64
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from oracle.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an RPC is, from `http(s)://[user:password@]host:port[/prefix]`."""

    scheme: str
    host: str
    port: int
    prefix: str
    authorization: str = field(repr=False)  # a secret

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Take a URL apart.

        Raises:
            ConfigInvalid: it is not one.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 5001)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("not http:// or https:// with a host")
        except ValueError as error:
            raise ConfigInvalid(
                f"IPFS API {url!r}: {error}", hint="set TALLYSTICK_IPFS_API=http://host:port"
            ) from error
        token = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            token = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), token)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return f"{self.scheme}://{self.host}:{self.port}{self.prefix}"

    @property
    def multiaddr(self) -> str:
        """The address in the form that ipfshttpclient wants."""
        try:
            kind = f"ip{ip_address(self.host).version}"
        except ValueError:
            kind = "dns"
        return f"/{kind}/{self.host}/tcp/{self.port}/{self.scheme}"
