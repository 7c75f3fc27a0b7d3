"""The audit log in the database."""

from datetime import timedelta

from gateway.audit.entry import Entry
from gateway.store import AuditFilter, Store
from tests.gateway.store.samples import NOW, PROJECT


def entry(number: int, **more: object) -> Entry:
    given = {
        "at": NOW + timedelta(minutes=number),
        "project_id": PROJECT,
        "user_id": "1" * 32,
        "user_name": "admin",
        "proof": "token 0",
        "address": "198.51.100.7",
        "call": "DELETE /v1/{project_id}/devices/{device_id}",
        "target": {"device_id": f"{number:020d}"},
        "changes": {"description": "门口\x00"[:-1]},
        "status": 200,
        **more,
    }
    return Entry(**given)  # type: ignore[arg-type]


async def test_entries_come_back_newest_first_and_filtered(store: Store) -> None:
    entries = [
        entry(0),
        entry(1, user_name="li"),
        entry(2, project_id=None, user_id=None, user_name="x" * 500 + "\x00", call="POST /v3/auth/tokens"),
        entry(3, error="VIS.0302", status=404),
        entry(4, project_id="b" * 32),
    ]
    for one in entries:
        await store.audit.append(one)

    async def found(**wanted: object) -> list[int]:
        listed = await store.audit.list(AuditFilter(**wanted))  # type: ignore[arg-type]
        return [round((one.at - NOW).total_seconds() / 60) for _, one in listed]

    assert await found() == [4, 3, 2, 1, 0]
    assert await found(project_id=PROJECT) == [3, 1, 0]
    assert await found(user_name="li") == [1]
    assert await found(user_name="\x00") == []
    assert await found(call="/AUTH/") == [2]
    assert await found(target="0003") == [3]
    assert await found(since=NOW + timedelta(minutes=1), until=NOW + timedelta(minutes=3)) == [2, 1]
    assert await found(done=False) == [3]
    assert await found(done=True, project_id=PROJECT) == [1, 0]
    first = await store.audit.list(AuditFilter(), limit=2)
    rest = await store.audit.list(AuditFilter(), before=first[-1][0], limit=2)
    assert [one for _, one in first] == [entries[4], entries[3]]
    assert [one.user_name for _, one in rest] == ["x" * 64, "li"]


async def test_old_entries_are_deleted_in_parts(store: Store) -> None:
    for number in range(5):
        await store.audit.append(entry(number))
    before = NOW + timedelta(minutes=3)
    assert [await store.audit.prune(before, limit=2) for _ in range(3)] == [2, 1, 0]
    assert len(await store.audit.list(AuditFilter())) == 2
