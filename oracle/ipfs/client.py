"""The real client: publishes and fetches over the RPC of any Kubo, or of the embedded node.

Trusts the node with nothing: the SHA-256 and the UnixFS CID are computed here from the bytes
that pass by, and an answer that differs is refused. Calls go through ipfshttpclient (`kubo.py`);
transfers are streamed (`upload.py`, `download.py`) in a few megabytes of memory.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from oracle.errors import DigestMismatch, InputInvalid, TallystickError, Unavailable
from oracle.ipfs.download import Download, is_there
from oracle.ipfs.endpoint import Endpoint
from oracle.ipfs.port import MAX_BLOCK, CidUnresolved, Progress, Published, Stalled
from oracle.ipfs.unixfs import file_cid
from oracle.ipfs.upload import FileUpload
from oracle.protocol.cid import Codec, parse
from oracle.types import Bytes32, Cid

if TYPE_CHECKING:
    from oracle.ipfs.kubo import Kubo, KuboAnswer

T = TypeVar("T")
# Everything that the CID depends on is said, so that a node's own settings do not matter (Kubo
# ignores the options that its version does not know)
_ADD = {
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": f"size-{MAX_BLOCK}",
    "hash": "sha2-256",
    "max-file-links": "174",
    "trickle": "false",
    "inline": "false",
    "pin": "true",
    "quieter": "true",
    "progress": "false",
}
_IMPORT = {"pin-roots": "false"}


class IpfsClient:
    """Implements `port.Ipfs` over HTTP. Holds no connection between calls; safe for threads."""

    def __init__(
        self, api_url: str, timeout: float = 30.0, *, attempts: int = 6, backoff: float = 0.1
    ) -> None:
        """Name the node; nothing is sent yet.

        Args:
            api_url: `http(s)://[user:password@]host:port[/prefix]`.
            timeout: seconds of silence until a call gives up (a CID counts as unresolved then).
            attempts: how often a call is made when the node is unreachable or breaks off;
                an attempt that brings a fetch forward does not count.
            backoff: seconds before the second attempt; doubles up to 2.
        """
        self._endpoint = Endpoint.parse(api_url)
        self._timeout = timeout
        self._attempts = attempts
        self._backoff = backoff

    @cached_property
    def _kubo(self) -> "Kubo":
        from oracle.ipfs.kubo import Kubo  # noqa: PLC0415 (imports ipfshttpclient: 0.3 s)

        return Kubo(self._endpoint, self._timeout)

    def publish_file(self, path: Path, progress: Progress | None = None) -> Published:
        """Publish and pin a file (see `port.Ipfs`)."""

        def attempt() -> Published:
            upload = FileUpload(path, progress)
            upload.as_blocks = upload.size > MAX_BLOCK and self._is_embedded()
            if not upload.as_blocks:
                with self._kubo.post("add", _ADD, upload) as answer:
                    self._agree([item.get("Hash") for item in answer.lines()], upload.published)
                return upload.published
            with self._kubo.post("dag/import", _IMPORT, upload) as answer:
                answer.lines()
            with self._kept():
                self._kubo.ask(lambda client: client.pin.add(upload.published.cid))
            return upload.published

        return self._retrying(attempt)

    def publish_bytes(self, data: bytes) -> Published:
        """Publish and pin one raw block (see `port.Ipfs`)."""
        if len(data) > MAX_BLOCK:
            raise InputInvalid(
                f"{len(data)} bytes do not fit into one block of {MAX_BLOCK}",
                hint="publish them as a file",
            )
        published = Published(
            file_cid(data).text(), Bytes32(hashlib.sha256(data).digest()), len(data)
        )

        def attempt() -> Published:
            named = self._kubo.ask(lambda client: client.add_bytes(data, opts=_ADD))
            self._agree([named], published)
            return published

        return self._retrying(attempt)

    def fetch_file(
        self, cid: Cid, target: Path, sha256: Bytes32, size: int, progress: Progress | None = None
    ) -> None:
        """Put verified bytes at `target`, going on where an earlier try stopped."""
        parse(cid)
        if is_there(target, sha256, size):
            if progress:
                progress(size, size)
            return
        with Download(target, sha256, size, progress) as download:

            def attempt() -> None:
                if download.done == size > 0:
                    return
                # One byte more than promised, so that a longer file is noticed
                start, length = download.done, size + 1 - download.done
                options = {"arg": cid, "offset": str(start), "length": str(length)}
                if not download.again:  # we check: an embedded node need not (no other knows this)
                    options["hash-on-read"] = "false"
                with self._cat(options) as answer:
                    download.expect(answer.size)
                    download.take(answer.read_into)

            def once_more() -> bool:
                with suppress(Stalled):
                    return self._is_embedded()
                return False

            while not download.overtaken:
                self._retrying(attempt, lambda: download.done)
                # An embedded node that checks, too, sends what is right and says what is damaged
                if download.complete(once_more):
                    return

    def fetch_bytes(self, cid: Cid, max_bytes: int) -> bytes:
        """Return verified bytes (see `port.Ipfs`)."""
        codec, digest = parse(cid)

        def attempt() -> bytes:
            options = {"arg": cid, "length": str(max_bytes + 1)}
            with self._cat(options) as answer:
                data = answer.read(max_bytes)
            if len(data) > max_bytes:
                raise InputInvalid(
                    f"{cid} has more than the {max_bytes} bytes that are allowed here"
                )
            return data

        data = self._retrying(attempt)
        found = hashlib.sha256(data).digest() if codec is Codec.RAW else file_cid(data).digest
        if found != digest:
            raise DigestMismatch(
                f"{len(data)} bytes from {self._endpoint.shown} are not those of {cid}",
                hint="the node is damaged or lies; use another",
            )
        return data

    def pin(self, cid: Cid) -> None:
        """Keep the bytes of `cid` on the node (see `port.Ipfs`)."""
        parse(cid)
        with self._resolving(cid):
            self._retrying(lambda: self._kubo.ask(lambda client: client.pin.add(cid)))

    def unpin(self, cid: Cid) -> None:
        """Let the node forget `cid` (see `port.Ipfs`)."""
        parse(cid)
        self._retrying(lambda: self._unpin(cid))

    def _unpin(self, cid: Cid) -> None:
        try:
            self._kubo.ask(lambda client: client.pin.rm(cid))
        except TallystickError as error:
            if "not pinned" not in str(error):
                raise

    def version(self) -> str:
        """Return what answers, such as `kubo/0.22.0` (see `port.Ipfs`). Tries once."""
        version = self._kubo.ask(lambda client: str(client.version()["Version"]))
        agent = self._kubo.ask(lambda client: str(client.id().get("AgentVersion") or ""))
        return agent or f"kubo/{version}"

    def _is_embedded(self) -> bool:
        """Tell whether this says that it is an embedded node, which can leave hashing to us."""
        try:
            return bool(self._kubo.ask(lambda client: client.version()["System"]) == "embedded")
        except Stalled:
            raise  # `add` would only wait once more
        except Unavailable:
            return False  # `add` will tell what is wrong

    @contextmanager
    def _cat(self, options: dict[str, str]) -> Iterator["KuboAnswer"]:
        """Ask for the bytes of a file; silence before an answer means that nobody has them."""
        with ExitStack() as stack:
            with self._resolving(options["arg"]):
                answer = stack.enter_context(self._kubo.post("cat", options))
            yield answer

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Pin what was sent a moment ago; someone may have collected garbage in between."""
        try:
            yield
        except CidUnresolved as error:
            raise Unavailable(f"the node lost what it was sent: {error}") from error

    def _agree(self, named: list[object], published: Published) -> None:
        """Compare what a node answered to `add` with the CID computed here."""
        names = [name for name in named if name is not None]
        if not names:
            raise Unavailable(f"{self._endpoint.shown} answered `add` without a CID")
        if names[-1] != published.cid:
            raise DigestMismatch(
                f"{self._endpoint.shown} names {str(names[-1])[:100]!r} what is {published.cid}",
                hint="is it an IPFS node that lays files out as Kubo does?",
            )

    @contextmanager
    def _resolving(self, cid: str) -> Iterator[None]:
        """Silence, where an answer should begin, means that nobody has the bytes."""
        try:
            yield
        except Stalled as error:
            raise CidUnresolved(
                f"{cid} did not arrive within {self._timeout:g} s",
                hint="does anyone serve it? try again later, or raise TALLYSTICK_IPFS_TIMEOUT",
            ) from error

    def _retrying(self, attempt: Callable[[], T], done: Callable[[], int] = int) -> T:
        """Call `attempt`, and again when the node fails, until `attempts` brought nothing.

        Silence is not tried again (it has been waited for); a block's worth of progress, as
        `done` tells, starts the count anew.
        """
        first, mark = 1, done()

        def stop(state: RetryCallState) -> bool:
            nonlocal first, mark
            if done() - mark >= MAX_BLOCK:
                first, mark = state.attempt_number + 1, done()
            return state.attempt_number - first + 1 >= self._attempts

        retrying = Retrying(
            stop=stop,
            wait=wait_exponential(multiplier=self._backoff, max=2.0),
            retry=retry_if_exception(
                lambda error: isinstance(error, Unavailable) and not isinstance(error, Stalled)
            ),
            reraise=True,
        )
        return retrying(attempt)
