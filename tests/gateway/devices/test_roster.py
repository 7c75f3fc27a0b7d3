"""The columns of a project's devices answer as a plain list of them would."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.devices.model import DeviceFacts, DeviceFilter, DeviceState, DeviceType
from gateway.devices.roster import ORDERS, Roster, Span, Wanted
from gateway.errors import InvalidError
from gateway.paging import Page

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
TIMES = st.integers(-5, 5).map(lambda hours: NOW + timedelta(hours=hours))
IDS = st.text("Aab12", min_size=1, max_size=4)
FACTS = st.builds(
    DeviceFacts,
    device_id=IDS,
    project_id=st.just("p"),
    type=st.sampled_from(DeviceType).map(str),
    username=st.sampled_from(["0100", "gate", "Gate"]),
    state=st.sampled_from(DeviceState).map(str),
    created_at=TIMES,
    updated_at=TIMES,
    first_online_at=st.none() | TIMES,
    last_offline_at=st.none() | TIMES,
    first_media_at=st.none() | TIMES,
)
SPANS = st.none() | st.builds(Span, st.none() | TIMES, st.none() | TIMES)
WANTED = st.builds(
    Wanted,
    device=st.builds(
        DeviceFilter,
        device_id=st.none() | st.text("aAb1%\x00é", min_size=1, max_size=3),
        type=st.none() | st.sampled_from(DeviceType),
        state=st.none() | st.sampled_from(DeviceState),
    ),
    state=st.none() | st.sampled_from(DeviceState),
    first_online=SPANS,
    last_offline=SPANS,
    without_media=st.booleans(),
    among=st.none() | st.frozensets(IDS),
)
PAGES = st.none() | st.builds(
    Page, offset=st.integers(0, 12), limit=st.integers(1, 8), order_by=st.sampled_from(ORDERS), descending=st.booleans()
)


def lies(at: datetime | None, span: Span | None) -> bool:
    if span is None:
        return True
    return at is not None and (span.since is None or span.since <= at) and (span.before is None or at < span.before)


def matches(facts: DeviceFacts, wanted: Wanted) -> bool:
    asked = wanted.device
    return (
        (asked.device_id is None or asked.device_id.lower() in facts.device_id.lower())
        and (asked.type is None or asked.type == facts.type)
        and (asked.state is None or asked.state == facts.state)
        and (wanted.state is None or wanted.state == facts.state)
        and lies(facts.first_online_at, wanted.first_online)
        and lies(facts.last_offline_at, wanted.last_offline)
        and (wanted.among is None or facts.device_id in wanted.among)
        and not (wanted.without_media and facts.first_media_at)
    )


def plain(devices: dict[str, DeviceFacts], wanted: Wanted, page: Page | None) -> tuple[int, list[str]]:
    """The same by looking at one device after the other."""
    found = [facts for facts in devices.values() if matches(facts, wanted)]
    order = "created_at" if page is None else page.order_by

    def key(facts: DeviceFacts) -> Any:
        return getattr(facts, order), facts.device_id

    found.sort(key=key, reverse=page is not None and page.descending)
    ids = [facts.device_id for facts in found]
    return len(ids), ids if page is None else ids[page.offset : page.offset + page.limit]


@settings(max_examples=300)
@given(
    st.lists(FACTS, max_size=12),
    st.lists(st.tuples(st.lists(FACTS, max_size=4), st.sets(IDS, max_size=3), WANTED, PAGES), max_size=5),
)
def test_it_answers_as_a_plain_list_would(
    first: list[DeviceFacts], steps: list[tuple[list[DeviceFacts], set[str], Wanted, Page | None]]
) -> None:
    devices = {facts.device_id: facts for facts in first}
    roster = Roster(list(devices.values()))
    for changed, gone, wanted, page in steps:
        devices |= {facts.device_id: facts for facts in changed}
        roster.update(changed)
        for device_id in gone:
            devices.pop(device_id, None)
        roster.remove(gone)
        listing = roster.select(wanted, page)
        assert (listing.total, listing.entries) == plain(devices, wanted, page)
        assert len(roster) == len(devices)


def test_other_orders_are_refused() -> None:
    with pytest.raises(InvalidError, match="order_by"):
        Roster().select(Wanted(), Page(offset=0, limit=1, order_by="folded"))
