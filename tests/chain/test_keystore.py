"""Keystore files: who may read them, and that nothing secret leaks."""

import json
import os
from pathlib import Path

import pytest
from eth_account import Account

from oracle.chain import keystore as keys
from oracle.errors import ConfigInvalid, InputInvalid, NotFound

CHEAP = 2  # scrypt's work factor, for tests only


def secret() -> str:
    return "correct horse"


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "alice.json"
    keys.create(path, secret, scrypt_n=CHEAP)
    return path


# ── Failures ────────────────────────────────────────────────────────────────────────────────────
def test_load__no_file__not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        keys.load(tmp_path / "nobody", secret)


def test_load__wrong_password__says_so_and_nothing_else(keystore: Path) -> None:
    with pytest.raises(keys.PasswordWrong) as caught:
        keys.load(keystore, lambda: "wrong horse")
    assert "horse" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_load__others_may_use_the_file__refused_before_the_password(
    keystore: Path, mode: int
) -> None:
    keystore.chmod(mode)
    asked = []
    with pytest.raises(ConfigInvalid, match=f"{mode:04o}") as caught:
        keys.load(keystore, lambda: asked.append(1) or "x")  # type: ignore[func-returns-value]
    assert "chmod 600" in caught.value.hint
    assert not asked


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", '{"version": 3}', '{"crypto": {}, "version": 3}']
)
def test_load__no_keystore__config_invalid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigInvalid, match="keystore") as refused:
        keys.load(path, secret)
    assert "tallystick wallet new" in refused.value.hint


def test_create__file_exists__never_overwritten(keystore: Path) -> None:
    before = keystore.read_bytes()
    with pytest.raises(InputInvalid, match="exists"):
        keys.create(keystore, secret, scrypt_n=CHEAP)
    assert keystore.read_bytes() == before


def test_create__empty_password__nothing_written(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid) as refused:
        keys.create(tmp_path / "k", lambda: "", scrypt_n=CHEAP)
    assert refused.value.hint
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_password_file__unusable__config_invalid_without_its_content(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigInvalid):
        keys.password_file(path)()


# ── Successes ───────────────────────────────────────────────────────────────────────────────────
def test_create__new_key__mode_0600_and_nothing_in_clear(tmp_path: Path) -> None:
    path = tmp_path / "k"
    os.umask(0o000)
    try:
        address = keys.create(path, secret, scrypt_n=CHEAP)
    finally:
        os.umask(0o022)
    assert path.stat().st_mode & 0o777 == 0o600
    account = keys.load(path, secret)
    assert account.address == address == keys.address_of(path)
    assert account.key.hex() not in path.read_text()


def test_create__standard_work_factor__is_geths(tmp_path: Path) -> None:
    assert keys.SCRYPT_N == 2**18
    keys.create(tmp_path / "k", secret, scrypt_n=4)
    body = json.loads((tmp_path / "k").read_text())
    assert (body["version"], body["crypto"]["kdf"]) == (3, "scrypt")
    assert body["crypto"]["kdfparams"]["n"] == 4


def test_save__existing_key__same_account(tmp_path: Path) -> None:
    account = Account.create()
    keys.save(tmp_path / "k", account, secret, scrypt_n=CHEAP)
    assert keys.load(tmp_path / "k", secret).key == account.key


def test_password_file__newline_at_the_end__not_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("correct horse\r\n")
    assert keys.password_file(tmp_path / "p")() == "correct horse"
