"""Who can read the gateway's database may ask the gateway: access for commands on the machine where it runs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final

from gateway.accounts.errors import TokenError
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts
from gateway.clock import utc_now
from gateway.inspect.live import LiveError, LiveGateway, only
from gateway.settings import Settings
from gateway.store import Store
from gateway.store.secrets import SecretBox

TOKEN_LIFE: Final = timedelta(minutes=5)


@contextmanager
def local_access(settings: Settings, url: str, channel: str) -> Iterator[tuple[LiveGateway, tuple[str, str]]]:
    """The local gateway with a token lent for the channel's project, taken back afterwards; and which channel is meant.

    LiveError if no channel, or more than one, has this id; NotFoundError if nobody may operate the project.
    """
    token, found = asyncio.run(_lend(settings, channel))
    try:
        yield LiveGateway(url or settings.local_url, token), found
    finally:
        asyncio.run(_take_back(settings, token))


async def _lend(settings: Settings, text: str) -> tuple[str, tuple[str, str]]:
    if not settings.database.url and not settings.key_file.exists():
        raise LiveError(f"no gateway's data in {settings.data_dir}: give --token, or --user and --password")
    device, slash, channel = text.rpartition("/")
    async with Store.open(settings.database_url, secrets=SecretBox.load(settings.key_file)) as store:
        projects = {
            (one.device_id, one.channel_id): one.project_id
            async for one in store.channels.load()
            if one.channel_id == channel and (not slash or one.device_id == device)
        }
        found = only(text, [(str(device_id), str(channel_id)) for device_id, channel_id in projects])
        project_id = next(iter(projects.values()))
        accounts = Accounts(store, Quotas(settings.accounts.quotas), token_life=TOKEN_LIFE)
        return await accounts.lend(project_id, utc_now()), found


async def _take_back(settings: Settings, token: str) -> None:
    async with Store.open(settings.database_url, secrets=SecretBox.load(settings.key_file)) as store:
        with suppress(TokenError):
            await Accounts(store, Quotas(settings.accounts.quotas)).revoke(token)
