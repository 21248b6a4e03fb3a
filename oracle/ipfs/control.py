"""The short calls (version, pins), through ipfshttpclient 0.7.0, with two mends of its faults.

It refuses daemons from 0.8 on, although the calls used here never changed: `Client` is made
directly, which skips that check. And its sessions are replaced by plain ones of requests: its own
patch them for address families (which we do not use) with an option that urllib3 is about to drop,
and take a proxy from the environment even for loopback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import ipfshttpclient  # type: ignore[import-untyped]  # it has no types
import requests
from ipfshttpclient import exceptions, http

from oracle.errors import Unavailable
from oracle.ipfs.endpoint import Endpoint
from oracle.ipfs.wire import Interrupted, Stalled, refusal
from oracle.types import Cid

# What the library trips over when an answer is not what it expects; it asserts, too
_NONSENSE = (LookupError, TypeError, AttributeError, ValueError, AssertionError)


class _Sessions(http.ClientSync):  # type: ignore[misc]  # the library has no types
    def _make_session(self) -> requests.Session:
        session = requests.Session()
        for name, value in self._session_props.items():
            setattr(session, name, value)
        session.trust_env = False
        return session


class Control:
    """The short calls to one node."""

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._where = f"IPFS node {endpoint.shown}"
        headers = {"Authorization": endpoint.authorization} if endpoint.authorization else {}
        address, base = multiaddr(endpoint), f"{endpoint.prefix}/api/v0".lstrip("/")
        self._client = ipfshttpclient.Client(address, base)
        self._client._client = _Sessions(address, base, headers=headers, timeout=timeout)

    def version(self) -> str:
        """Return the agent where the node names it, else its version."""
        with self._faults():
            version = str(self._client.version()["Version"])
            agent = str(self._client.id().get("AgentVersion") or "")
        return agent if agent else f"kubo/{version}"

    def pin(self, cid: Cid) -> None:
        """Keep a file."""
        with self._faults():
            self._client.pin.add(cid)

    def unpin(self, cid: Cid) -> None:
        """Give a pin up; none is fine."""
        try:
            with self._faults():
                self._client.pin.rm(cid)
        except Exception as error:
            if "not pinned" not in str(error):
                raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except exceptions.ErrorResponse as error:
            raise refusal(str(error), self._where) from error
        except exceptions.TimeoutError as error:
            raise Stalled(f"{self._where} was silent") from error
        except exceptions.ConnectionError as error:
            raise Interrupted(
                f"{self._where} cannot be reached", hint="is it running? `tallystick doctor`"
            ) from error
        except (exceptions.Error, *_NONSENSE) as error:
            raise Unavailable(
                f"{self._where} answered nonsense: {str(error)[:200]}",
                hint="is that the RPC port of an IPFS node?",
            ) from error


def multiaddr(endpoint: Endpoint) -> str:
    """Return the address in the form that ipfshttpclient wants."""
    try:
        kind = f"ip{ip_address(endpoint.host).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{endpoint.host}/tcp/{endpoint.port}/{endpoint.scheme}"
