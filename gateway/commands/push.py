"""`gateway push-url`: where an encoder pushes a stream to, made on the gateway's machine."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer

from gateway.app import own_host
from gateway.app_streams import token_policy
from gateway.clock import utc_now
from gateway.commands.options import ConfigFile, Overrides, load, told
from gateway.errors import NotFoundError
from gateway.media_settings import Rtmp, Rtsp
from gateway.settings import Settings
from gateway.store import Store
from gateway.store.secrets import SecretBox
from gateway.streams.push import PushAddress
from gateway.streams.push_addresses import make_push_address

Life = Annotated[int, typer.Option("--expires-in", min=1, help="Seconds that the address is good for.")]
Host = Annotated[str, typer.Option(help="Host at which the encoder reaches us, if it is not the one set or guessed.")]


def push_url(
    name: str, expires_in: Life = 86_400, host: Host = "", file: ConfigFile = None, overrides: Overrides = None
) -> None:
    """Print the address to push a stream to, with a token if the stream has an access key."""
    settings = load(file, overrides)
    with told():
        address, until = asyncio.run(_make(settings, name, expires_in, host))
        rtsp = _base("rtsp", settings.rtsp, settings, host)
    typer.echo(address.whole)
    typer.echo(f"server      {address.server}", err=True)
    typer.echo(f"stream key  {address.stream_key}", err=True)
    if settings.rtsp.port:
        typer.echo(f"by RTSP     {address.rtsp(rtsp)}", err=True)
    if until is not None:
        typer.echo(f"good until  {until:%Y-%m-%d %H:%M:%S} UTC", err=True)


async def _make(settings: Settings, name: str, expires_in: int, host: str) -> tuple[PushAddress, datetime | None]:
    async with Store.open(settings.database_url, secrets=SecretBox.load(settings.key_file)) as store:
        stream = await store.streams.own(name)
        if stream is None:
            raise NotFoundError("stream", name)
        server = _base("rtmp", settings.rtmp, settings, host)
        tokens = token_policy(settings)
        return await make_push_address(store, stream, server, expires_in=expires_in, at=utc_now(), tokens=tokens)


def _base(scheme: str, server: Rtmp | Rtsp, settings: Settings, host: str) -> str:
    if server.public_url and not host:
        return server.public_url
    host = host or own_host(settings)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"
