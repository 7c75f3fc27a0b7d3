"""The hot state of every device that holds or held a registration: by id, by the flow it came over, and by deadline.

One entry a device, slots only, no task and no timer of its own; it stays until the device is deleted. What it says is
memory; what was proved at REGISTER is in the store.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from gateway.devices.model import DeviceId, DeviceState, DeviceType, Registration
from gateway.devices.presence import DevicePresence, Patience
from gateway.gb28181.charset import Charset, for_version
from gateway.gb28181.deadlines import Deadlines
from gateway.gb28181.deviations import DeviationCounts
from sip.flow import Address, Flow

UNDISPATCHED_MAX: Final = 32
"""Kinds of message without a reader that are counted for one device; more count as `other`."""
CODES_MAX: Final = 20_000
NEIGHBOURS_MAX: Final = 64
"""Devices of one flow among whom the owner of a channel is looked for."""

Place = tuple[str, str, int, int]
"""Transport, host, port and connection of the far end of a flow."""


def place_of(flow: Flow) -> Place:
    """Where the far end of a flow is."""
    return flow.transport, flow.remote.host, flow.remote.port, flow.connection


class RegisteredDevice:
    """What is known of a device since it registered, or since we took its stored registration up.

    `flow` is the way to it, None while there is none; `adoptable` marks a TCP device that our restart cut off.
    """

    __slots__ = (
        "__weakref__",
        "_undispatched",
        "adoptable",
        "call_id",
        "catalogue_at",
        "charset",
        "clock_drift",
        "codes",
        "contact",
        "cseq",
        "deviations",
        "device_id",
        "expires_at",
        "flow",
        "gb_version",
        "host",
        "presence",
        "project_id",
        "registered_at",
        "seen_at",
        "transport",
        "type",
        "user_agent",
    )

    def __init__(self, device_id: DeviceId, project_id: str, type_: DeviceType, presence: DevicePresence) -> None:
        self.device_id = device_id
        self.project_id = project_id
        self.type = type_
        self.presence = presence
        self.flow: Flow | None = None
        self.adoptable = False
        self.transport = ""
        self.host = ""
        """Where it registered from."""
        self.contact = ""
        self.call_id = ""
        self.cseq = 0
        self.registered_at: datetime | None = None
        self.expires_at: datetime | None = None
        self.seen_at = 0.0
        """Monotonic seconds of its last REGISTER or keepalive."""
        self.gb_version: str | None = None
        self.user_agent: str | None = None
        self.charset: Charset | None = None
        """How it reads and writes, set by hand; None lets its messages decide."""
        self.codes: frozenset[str] = frozenset()
        """Everything that its catalogue names."""
        self.catalogue_at: float | None = None
        """Monotonic seconds of the last complete catalogue; None if there was none."""
        self.clock_drift: float | None = None
        """Seconds by which its clock is ahead of ours, if it told."""
        self.deviations = DeviationCounts()
        self._undispatched: dict[str, int] | None = None

    def take(self, registration: Registration) -> None:
        """Notes what a durable registration says."""
        self.transport = registration.transport
        self.host = registration.remote_host
        self.contact = registration.contact
        self.call_id = registration.call_id
        self.cseq = registration.cseq
        self.registered_at = registration.registered_at
        self.expires_at = registration.expires_at

    @property
    def online(self) -> bool:
        """Whether it is registered and alive."""
        return self.presence.state is DeviceState.ONLINE

    @property
    def writing(self) -> Charset:
        """In what to write to it."""
        return self.charset or for_version(self.gb_version)

    @property
    def undispatched(self) -> Mapping[str, int]:
        """Messages that nobody read, by root and CmdType."""
        return dict(self._undispatched or {})

    def count_undispatched(self, kind: str) -> None:
        """Counts a message that nobody read."""
        if self._undispatched is None:
            self._undispatched = {}
        known = kind in self._undispatched or len(self._undispatched) < UNDISPATCHED_MAX
        key = kind if known else "other"
        self._undispatched[key] = self._undispatched.get(key, 0) + 1

    def accepts(self, flow: Flow) -> bool:
        """Whether a message on `flow` may be this device's (IP for UDP, the connection for TCP).

        A UDP device may send what is too long for a datagram over TCP (RFC 3261 §18.1.1). A TCP device that a restart
        of ours cut off is taken up again on a new connection from its host.
        """
        if flow.remote.host != self.host or not self.presence.registered:
            return False
        if self.transport == "TCP":
            same = self.flow is not None and self.flow.connection == flow.connection
            return flow.transport == "TCP" and (same or self.adoptable)
        return True


class Directory:
    """All devices that registered since the start or before it, and are not deleted."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.deadlines: Deadlines[DeviceId] = Deadlines()
        self._devices: dict[DeviceId, RegisteredDevice] = {}
        self._places: dict[Place, set[DeviceId]] = {}
        self._seen: set[DeviceId] = set()

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[RegisteredDevice]:
        return iter(list(self._devices.values()))

    def get(self, device_id: str) -> RegisteredDevice | None:
        """The device of this id, if it holds or held a registration."""
        return self._devices.get(DeviceId(device_id))

    def flow(self, device_id: DeviceId) -> Flow | None:
        """The way to a device; None while it is offline."""
        device = self._devices.get(device_id)
        return device.flow if device is not None and device.online else None

    def address(self, device_id: DeviceId) -> Address | None:
        """Where a device is registered from."""
        device = self._devices.get(device_id)
        return device.flow.remote if device is not None and device.flow is not None else None

    def add(self, device: RegisteredDevice) -> None:
        """Takes in a device, or one anew."""
        self.remove(device.device_id)
        self._devices[device.device_id] = device
        self._place(device)

    def remove(self, device_id: DeviceId) -> RegisteredDevice | None:
        """Forgets a device."""
        device = self._devices.pop(device_id, None)
        if device is not None:
            self._displace(device)
            self.deadlines.discard(device_id)
            self._seen.discard(device_id)
        return device

    def move(self, device: RegisteredDevice, flow: Flow | None) -> None:
        """The device is now at the far end of `flow`; None while there is no way to it."""
        if device.flow is not None and flow is not None and place_of(device.flow) == place_of(flow):
            device.flow = flow
            return
        self._displace(device)
        device.flow = flow
        self._place(device)

    def at(self, flow: Flow) -> list[RegisteredDevice]:
        """The devices at the far end of a flow: usually one, very many behind a proxy."""
        return [self._devices[device_id] for device_id in self._places.get(place_of(flow), ())]

    def is_taken(self, flow: Flow) -> bool:
        """Whether any device is at the far end of a flow."""
        return place_of(flow) in self._places

    def sender(self, flow: Flow, user: str) -> RegisteredDevice | None:
        """Who sent a message: the device named in From if it may be on this flow.

        Some name a channel there (MediaStatus of Hikvision): then the device on this flow that has it, or the only one.
        """
        device = self._devices.get(DeviceId(user))
        if device is not None:
            return device if device.accepts(flow) else None
        if len(self._places.get(place_of(flow), ())) > NEIGHBOURS_MAX:
            return None
        there = [device for device in self.at(flow) if device.accepts(flow)]
        owners = [device for device in there if user in device.codes]
        if owners:
            return owners[0]
        return there[0] if len(there) == 1 else None

    def see(self, device: RegisteredDevice, now: float) -> None:
        """Notes that a device was heard; O(1)."""
        device.seen_at = now
        self._seen.add(device.device_id)

    def take_seen(self, now: float, wall: datetime) -> dict[DeviceId, datetime]:
        """Who was heard since the last call, and when: for the store."""
        seen, self._seen = self._seen, set()
        devices = (self._devices.get(device_id) for device_id in seen)
        return {
            device.device_id: wall - timedelta(seconds=max(0.0, now - device.seen_at))
            for device in devices
            if device is not None
        }

    def arm(self, device: RegisteredDevice) -> None:
        """Sees to it that the device's next deadline fires."""
        due = device.presence.next_timeout()
        if due is not None:
            self.deadlines.set(device.device_id, due)

    def counts(self) -> Mapping[DeviceState, int]:
        """Devices by state: for the metrics. O(n)."""
        counts = dict.fromkeys(DeviceState, 0)
        for device in self._devices.values():
            counts[device.presence.state] += 1
        return counts

    def _place(self, device: RegisteredDevice) -> None:
        if device.flow is not None:
            self._places.setdefault(place_of(device.flow), set()).add(device.device_id)

    def _displace(self, device: RegisteredDevice) -> None:
        if device.flow is None:
            return
        place = place_of(device.flow)
        there = self._places.get(place, set())
        there.discard(device.device_id)
        if not there:
            self._places.pop(place, None)


def codes_of(ids: Iterable[str]) -> frozenset[str]:
    """A bounded set of codes."""
    return frozenset(code for _, code in zip(range(CODES_MAX), ids, strict=False))
