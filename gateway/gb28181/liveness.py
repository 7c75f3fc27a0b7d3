"""Keeps devices' states true while time passes, keepalives come, connections close, and the gateway restarts.

One timer serves every device; a keepalive is O(1) and writes nothing. All rules are in `gateway.devices.presence`.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from gateway.devices.model import ChannelId, Device, DeviceId, DeviceState, Registration, StateCause, StateEvent
from gateway.devices.presence import DevicePresence
from gateway.errors import GatewayError, IllegalTransitionError
from gateway.gb28181.directory import Directory, RegisteredDevice, codes_of
from gateway.gb28181.notices import ChannelForgotten, DeviceForgotten, DeviceOffline, DeviceOnline, Notices
from gateway.gb28181.state_writer import StateWriter
from gateway.store import DeviceInfo, Store
from sip.alarm import Alarm
from sip.flow import Address, Flow

TOUCH_SECONDS: Final = 10.0
"""Between two writings of when devices were last heard, and of what intervals were learnt."""

log = structlog.get_logger(__name__)


class Liveness:
    """`restore` before devices are listened to; `run` is its one task; `close` when that has ended.

    `on_alive(device)` is told of each device that comes online, to be asked for its information and catalogue.
    """

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        notices: Notices,
        states: StateWriter,
        clock: Callable[[], datetime],
        on_alive: Callable[[RegisteredDevice], None] = lambda _device: None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._notices = notices
        self._states = states
        self._clock = clock
        self._on_alive = on_alive
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._fire)
        self._learnt: dict[DeviceId, float] = {}
        self._infos: dict[DeviceId, DeviceInfo] = {}
        self._stopping = False

    # -- life ---------------------------------------------------------------------------------------------------------

    async def restore(self, udp_port: int = 0) -> int:
        """Takes up every stored registration that has not ended; gives how many.

        `udp_port`: where we listen now, if it is not where the devices registered.
        """
        wall, now, taken = self._clock(), self._loop.time(), 0
        async for stored, registration in self._store.devices.load_registrations():
            device = _adopted(self._directory, now, wall, stored, registration)
            if not device.presence.registered:
                ended = min(registration.expires_at, wall)
                self._write_end(
                    device, stored.state, StateCause.REGISTRATION_EXPIRED, "while the gateway was down", at=ended
                )
                continue
            if registration.transport == "UDP":
                local = Address(registration.local_host, udp_port or registration.local_port)
                remote = Address(registration.remote_host, registration.remote_port)
                self._directory.move(device, Flow("UDP", local, remote))
            self._directory.arm(device)
            taken += 1
        await self._restore_codes()
        for device in self._directory:
            if device.online:
                self._came_online(device, StateCause.RESTART, None)
                self._on_alive(device)
        self.pump()
        return taken

    async def run(self) -> None:
        """Writes behind what states changed, and when devices were heard, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._states.run())
            tasks.create_task(self._touch_forever())

    def stop(self) -> None:
        """We are about to end: connections that close now, and time that passes, are not the devices' doing."""
        self._stopping = True
        self._alarm.stop()

    async def close(self) -> None:
        """Writes what waits; after `stop`, and after `run` has ended."""
        await self._touch()
        await self._states.flush()

    def forget(self, device_id: DeviceId) -> None:
        """The device was deleted."""
        if self._directory.remove(device_id) is not None:
            self._notices.publish(DeviceForgotten(device_id))

    def forget_channel(self, device_id: DeviceId, channel_id: ChannelId) -> None:
        """A channel was deleted: at its next registration the device is asked for its catalogue again."""
        device = self._directory.get(device_id)
        if device is not None:
            device.catalogue_at = None
        self._notices.publish(ChannelForgotten(device_id, channel_id))

    # -- inputs -------------------------------------------------------------------------------------------------------

    def handle_keepalive(self, device: RegisteredDevice, flow: Flow) -> bool:
        """A keepalive that `device.accepts`; False, and nothing changed, if its registration has ended. O(1)."""
        now, interval = self._loop.time(), device.presence.interval
        try:
            before, after = device.presence.handle(now, StateCause.KEEPALIVE)
        except IllegalTransitionError:
            return False
        self._follow(device, flow)
        self._directory.see(device, now)
        if device.presence.interval is not None and device.presence.interval != interval:
            self._learnt[device.device_id] = device.presence.interval
        if before is not after:
            log.info("device back online", device_id=device.device_id, flow=str(flow))
            self._came_online(device, StateCause.KEEPALIVE, self.event(device, before, after, StateCause.KEEPALIVE))
            self._on_alive(device)
        return True

    def note_info(self, device: RegisteredDevice, info: DeviceInfo) -> None:
        """Keeps, a little later, what the headers of a REGISTER told."""
        self._infos[device.device_id] = info

    def handle_registered(
        self, device: RegisteredDevice, flow: Flow, expires: float
    ) -> tuple[DeviceState, DeviceState]:
        """A durable registration; gives the states before and after."""
        now = self._loop.time()
        if self._directory.get(device.device_id) is not device:
            self._directory.add(device)
        self._directory.move(device, flow)
        device.adoptable = False
        change = device.presence.register(now, expires)
        self._directory.see(device, now)
        self._directory.arm(device)
        self.pump()
        return change

    def handle_unregistered(self, device: RegisteredDevice) -> None:
        """A durable unregistration."""
        device.presence.handle(self._loop.time(), StateCause.UNREGISTER)
        self._directory.move(device, None)

    def handle_flow_closed(self, flow: Flow, reason: str) -> None:
        """Devices of a closed TCP connection are offline at once (GB/T 28181-2022 §9.1.1)."""
        if flow.transport == "UDP" or self._stopping:
            return
        for device in self._directory.at(flow):
            self._directory.move(device, None)
            if device.online:
                before, _ = device.presence.handle(self._loop.time(), StateCause.CONNECTION_LOST)
                self._went_offline(device, before, StateCause.CONNECTION_LOST, reason)

    def pump(self) -> None:
        """Arms the one timer; armed too early is fine: it fires and re-arms."""
        if not self._stopping:
            self._alarm.arm(self._directory.deadlines.next_timeout())

    def event(
        self,
        device: RegisteredDevice,
        before: DeviceState,
        after: DeviceState,
        cause: StateCause,
        detail: str = "",
        *,
        at: datetime | None = None,
    ) -> StateEvent:
        """A line of a device's history, now unless it was before."""
        return StateEvent(
            at=at or self._clock(),
            project_id=device.project_id,
            device_id=device.device_id,
            channel_id=None,
            before=before.value,
            after=after.value,
            cause=cause,
            detail=detail[:255],
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _follow(self, device: RegisteredDevice, flow: Flow) -> None:
        """A NAT moved the device's UDP port, or a TCP device that our restart cut off is back: reach it there.

        Its host is the registered one (`RegisteredDevice.accepts`); a place where another device is known is not taken.
        """
        if device.flow == flow or flow.transport != device.transport or self._directory.is_taken(flow):
            return
        if device.flow is not None:
            device.deviations.add(["udp-port-moved"])
        self._directory.move(device, flow)
        device.adoptable = False
        if device.online:
            notice = DeviceOnline(device.device_id, StateCause.KEEPALIVE, was_online=True, moved=True)
            self._states.put(device.device_id, None, self._notices.publish(notice))

    def _fire(self) -> None:
        now = self._loop.time()
        while (device_id := self._directory.deadlines.pop_due(now)) is not None:
            device = self._directory.get(device_id)
            if device is None:
                continue
            change = device.presence.handle_timeout(now)
            if change is not None:
                self._went_offline(device, change[0], change[2], "")
            self._directory.arm(device)
        self.pump()

    def _came_online(self, device: RegisteredDevice, cause: StateCause, event: StateEvent | None) -> None:
        notice = DeviceOnline(device.device_id, cause, was_online=cause is StateCause.RESTART)
        self._states.put(device.device_id, event, self._notices.publish(notice))
        self._directory.arm(device)
        self.pump()

    def _went_offline(self, device: RegisteredDevice, before: DeviceState, cause: StateCause, detail: str) -> None:
        log.info("device offline", device_id=device.device_id, cause=cause.value, detail=detail)
        if not device.presence.registered:
            self._directory.move(device, None)
        self._write_end(device, before, cause, detail)

    def _write_end(
        self,
        device: RegisteredDevice,
        before: DeviceState,
        cause: StateCause,
        detail: str,
        *,
        at: datetime | None = None,
    ) -> None:
        """An end of a registration that changes no state is no event, but its row goes."""
        events = self._notices.publish(DeviceOffline(device.device_id, cause)) if before is DeviceState.ONLINE else []
        event = self.event(device, before, DeviceState.OFFLINE, cause, detail, at=at)
        self._states.put(device.device_id, event, events, ends_registration=not device.presence.registered)

    async def _restore_codes(self) -> None:
        codes: dict[DeviceId, list[str]] = {}
        async for channel in self._store.channels.load():
            codes.setdefault(channel.device_id, []).append(channel.channel_id)
        for device_id, ids in codes.items():
            device = self._directory.get(device_id)
            if device is not None:
                device.codes = codes_of(ids)
                device.catalogue_at = self._loop.time()

    async def _touch_forever(self) -> None:
        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            await self._touch()

    async def _touch(self) -> None:
        seen = self._directory.take_seen(self._loop.time(), self._clock())
        learnt, self._learnt = self._learnt, {}
        infos, self._infos = self._infos, {}
        devices = self._store.devices
        try:
            if seen:
                await devices.touch(seen)
            await asyncio.gather(*(devices.set_keepalive_interval(*item) for item in learnt.items()))
            await asyncio.gather(*(devices.set_info(*item) for item in infos.items()))
        except GatewayError as error:  # the next keepalive says it again
            log.warning("not written when devices were heard", error=str(error), devices=len(seen))


def _adopted(
    directory: Directory, now: float, wall: datetime, stored: Device, registration: Registration
) -> RegisteredDevice:
    """A device taken up from the store; its presence is not registered if the registration has ended."""
    left = (registration.expires_at - wall).total_seconds()
    ended = left <= 0
    presence = DevicePresence(directory.patience, DeviceState.OFFLINE if ended else stored.state)
    if not ended:
        presence.restore(now, left, registration.keepalive_interval)
    device = RegisteredDevice(stored.device_id, stored.project_id, stored.type, presence)
    device.take(registration)
    device.user_agent, device.gb_version = stored.user_agent, stored.gb_version
    device.adoptable = registration.transport == "TCP"
    directory.add(device)
    return device
