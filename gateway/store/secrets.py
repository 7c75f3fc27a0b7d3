"""Secrets at rest: what must be read back is encrypted, what need not be is only a digest."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import GatewayError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class SecretError(GatewayError):
    """The key file is unusable, or does not fit the database."""


class SecretBox:
    """Seals device passwords with AES-256-GCM; the sealed text is bound to the name of what it belongs to."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SecretError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._cipher = AESGCM(key)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the key file; makes it, for its owner alone (0600), if there is none."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(_read(path))
        except OSError as error:
            raise SecretError(f"cannot make the key file {path}: {error.strerror}") from error
        key = secrets.token_bytes(KEY_BYTES)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        return cls(key)

    def seal(self, text: str, name: str) -> bytes:
        """Nonce and ciphertext of `text`; a fresh nonce each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), name.encode())

    def open(self, sealed: bytes, name: str) -> str:
        """The text again; SecretError if the key or the name is another, or a bit has changed."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretError(f"the secret of {name} was not sealed with this key") from error

    def derive(self, purpose: str, size: int = 32) -> bytes:
        """A key of its own for another purpose (signing play addresses), the same after every start."""
        return hashlib.blake2b(purpose.encode(), key=self._key, digest_size=size, person=b"gb28181-gateway").digest()


def digest(token: str) -> str:
    """What is stored of a random token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecretError(f"cannot read the key file {path}: {error.strerror}") from error
