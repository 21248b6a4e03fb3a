"""Connections to a node: proxies, certificates and the user part of a URL, without a socket."""

import base64

import pytest
import urllib3

from oracle.chain.http_pool import HttpPool

_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_VARIABLES, *map(str.upper, _VARIABLES), "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def proxy_of(url: str) -> str | None:
    found = HttpPool(url, 1.0)._pool.proxy
    return found.url if found else None


def test_http_pool__certificates_named__only_those_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/none.pem")
    context = HttpPool("https://node.example", 1.0)._pool.connection_pool_kw["ssl_context"]
    assert context.get_ca_certs() == []  # certifi's list is not trusted beside it


def test_http_pool__user_in_the_url__basic_authentication_and_no_user_in_what_is_asked() -> None:
    pool = HttpPool("http://us%40er:hunter2@node.example:8545/v3/key?a=b", 1.0)
    assert pool._url == "http://node.example:8545/v3/key?a=b"
    assert pool._headers["authorization"] == (
        "Basic " + base64.b64encode(b"us@er:hunter2").decode()
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:8545", "http://localhost", "http://[::1]:1"])
def test_http_pool__loopback__no_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert proxy_of(url) is None


def test_http_pool__no_proxy_names_the_host__none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "other.example,.node.example")
    assert proxy_of("https://rpc.node.example:8545/key") is None
    assert proxy_of("https://rpc.elsewhere.example/key") == "http://proxy.example:3128"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_http_pool__proxy_without_a_scheme__an_http_proxy(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "proxy.example:3128")
    assert proxy_of("http://node.example") == "http://proxy.example:3128"


def test_http_pool__https__certificates_are_checked() -> None:
    pool = HttpPool("https://node.example", 1.0)._pool
    context = pool.connection_pool_kw["ssl_context"]
    assert context.check_hostname
    assert context.get_ca_certs()
    assert isinstance(pool, urllib3.PoolManager)
