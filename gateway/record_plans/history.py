"""What record plans asked for while nobody recorded: the gap report must not count time that was not planned."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfoNotFoundError

from gateway.record_plans.week import changes, wants, zone_of
from gateway.retention.model import Mark, MarkKind
from gateway.store import Store
from gateway.streams.model import StreamState

LOOKED_BACK: Final = timedelta(days=8)
"""Of a longer absence only the end is told in full: what came before counts as it stood when that began."""


async def missed(store: Store, since: datetime, until: datetime) -> Sequence[Mark]:
    """When streams were expected by their plans, and when not, from `since` until `until`: in order. UnavailableError.

    Those that are retained at all times are expected whatever their plan says.
    """
    begin = max(since, until - LOOKED_BACK)
    told: dict[str, list[tuple[datetime, bool]]] = {}
    for plan_id, plan in (await store.record_plans.every()).items():
        try:
            zone = zone_of(plan.zone)
        except ZoneInfoNotFoundError:
            continue
        cut = [(begin, wants(plan.ranges, zone, begin))] if begin != since else []
        told[plan_id] = [*cut, *changes(plan.ranges, zone, begin, until)]
    marks: list[Mark] = []
    async for one in store.record_plans.assigned():
        always = one.retained.active and one.retained.retention.state is StreamState.ACTIVE
        for at, wanted in () if always else told.get(one.plan_id, ()):
            kind = MarkKind.EXPECTED if wanted else MarkKind.UNEXPECTED
            marks.append(Mark(at=at, kind=kind, stream_id=one.retained.stream_id))
    return sorted(marks, key=lambda mark: mark.at)
