"""Secrets at rest."""

import stat
from pathlib import Path

import pytest

from gateway.store import SecretBox, SecretError, Store
from gateway.store.secrets import digest


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    box = SecretBox.load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SecretBox.load(path).open(box.seal("password", "name"), "name") == "password"


def test_a_sealed_text_is_bound_to_its_name_and_key() -> None:
    box = SecretBox(b"k" * 32)
    sealed = box.seal("password", "name")
    assert b"password" not in sealed
    assert box.seal("password", "name") != sealed
    with pytest.raises(SecretError):
        box.open(sealed, "other")
    with pytest.raises(SecretError):
        SecretBox(b"K" * 32).open(sealed, "name")
    for at in range(len(sealed)):
        with pytest.raises(SecretError):
            box.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], "name")
    with pytest.raises(SecretError):
        box.open(b"", "name")


def test_a_broken_key_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"short")
    with pytest.raises(SecretError, match="32 bytes"):
        SecretBox.load(tmp_path / "secret.key")
    with pytest.raises(SecretError, match="cannot make the key file"):
        SecretBox.load(tmp_path / "missing" / "secret.key")


def test_derived_keys_differ_by_purpose_and_stay_the_same() -> None:
    box = SecretBox(b"k" * 32)
    assert box.derive("play") == SecretBox(b"k" * 32).derive("play")
    assert len({box.derive("play"), box.derive("fingerprint"), SecretBox(b"K" * 32).derive("play")}) == 3


def test_a_token_is_stored_as_its_sha256() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


async def test_a_foreign_key_is_noticed_when_the_database_is_opened(url: str, secrets: SecretBox) -> None:
    async with Store.open(url, secrets=secrets):
        pass
    with pytest.raises(SecretError, match="does not belong to this database"):
        async with Store.open(url, secrets=SecretBox(b"K" * 32)):
            pass
