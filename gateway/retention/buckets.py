"""Buckets of an S3-compatible object storage, by obstore.

A slice's object carries the slice's id, so that one whose upload succeeded without our learning of it (the gateway was
killed, the answer was lost) is known again and not stored twice. Small files are written on condition that nothing has
their key; large ones in parts, after a look at the key. No part is retried for long here: the uploader waits for the
whole bucket.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Final

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from gateway.retention.errors import (
    BucketDeniedError,
    BucketReadError,
    BucketRightsError,
    BucketUnreachableError,
    NoBucketError,
    NotAuthorisedError,
)
from gateway.retention.model import Slice
from gateway.retention.names import CONTENT_TYPES, playlist_key
from gateway.retention.places import Outcome

PART_BYTES: Final = 8 * 1024 * 1024
PARTS_AT_ONCE: Final = 2
"""With PART_BYTES: what one upload holds in memory."""
RETRIES: Final = 2
RETRY_SECONDS: Final = 20
DELETED_AT_ONCE: Final = 1000
SLICE_ID: Final = "slice-id"
_REFUSED: Final[Mapping[type[BucketDeniedError], str]] = {
    BucketDeniedError: "written",
    BucketReadError: "read",
    BucketRightsError: "deleted from",
}
_REFUSED_KEYS: Final = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthFailure")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStorage:
    """How the object storage is reached."""

    endpoint: str
    """Scheme, host and perhaps port."""
    region: str
    access_key_id: str
    secret_access_key: str
    virtual_host: bool = False
    """Buckets are host names below the endpoint's, not the first part of the path."""
    timeout_seconds: float = 60.0
    """For one request: a part of a slice."""


class Bucket:
    """One bucket (`gateway.retention.places.Place`)."""

    def __init__(self, storage: ObjectStorage, name: str) -> None:
        self._name = name
        scheme, _, host = storage.endpoint.partition("://")
        self._store = S3Store(
            name,
            endpoint=f"{scheme}://{name}.{host}" if storage.virtual_host else storage.endpoint,
            region=storage.region,
            access_key_id=storage.access_key_id,
            secret_access_key=storage.secret_access_key,
            virtual_hosted_style_request=storage.virtual_host,
            client_options={
                "allow_http": scheme == "http",
                "timeout": timedelta(seconds=storage.timeout_seconds),
                "connect_timeout": timedelta(seconds=5),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )

    async def probe(self, path: str) -> None:
        """Writes an object under the path, looks at it and deletes it: uploads and expiry will need all three.

        BucketReadError, BucketRightsError if one of the latter is refused.
        """
        key = f"{path}.gateway-{secrets.token_hex(8)}"
        refusal = BucketDeniedError
        try:
            await obstore.put_async(self._store, key, b"", mode="create")
            refusal = BucketReadError
            await obstore.head_async(self._store, key)
            refusal = BucketRightsError
            await obstore.delete_async(self._store, key)
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, refusal) from error

    async def put(self, found: Slice, file: Path) -> Outcome:
        """Stores the file, in parts if it is large."""
        await asyncio.to_thread(file.stat)
        return await self._put(found.key, file, found.slice_id, found.size_bytes)

    async def put_playlist(self, found: Slice, text: bytes) -> Outcome:
        """Stores the text; it carries the slice's id, too."""
        return await self._put(playlist_key(found.key), text, found.slice_id, len(text))

    def file(self, key: str) -> None:
        """Nothing of a bucket lies here."""

    async def size(self, key: str) -> int:
        """Asks for the object's head."""
        try:
            return (await obstore.head_async(self._store, key))["size"]
        except FileNotFoundError:
            raise
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, BucketReadError) from error

    async def read(self, key: str, first: int, behind: int) -> bytes:
        """Asks for a range. BucketUnreachableError also if less comes than was asked for."""
        try:
            found = bytes(await obstore.get_range_async(self._store, key, start=first, end=behind))
        except FileNotFoundError:
            raise
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, BucketReadError) from error
        if len(found) != behind - first:
            raise BucketUnreachableError(f"bucket {self._name} gave {len(found)} bytes of {behind - first}")
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects, a thousand a request."""
        try:
            for start in range(0, len(keys), DELETED_AT_ONCE):
                await obstore.delete_async(self._store, keys[start : start + DELETED_AT_ONCE])
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error) from error

    async def _put(self, key: str, content: Path | bytes, slice_id: str, size_bytes: int) -> Outcome:
        attributes = {"Content-Type": CONTENT_TYPES[PurePosixPath(key).suffix], SLICE_ID: slice_id}
        try:
            there = await self._there(key)
            if there is None and size_bytes <= PART_BYTES:
                await obstore.put_async(self._store, key, content, mode="create", attributes=attributes)
            elif there is None:
                await obstore.put_async(
                    self._store,
                    key,
                    content,
                    attributes=attributes,
                    use_multipart=True,
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
            else:
                return Outcome.STORED if there == (slice_id, size_bytes) else Outcome.TAKEN
        except AlreadyExistsError:
            # Either somebody was faster, or our own first try got through and only its answer was lost.
            return await self._judge(key, slice_id, size_bytes)
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error) from error
        return Outcome.STORED

    async def _judge(self, key: str, slice_id: str, size_bytes: int) -> Outcome:
        try:
            there = await self._there(key)
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error) from error
        return Outcome.STORED if there == (slice_id, size_bytes) else Outcome.TAKEN

    async def _there(self, key: str) -> tuple[str, int] | None:
        """Slice id and size of the object that has the key, if one has."""
        try:
            found = await obstore.get_async(self._store, key, options={"head": True})
        except FileNotFoundError:
            return None
        attributes: Mapping[str, str] = found.attributes
        return attributes.get(SLICE_ID, ""), found.meta["size"]

    def _explain(self, error: Exception, refusal: type[BucketDeniedError] = BucketDeniedError) -> Exception:
        """What it means for us; the first line of the text says all, the rest repeats it for programmers."""
        text = str(error)
        told = text.splitlines()[0][:300] if text else type(error).__name__
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            if any(code in text for code in _REFUSED_KEYS):
                return NotAuthorisedError(f"the object storage refuses the gateway's access keys: {told}")
            return refusal(f"bucket {self._name} may not be {_REFUSED[refusal]}: {told}")
        if isinstance(error, FileNotFoundError):
            return NoBucketError(f"there is no bucket {self._name}: {told}")
        return BucketUnreachableError(f"bucket {self._name} cannot be reached: {told}")
