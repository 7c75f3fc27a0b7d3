"""Subscribes to catalogue changes of devices that come online (GB/T 28181-2016 §9.11, RFC 6665), where that is wanted.

The endpoint refreshes a subscription; one that ends while its device is online is made anew, later and later. Many
devices refuse or forget: the catalogue is read by query anyway, so that all this only makes changes show sooner.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.devices.model import DeviceId, StateEvent
from gateway.gb28181.directory import Directory, RegisteredDevice
from gateway.gb28181.messages.catalogue import CatalogueQuery, write_query
from gateway.gb28181.messenger import Messenger
from gateway.gb28181.notices import DeviceForgotten, DeviceOffline, DeviceOnline, Notice
from sip import SipError
from sip.failures import CallRefusedError
from sip.outgoing import Subscription

EXPIRES: Final = 600
"""Seconds asked for (GB/T 28181-2022 annex N)."""
BACK_OFF: Final = (10.0, 60.0, 300.0, 1800.0)
"""Seconds before it is tried again; the last one repeats."""

log = structlog.get_logger(__name__)


class CatalogueSubscriptions:
    """Give `handle_notice` to the notices; `close` ends its tasks: one that sleeps for each device."""

    def __init__(self, directory: Directory, messenger: Messenger, *, back_off: Sequence[float] = BACK_OFF) -> None:
        self._directory = directory
        self._messenger = messenger
        self._back_off = back_off
        self._tasks: dict[DeviceId, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def handle_notice(self, notice: Notice) -> Sequence[StateEvent]:
        """Follows devices online and offline."""
        if isinstance(notice, DeviceOnline):
            if notice.moved or notice.restarted or not notice.was_online or notice.device_id not in self._tasks:
                self._stop(notice.device_id)
                self._tasks[notice.device_id] = asyncio.get_running_loop().create_task(self._keep(notice.device_id))
        elif isinstance(notice, DeviceOffline | DeviceForgotten):
            self._stop(notice.device_id)
        return ()

    async def close(self) -> None:
        """Ends everything; devices notice by the subscriptions' expiry."""
        tasks = list(self._tasks.values())
        for device_id in list(self._tasks):
            self._stop(device_id)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, device_id: DeviceId) -> None:
        task = self._tasks.pop(device_id, None)
        if task is not None:
            task.cancel()

    async def _keep(self, device_id: DeviceId) -> None:
        failures = 0
        while (device := self._directory.get(device_id)) is not None and device.online:
            try:
                subscription = await self._subscribe(device)
                failures = 0
                reason = await self._wait(subscription)
            except CallRefusedError as error:
                device.deviations.add(["subscription-refused"])
                reason = str(error)
            except SipError as error:
                reason = str(error)
            except Exception:  # the outermost frame of one device's subscription
                log.exception("subscription failed", device_id=device_id)
                return
            pause = self._back_off[min(failures, len(self._back_off) - 1)]
            failures += 1
            log.info("catalogue subscription ended", device_id=device_id, reason=reason, again_in_s=pause)
            await asyncio.sleep(pause)

    async def _subscribe(self, device: RegisteredDevice) -> Subscription:
        if device.flow is None:
            raise SipError("there is no way to the device")
        sn = self._messenger.serials.take()
        request = self._messenger.request(
            "SUBSCRIBE",
            device.flow,
            device.device_id,
            write_query(CatalogueQuery(sn=sn, device_id=device.device_id), device.writing),
            [("Event", f"Catalog;id={sn}"), ("Expires", EXPIRES)],
        )
        return await self._messenger.endpoint.subscribe(request, flow=device.flow)

    async def _wait(self, subscription: Subscription) -> str:
        try:
            return await subscription.wait_ended()
        except asyncio.CancelledError:
            subscription.unsubscribe()
            raise
