"""Makes the address that a stream is pushed to, for the API and for the command line."""

from datetime import datetime, timedelta

from gateway.errors import InvalidError, NotFoundError
from gateway.store import Store
from gateway.streams.errors import NotPushedError
from gateway.streams.model import AccessType, StreamRecord
from gateway.streams.push import PushAddress, TokenPolicy, push_address, signed


async def make_push_address(
    store: Store, stream: StreamRecord, server: str, *, expires_in: float, at: datetime, tokens: TokenPolicy
) -> tuple[PushAddress, datetime | None]:
    """Where the stream is pushed to under `server` (rtmp://host:port), and until when; with a token, if it has a key.

    NotPushedError unless it is of the access type RTMP; InvalidError for a life that is too long.
    """
    if stream.access_type is not AccessType.RTMP:
        raise NotPushedError(f"stream {stream.name} is not pushed: its access type is {stream.access_type}")
    if stream.access_key is None:
        return push_address(server, stream), None
    if not 0 < expires_in <= tokens.life_max:
        raise InvalidError("expires_in", f"1 to {tokens.life_max:.0f} seconds")
    key = await store.push_keys.get(stream.project_id, stream.access_key)
    if key is None:
        raise NotFoundError("access key", stream.access_key)
    expires = (at + timedelta(seconds=expires_in)).replace(microsecond=0)
    return push_address(server, stream, signed(stream, key, int(expires.timestamp()), tokens.rule)), expires
