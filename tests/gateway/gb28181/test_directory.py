"""Who is where: by id, by flow, after moves, and against strangers."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.model import DeviceId, DeviceState, DeviceType, StateCause
from gateway.devices.presence import DevicePresence, Patience
from gateway.gb28181.charset import Charset
from gateway.gb28181.directory import (
    NEIGHBOURS_MAX,
    UNDISPATCHED_MAX,
    Directory,
    RegisteredDevice,
    codes_of,
    place_of,
)
from sip.flow import Address, Flow

LOCAL = Address("192.0.2.10", 5080)


def udp(port: int = 5060, host: str = "198.51.100.20") -> Flow:
    return Flow("UDP", LOCAL, Address(host, port))


def tcp(connection: int, host: str = "198.51.100.20") -> Flow:
    return Flow("TCP", LOCAL, Address(host, 40_000 + connection), connection)


def registered(directory: Directory, device_id: str, flow: Flow, *codes: str) -> RegisteredDevice:
    device = RegisteredDevice(DeviceId(device_id), "p", DeviceType.NVR, DevicePresence(directory.patience))
    device.presence.register(0.0, 3600.0)
    device.transport, device.host = flow.transport, flow.remote.host
    device.codes = codes_of(codes)
    directory.add(device)
    directory.move(device, flow)
    directory.arm(device)
    return device


def test_the_sender_is_the_device_that_from_names_on_its_own_host() -> None:
    directory = Directory(Patience())
    device = registered(directory, "31", udp(), "32")
    assert directory.sender(udp(), "31") is device
    assert directory.sender(udp(9), "31") is device  # its NAT has moved it
    assert directory.sender(udp(host="203.0.113.9"), "31") is None
    assert directory.sender(tcp(1), "31") is device  # too long for a datagram
    assert directory.sender(udp(), "99") is device  # the only one there
    assert directory.sender(udp(9), "99") is None


def test_a_channel_in_from_names_its_device_among_neighbours() -> None:
    directory = Directory(Patience())
    registered(directory, "31", udp(), "311")
    other = registered(directory, "32", udp(), "321")
    assert directory.sender(udp(), "321") is other
    assert directory.sender(udp(), "999") is None


def test_a_crowd_behind_one_address_is_not_searched() -> None:
    directory = Directory(Patience())
    for number in range(NEIGHBOURS_MAX + 1):
        registered(directory, f"{number:020d}", udp(), f"c{number}")
    assert directory.sender(udp(), "c3") is None


def test_tcp_is_the_connection_and_after_a_restart_any_from_its_host() -> None:
    directory = Directory(Patience())
    device = registered(directory, "31", tcp(1))
    assert device.accepts(tcp(1))
    assert not device.accepts(tcp(2))
    assert not device.accepts(udp())
    directory.move(device, None)
    assert not device.accepts(tcp(2))
    device.adoptable = True
    assert device.accepts(tcp(2))
    assert not device.accepts(tcp(2, "203.0.113.9"))


def test_without_a_registration_nothing_is_accepted_and_nothing_is_reachable() -> None:
    directory = Directory(Patience())
    device = registered(directory, "31", udp())
    assert directory.flow(DeviceId("31")) == udp()
    device.presence.handle(1.0, StateCause.UNREGISTER)
    assert not device.accepts(udp())
    assert directory.flow(DeviceId("31")) is None
    assert directory.address(DeviceId("31")) == udp().remote


def test_what_was_heard_is_taken_once_with_its_time() -> None:
    directory = Directory(Patience())
    device = registered(directory, "31", udp())
    directory.see(device, 90.0)
    directory.see(device, 95.0)
    wall = datetime(2026, 3, 5, tzinfo=UTC)
    assert directory.take_seen(100.0, wall) == {DeviceId("31"): wall - timedelta(seconds=5)}
    assert directory.take_seen(100.0, wall) == {}


def test_undispatched_messages_are_counted_within_a_bound() -> None:
    device = registered(Directory(Patience()), "31", udp())
    for number in range(UNDISPATCHED_MAX + 10):
        device.count_undispatched(f"Notify/Odd{number}")
        device.count_undispatched("Notify/Odd0")
    assert len(device.undispatched) == UNDISPATCHED_MAX + 1
    assert device.undispatched["other"] == 10
    assert sum(device.undispatched.values()) == 2 * (UNDISPATCHED_MAX + 10)


def test_what_is_written_to_a_device_goes_by_its_version_unless_set() -> None:
    device = registered(Directory(Patience()), "31", udp())
    assert device.writing is Charset.GB2312
    device.gb_version = "3.0"
    assert device.writing is Charset.GB18030
    device.charset = Charset.UTF_8
    assert device.writing is Charset.UTF_8


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "move", "remove", "lose"]), st.integers(0, 4), st.integers(1, 3)), max_size=60
)


@given(STEPS)
def test_the_flow_index_is_what_the_devices_say(steps: list[tuple[str, int, int]]) -> None:
    directory = Directory(Patience())
    for step, number, port in steps:
        device = directory.get(str(number))
        if step == "add":
            registered(directory, str(number), udp(port))
        elif device is not None and step == "move":
            directory.move(device, udp(port))
        elif device is not None and step == "lose":
            directory.move(device, None)
        elif step == "remove":
            directory.remove(DeviceId(str(number)))
        for at in (1, 2, 3):
            expected = {d.device_id for d in directory if d.flow is not None and place_of(d.flow) == place_of(udp(at))}
            assert {d.device_id for d in directory.at(udp(at))} == expected
            assert directory.is_taken(udp(at)) == bool(expected)
        assert set(directory._places) == {place_of(d.flow) for d in directory if d.flow is not None}
        assert len(directory.deadlines) == len(directory) == sum(directory.counts().values())
        assert directory.counts()[DeviceState.ONLINE] == len(directory)
