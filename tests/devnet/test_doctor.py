"""What the doctor says of parts that are not well. Opens no sockets but to find nobody there."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oracle.chain import keystore
from oracle.config import Settings
from oracle.devnet import doctor
from oracle.devnet.doctor import Check, Diagnosis, Note
from oracle.errors import ConfigInvalid, NotFound, TallystickError, Unavailable
from oracle.store.store import Store


def settings(home: Path, **values: Any) -> Settings:
    return Settings(home=home, **values)


def raising(error: Exception) -> Any:
    def look(_settings: Settings) -> str:
        raise error

    return look


def test_examine__part_fails__says_what_to_do_and_skips_what_needs_it(tmp_path: Path) -> None:
    checks = [
        Check("rpc", raising(Unavailable("nobody there", hint="start it"))),
        Check("chain", raising(AssertionError("must not run")), ("rpc",)),
        Check("contracts", raising(AssertionError("must not run")), ("chain",)),
        Check("disk", lambda _settings: "enough"),
    ]
    assert list(doctor.examine(settings(tmp_path), checks)) == [
        Diagnosis("rpc", doctor.FAILED, "nobody there", "start it"),
        Diagnosis("chain", doctor.SKIPPED, "needs rpc"),
        Diagnosis("contracts", doctor.SKIPPED, "needs chain"),
        Diagnosis("disk", doctor.OK, "enough"),
    ]


def test_examine__note__is_a_warning_with_its_hint(tmp_path: Path) -> None:
    (finding,) = doctor.examine(settings(tmp_path), [Check("gpu", lambda _s: Note("slow", "buy"))])
    assert finding == Diagnosis("gpu", doctor.WARNING, "slow", "buy")


def test_examine__defect_of_ours__is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(doctor.examine(settings(tmp_path), [Check("x", raising(ZeroDivisionError()))]))


@pytest.mark.real
@pytest.mark.parametrize(
    ("check", "values", "variable"),
    [
        (doctor.check_rpc, {"rpc_url": "http://127.0.0.1:1"}, "TALLYSTICK_RPC_URL"),
        (doctor.check_rpc, {"rpc_url": "ftp://127.0.0.1"}, "TALLYSTICK_RPC_URL"),
        (doctor.check_redis, {"redis_url": "redis://127.0.0.1:1/0"}, "TALLYSTICK_REDIS_URL"),
        (doctor.check_redis, {"redis_url": "redis://"}, "TALLYSTICK_REDIS_URL"),
    ],
)
def test_check__nobody_answers__names_the_setting(
    tmp_path: Path, check: Any, values: dict[str, str], variable: str
) -> None:
    with pytest.raises(TallystickError) as caught:
        check(settings(tmp_path, **values))
    assert variable in caught.value.hint


@pytest.mark.real
def test_check_ipfs__nobody_answers__is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        doctor.check_ipfs(settings(tmp_path, ipfs_api="http://127.0.0.1:1"))


def test_check_redis__other_broker__is_a_note(tmp_path: Path) -> None:
    found = doctor.check_redis(settings(tmp_path, redis_url="amqp://guest:secret@localhost"))
    assert isinstance(found, Note)
    assert "secret" not in found


def test_check_chain__nothing_deployed__says_tallystick_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        doctor.check_contracts(settings(tmp_path))
    assert "tallystick up" in caught.value.hint


def test_check_store__not_a_database__fails(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(b"not a database" * 100)
    with pytest.raises(TallystickError):
        doctor.check_store(settings(tmp_path, store_url=f"sqlite:///{file}"))


def test_check_store__unknown_database__fails(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        doctor.check_store(settings(tmp_path, store_url="mysql://localhost/x"))


def test_check_store__not_made_yet__makes_none(tmp_path: Path) -> None:
    assert "not made yet" in doctor.check_store(settings(tmp_path, operator="alpha"))
    assert list(tmp_path.iterdir()) == []


def test_check_store__made__names_its_block(tmp_path: Path) -> None:
    store = Store.open(settings(tmp_path, operator="alpha").database_url)
    with store.begin() as transaction:
        transaction.set_cursor(41)
    store.close()
    (tmp_path / "operators" / "beta").mkdir()
    assert "at block 41" in doctor.check_store(settings(tmp_path, operator="alpha"))
    every = doctor.check_store(settings(tmp_path))
    assert re.match(r"alpha: .* at block 41; beta: not made yet", every)
    assert "beta" not in doctor.check_store(settings(tmp_path, key="alpha"))


def test_check_store__no_operator_ran__says_so(tmp_path: Path) -> None:
    assert "no operator has run" in doctor.check_store(settings(tmp_path))


def test_check_key__no_keystore__not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nobody\.json"):
        doctor.check_key(settings(tmp_path, key="nobody"))


def test_check_key__no_password_file__not_found(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "owner.json").write_text("{}")
    with pytest.raises(NotFound, match="missing"):
        doctor.check_key(settings(tmp_path, key="owner", password_file="missing"))
    assert isinstance(doctor.check_key(settings(tmp_path, key="owner")), Note)


@pytest.mark.parametrize(("mode", "well"), [(0o600, True), (0o644, False)])
def test_check_key__opens__notes_a_password_that_others_can_read(
    tmp_path: Path, mode: int, well: bool
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(mode)
    path = tmp_path / "keys" / "owner.json"
    address = keystore.create(path, lambda: "correct horse", scrypt_n=2)
    found = doctor.check_key(settings(tmp_path, key="owner", password_file=str(password)))
    assert address in found
    assert isinstance(found, Note) is not well


def test_check_key__wrong_password__fails(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    keystore.create(tmp_path / "keys" / "owner.json", lambda: "correct horse", scrypt_n=2)
    with pytest.raises(keystore.PasswordWrong):
        doctor.check_key(settings(tmp_path, key="owner", password_file=str(tmp_path / "password")))


def test_check_disk__full__says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=2**20))
    with pytest.raises(ConfigInvalid) as caught:
        doctor.check_disk(settings(tmp_path / "not" / "there"))
    assert "TALLYSTICK_CACHE_BYTES" in caught.value.hint


def test_check_gpu__torch_missing__is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: list[str], **_options: Any) -> Any:
        raise subprocess.CalledProcessError(1, argv, stderr="Traceback\nNo module named 'torch'\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = doctor.check_gpu(settings(tmp_path))
    assert isinstance(found, Note)
    assert "No module named 'torch'" in found
    assert "tallystick[worker]" in found.hint


def test_check_store__folder_read_only__fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write anywhere
    with pytest.raises(ConfigInvalid, match="not writable"):
        doctor.check_store(settings(tmp_path))
