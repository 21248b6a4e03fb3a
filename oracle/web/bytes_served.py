"""Bytes that browsers ask for: the page's own files, and blocks of IPFS by their digest.

A browser that does not trust this server hashes what it gets: the digests come from the chain.
"""

import hashlib
from functools import cache
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse

from oracle.errors import NotFound, TallystickError
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol.cid import raw_digest
from oracle.services import models, quoting
from oracle.services.network import Network
from oracle.types import Cid
from oracle.web import problems
from oracle.web.rendering import PageOptions

ModelId = Annotated[int, Path(ge=1, lt=2**48)]
VersionNumber = Annotated[int, Path(ge=1, lt=2**24)]
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SEALED = {  # whatever the bytes are, a browser neither guesses nor runs them
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Content-Disposition": "attachment",
    "Cache-Control": "public, max-age=31536000, immutable",
}


def router(network: Network, options: PageOptions) -> APIRouter:
    """Return the routes of files and blocks."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/static/{name}", response_model=None)
    def static(name: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        found = files().get(name)
        if found is None:
            return Response("no such file", 404, media_type="text/plain")
        data, tag = found
        headers = {
            "ETag": tag,
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if tag in if_none_match:
            return Response(None, 304, headers)
        kind = KINDS["." + name.rpartition(".")[2]]
        return Response(data, 200, headers, media_type=kind)

    @routes.get("/ipfs/{cid}", response_model=None)
    def block(cid: str) -> Response:
        """Serve one raw block: a manifest, an input, an answer."""
        try:
            raw_digest(cid)
            data = network.ipfs.fetch_bytes(Cid(cid), MAX_BLOCK)
        except TallystickError as error:
            return problems.as_json(error)
        return Response(data, 200, _SEALED, media_type="application/octet-stream")

    @routes.get("/models/{model_id}/versions/{version}/files/{path:path}", response_model=None)
    def file(model_id: ModelId, version: VersionNumber, path: str) -> Response:
        """Serve a file that a version lists; it is kept in this server's cache."""
        try:
            manifest = models.manifest(network, model_id, version)
            entry = next((f for f in manifest.files if f.path == path), None)
            if entry is None:
                raise NotFound(f"version {version} of model {model_id} lists no file {path:.80}")
            kept = quoting.fetch_file(network, entry, None)
        except TallystickError as error:
            return problems.as_json(error)
        return FileResponse(kept, 200, _SEALED, media_type="application/octet-stream")

    return routes


@cache
def files() -> dict[str, tuple[bytes, str]]:
    """Return the page's own files by name: their bytes, and an ETag."""
    found = {}
    for item in resources.files("oracle.web").joinpath("static").iterdir():
        if "." + item.name.rpartition(".")[2] in KINDS:
            data = item.read_bytes()
            found[item.name] = (data, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
    return found
