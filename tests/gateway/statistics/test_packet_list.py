"""The list of packet sums answers as a plain list of them would, while channels and devices come and go."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.model import DeviceFacts, DeviceFilter, DeviceState
from gateway.devices.roster import ORDERS, Roster, Wanted
from gateway.paging import Page
from gateway.statistics.model import Sums
from gateway.statistics.packet_list import PacketList

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
IDS = st.text("ab1", min_size=1, max_size=2)
KEYS = st.tuples(IDS, st.sampled_from(["x", "y", "z"]))
PAGES = st.none() | st.builds(
    Page, offset=st.integers(0, 6), limit=st.integers(1, 4), order_by=st.sampled_from(ORDERS), descending=st.booleans()
)


def facts(device_id: str, state: DeviceState, hour: int) -> DeviceFacts:
    at = NOW + timedelta(hours=hour)
    return DeviceFacts(device_id, "p", "IPC", f"u{hour % 2}", state.value, at, at, None, None, None)


DEVICES = st.builds(facts, IDS, st.sampled_from(DeviceState), st.integers(0, 3))
STEPS = st.lists(
    st.tuples(
        st.dictionaries(KEYS, st.integers(1, 100), max_size=4),
        st.lists(DEVICES, max_size=3),
        st.sets(IDS, max_size=2),
        st.none() | st.sampled_from(DeviceState),
        PAGES,
    ),
    max_size=6,
)


@given(STEPS)
def test_it_answers_as_a_plain_list_would(
    steps: list[tuple[dict[tuple[str, str], int], list[DeviceFacts], set[str], DeviceState | None, Page | None]],
) -> None:
    sums: dict[tuple[str, str], Sums] = {}
    devices: dict[str, DeviceFacts] = {}
    roster, subject = Roster(), PacketList(sums)
    for counted, changed, gone, state, page in steps:
        for key, number in counted.items():
            sums[key] = Sums(number, number)
        roster.update(changed)
        devices |= {one.device_id: one for one in changed}
        roster.remove(gone)
        devices = {key: one for key, one in devices.items() if key not in gone}
        order = "created_at" if page is None else page.order_by
        found = sorted(
            (getattr(devices[device], order), device, channel, sums[device, channel])
            for device, channel in sums
            if device in devices and state in {None, devices[device].state}
        )
        if page is not None:
            found = (found[::-1] if page.descending else found)[page.offset : page.offset + page.limit]
        listing = subject.select(roster, Wanted(device=DeviceFilter(state=state)), page)
        assert listing.entries == [one[1:] for one in found]
