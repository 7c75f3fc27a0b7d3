"""After a restart: ends the dialogs that the process before us left, so that no device goes on streaming to nobody."""

import asyncio
from typing import Final

import structlog

from gateway.devices.model import SavedCall
from gateway.errors import UnavailableError
from gateway.gb28181.directory import Directory
from gateway.store import Store
from sip import SipError
from sip.endpoint import Endpoint

AT_ONCE: Final = 64

log = structlog.get_logger(__name__)


async def end_old_calls(store: Store, endpoint: Endpoint, directory: Directory, patience: float) -> int:
    """Sends BYE in every dialog that is stored, to where its device is now, and forgets it; gives how many.

    A device that does not answer is waited for `patience` seconds. One that is not registered has lost its dialogs with
    its registration, or ends them itself when its RTP is refused.
    """
    turn = asyncio.Semaphore(AT_ONCE)

    async def end(saved: SavedCall) -> None:
        async with turn:
            device = directory.get(saved.device_id)
            try:
                if device is not None and device.flow is not None:
                    await endpoint.restore_call(saved.dialog, device.flow).bye("restarted", patience)
            except (SipError, KeyError, TypeError, ValueError) as error:
                log.warning("old call not ended", device=saved.device_id, channel=saved.channel_id, error=str(error))
            try:
                await store.calls.delete(saved.call_id)
            except UnavailableError as gone:  # it is ended again after the next start, which does no harm
                log.warning("old call not forgotten", call_id=saved.call_id, error=str(gone))

    try:
        old = [saved async for saved in store.calls.load()]
    except UnavailableError as gone:
        log.warning("old calls not ended", error=str(gone))
        return 0
    await asyncio.gather(*map(end, old))
    return len(old)
