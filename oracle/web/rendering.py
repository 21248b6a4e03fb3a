"""Turns templates into responses: escaping, filters, and the headers that keep scripts out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from oracle.protocol.cid import raw_cid
from oracle.services import amounts
from oracle.services.data import credits
from oracle.types import Contracts
from oracle.web import locale, pictures
from oracle.web.locale import LANGUAGES, Translations
from oracle.web.names import Names, short

THEMES = ("auto", "light", "dark")
THEME_COOKIE, LANGUAGE_COOKIE = "theme", "language"


_MOVERS = dict.fromkeys(  # control characters, and those that turn the direction of writing
    [*range(0x09), *range(0x0B, 0x20), 0x7F, 0x200E, 0x200F, *range(0x202A, 0x202F),
     *range(0x2066, 0x206A)], "\ufffd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What the page needs to know beyond the network.

    Attributes:
        rpc_url: of the chain, as a *browser* reaches it; it is public from then on. "" = the
            page verifies through the visitor's wallet only.
        gateway: IPFS gateway (`GATEWAY/ipfs/CID`) as a browser reaches it; "" = this server.
        secure: whether cookies are kept to https.
        uploads: whether visitors may send files that this server keeps and publishes.
        links: names and URLs of what the foot of each page leads to: documentation, source.
        events: path of a request's progress as server-sent events, with `{id}`; "" = none.
    """

    rpc_url: str = ""
    gateway: str = ""
    secure: bool = False
    uploads: bool = False
    links: tuple[tuple[str, str], ...] = ()
    events: str = ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """How somebody wants to see the page."""

    t: Translations
    theme: str
    path: str  # with the query, to come back to


def visitor(request: Request) -> Visitor:
    """Read language and theme from cookies and headers."""
    theme = request.cookies.get(THEME_COOKIE, "auto")
    language = locale.choose(
        request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language")
    )
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return Visitor(locale.catalogue(language), theme if theme in THEMES else "auto", path)


def headers(options: PageOptions, origins: Sequence[str] = ()) -> dict[str, str]:
    """Return the headers of every page: nothing inline, nothing from elsewhere, never framed.

    Args:
        origins: of others' servers that this page's modules may ask.
    """
    elsewhere = " ".join(place for place in (options.rpc_url, options.gateway, *origins) if place)
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "connect-src": f"'self' {elsewhere}".strip(),
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{k} {v}" for k, v in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }


def _printable(value: Any) -> Any:
    """Return text without what moves other text: names come from strangers."""
    return value.translate(_MOVERS) if isinstance(value, str) else value


class Renderer:
    """The templates, with the filters that they use."""

    def __init__(
        self, options: PageOptions, contracts: Contracts, names: Names, sponsor: str = ""
    ) -> None:
        self.options = options
        self._shared = {
            "options": options,
            "sponsored": bool(sponsor),
            "network": {
                "chainId": contracts.chain_id,
                "deployedAt": contracts.deployed_at,
                "rpc": options.rpc_url,
                "gateway": options.gateway,
                "events": options.events,
                "sponsor": sponsor,
                "registry": contracts.model_registry,
                "access": contracts.model_access,
                "market": contracts.inference_market,
                "token": contracts.token,
                "channels": contracts.payment_channels,
                "game": contracts.dispute_game,
                "credits": contracts.data_credits,
                "rounds": contracts.data_rounds,
                "contracts": sorted(
                    str(v) for v in asdict(contracts).values() if isinstance(v, str)
                ),
            },
        }
        self.environment = Environment(
            loader=PackageLoader("oracle.web"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            finalize=_printable,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
        self.environment.filters |= {
            "amount": amounts.format_amount,
            "ether": amounts.format_ether,
            "when": amounts.format_time,
            "share": amounts.format_share,
            "duration": amounts.format_duration,
            "rate": lambda pair: amounts.format_rate(*pair),
            "hex": lambda data: "0x" + data.hex(),
            "short": short,
            "raw_cid": raw_cid,
            "said": names.said,
            "notches": pictures.notches,
            "size": size,
            "credits": credits.format_credits,
        }
        self.environment.globals |= {
            "bar": pictures.share,
            "languages": LANGUAGES,
            "name_of": names,
        }

    def page(
        self,
        request: Request,
        template: str,
        code: int = 200,
        origins: Sequence[str] = (),
        **values: Any,
    ) -> HTMLResponse:
        """Return a page, complete with headers; see `headers`."""
        who = visitor(request)
        shared: Mapping[str, Any] = {
            "t": who.t,
            "theme": who.theme,
            "here": who.path,
            "strings": who.t.for_scripts(),
        }
        body = self.environment.get_template(template).render({**self._shared, **shared, **values})
        return HTMLResponse(body, code, headers(self.options, origins))


def size(count: int) -> str:
    """Return bytes in the unit that a person would choose."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
