"""Reads the catalogues of devices into the store: after registration, when asked, and when a device tells of a change.

What came is merged; only a complete answer with channels turns off those it leaves out (the store's rule), and nothing
is ever deleted. Notifications of new or changed items are taken in; all others (OFF, DEL …) only cause a query, for
there are platforms that report OFF wrongly.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from gateway.devices.errors import DeviceOfflineError, NotNvrError, RefreshingError
from gateway.devices.model import CatalogueEntry, CatalogueStatus, Device, DeviceId, DeviceType
from gateway.errors import GatewayError, NotFoundError
from gateway.gb28181.catalogue import ENDED, Assembly, Stage, Waits, classify
from gateway.gb28181.catalogue_tree import build_tree
from gateway.gb28181.directory import Directory, RegisteredDevice, codes_of
from gateway.gb28181.messages.catalogue import CatalogueItem, CataloguePage, CatalogueQuery, Event, write_query
from gateway.gb28181.messenger import Messenger, NoAnswerError
from gateway.gb28181.notices import CatalogueChanged, Notices
from gateway.store import Store

MERGED_EVENTS: Final = frozenset({None, Event.ADD, Event.UPDATE})

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Running:
    assembly: Assembly
    moved: asyncio.Event = field(default_factory=asyncio.Event)


class CatalogueService:
    """`start` once at the beginning; `verify(device)` is called when a notification should be checked by a query."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        messenger: Messenger,
        notices: Notices,
        waits: Waits,
        clock: Callable[[], datetime],
        verify: Callable[[RegisteredDevice], None] = lambda _device: None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._messenger = messenger
        self._notices = notices
        self._waits = waits
        self._clock = clock
        self._verify = verify
        self._running: dict[DeviceId, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """No query survives a restart."""
        await self._store.devices.reset_catalogues()

    async def close(self) -> None:
        """Ends the queries that users asked for."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refresh(self, device: Device) -> None:
        """Starts a query for a user and returns once it is under way.

        NotNvrError, DeviceOfflineError, RefreshingError while one runs.
        """
        if device.type is not DeviceType.NVR:
            raise NotNvrError(f"device {device.device_id} is no NVR")
        registered = self._directory.get(device.device_id)
        if registered is None or not registered.online:
            raise DeviceOfflineError(f"device {device.device_id} is offline")
        running = await self._begin(registered)
        if running is None:
            raise RefreshingError(f"the catalogue of device {device.device_id} is being read")
        task = asyncio.get_running_loop().create_task(self._guarded(registered, running))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def query(self, device: RegisteredDevice) -> None:
        """Reads a device's catalogue, unless that is being done already. Never raises what the device causes."""
        running = await self._begin(device)
        if running is not None:
            await self._guarded(device, running)

    def handle_page(self, device: RegisteredDevice, page: CataloguePage) -> bool:
        """Takes a Response; False if nobody asked."""
        running = self._running.get(device.device_id)
        if running is None:
            return False
        device.deviations.add(running.assembly.handle_page(asyncio.get_running_loop().time(), page))
        running.moved.set()
        return True

    async def handle_notification(self, device: RegisteredDevice, page: CataloguePage) -> None:
        """Takes a Notify/Catalog: new and changed items are merged, anything else is checked by a query."""
        told = {item.code: item for item in page.items if item.event in MERGED_EVENTS and item.name}
        if len(told) < len(page.items):
            self._verify(device)
        if told:
            status = CatalogueStatus.QUERYING if device.device_id in self._running else CatalogueStatus.QUERIED
            await self._merge(device, told, complete=False, status=status)

    async def _begin(self, device: RegisteredDevice) -> _Running | None:
        if device.device_id in self._running:
            return None
        await self._recall(device)
        if device.device_id in self._running:
            return None
        first = self._messenger.serials.take(self._waits.tries)
        running = self._running[device.device_id] = _Running(Assembly(self._waits, first))
        try:
            await self._store.devices.set_catalogue(device.device_id, CatalogueStatus.QUERYING)
        except BaseException:
            del self._running[device.device_id]
            raise
        return running

    async def _recall(self, device: RegisteredDevice) -> None:
        """Learns what the store knows of a device not heard of since the start."""
        if not device.codes:
            known = await self._store.channels.of_devices([device.device_id])
            device.codes = codes_of(channel.channel_id for channel in known.get(device.device_id, ()))

    async def _guarded(self, device: RegisteredDevice, running: _Running) -> None:
        """The outermost frame of a query: whatever happens, the device is not left QUERYING."""
        done = False
        try:
            await self._assemble(device, running)
            await self._keep(device, running.assembly)
            done = True
        except NotFoundError:
            done = True  # deleted meanwhile
        except Exception:
            log.exception("catalogue not read", device_id=device.device_id)
        finally:
            del self._running[device.device_id]
            if not done:
                await self._give_up(device)

    async def _give_up(self, device: RegisteredDevice) -> None:
        try:
            await asyncio.shield(self._store.devices.set_catalogue(device.device_id, CatalogueStatus.IDEL))
        except GatewayError as error:  # a restart resets it
            log.warning("catalogue status not written", device_id=device.device_id, error=str(error))

    async def _assemble(self, device: RegisteredDevice, running: _Running) -> None:
        loop, assembly = asyncio.get_running_loop(), running.assembly
        assembly.start(loop.time())
        while assembly.stage not in ENDED:
            if (sn := assembly.poll_query()) is not None and not await self._send(device, sn):
                return
            running.moved.clear()
            due = assembly.next_timeout()
            if due is not None:
                try:
                    async with asyncio.timeout_at(due):
                        await running.moved.wait()
                except TimeoutError:
                    assembly.handle_timeout(max(due, loop.time()))

    async def _send(self, device: RegisteredDevice, sn: int) -> bool:
        """False if asking makes no sense: the device is offline, or refuses."""
        body = write_query(CatalogueQuery(sn=sn, device_id=device.device_id), device.writing)
        try:
            await self._messenger.send(device, body)
        except NoAnswerError:  # its MESSAGE may come all the same
            return True
        except GatewayError as error:
            log.info("catalogue not asked", device_id=device.device_id, error=str(error))
            return False
        return True

    async def _keep(self, device: RegisteredDevice, assembly: Assembly) -> None:
        told = assembly.stage in {Stage.COMPLETE, Stage.PARTIAL}
        if told:
            device.catalogue_at = asyncio.get_running_loop().time()
        status = CatalogueStatus.QUERIED if told else CatalogueStatus.IDEL
        await self._merge(device, assembly.items, complete=assembly.stage is Stage.COMPLETE, status=status)
        log.info(
            "catalogue read",
            device_id=device.device_id,
            stage=assembly.stage.name,
            items=len(assembly.items),
            sum_num=assembly.sum_num,
        )

    async def _merge(
        self,
        device: RegisteredDevice,
        items: Mapping[str, CatalogueItem],
        *,
        complete: bool,
        status: CatalogueStatus,
    ) -> None:
        entries = self._entries(device, items)
        change = await self._store.channels.upsert_catalogue(
            device.device_id, entries, complete=complete, at=self._clock(), status=status
        )
        known = () if complete and items else device.codes
        device.codes = codes_of({*(entry.node_id for entry in entries), *known})
        if change.added or change.turned_on or change.turned_off:
            self._notices.publish(CatalogueChanged(device.device_id, change))

    def _entries(self, device: RegisteredDevice, items: Mapping[str, CatalogueItem]) -> list[CatalogueEntry]:
        """Items as they are kept; a camera that names no channel is its own only one."""
        told = classify(device.device_id, dict(items))
        tree = build_tree(device.device_id, items.values())
        device.deviations.add((*told.deviations, *tree.deviations))
        channels = {item.code for item in told.channels}
        if any(code != device.device_id and self._directory.get(code) is not None for code in channels):
            device.deviations.add(["channel-is-another-device"])
        entries = [
            _entry(item, tree.nodes[item.code].parent, video=item.code in channels)
            for group in (told.channels, told.others, told.nodes)
            for item in group
        ]
        if device.type is DeviceType.IPC and not channels and not device.codes:
            own = CatalogueItem(code=device.device_id)
            entries = [entry for entry in entries if entry.node_id != own.code]
            entries.append(_entry(own, None, video=True))
        return entries


def _entry(item: CatalogueItem, parent_id: str | None, *, video: bool) -> CatalogueEntry:
    return CatalogueEntry(
        node_id=item.code,
        name=item.name,
        video=video,
        reported_on=item.on,
        parent_id=parent_id,
        manufacturer=item.manufacturer,
        model=item.model,
        ptz_type=item.ptz_type,
        longitude=item.longitude,
        latitude=item.latitude,
    )
