"""What a caller's scope means in SQL."""

from typing import Any

import sqlalchemy as sa

from gateway.scope import Scope
from gateway.store.access_tables import group_devices


def within(
    scope: Scope, project_id: sa.ColumnElement[str], device_id: sa.ColumnElement[Any], *, by_device: bool = False
) -> list[sa.ColumnElement[bool]]:
    """Conditions for the rows that belong to the scope; unrestricted, the project alone, without a join.

    `device_id` is the column that names the device a row is about. Rows about none (NULL), such as streams that
    nobody but a person pushes, are outside every restricted scope. `by_device`: that column has an index, which
    restricted callers are to be served by.
    """
    if scope.groups is None:
        return [project_id == scope.project_id]
    # SQLite would rather walk the whole project in the order that is asked for, and look each device up in the
    # groups; that takes the time of all its devices, however few the groups hold. No index serves this expression.
    project = sa.func.coalesce(project_id, "") if by_device else project_id
    return [project == scope.project_id, device_id.in_(devices_of(scope.groups))]


def devices_of(groups: frozenset[str]) -> sa.Select[str]:
    """The ids of the devices in any of these groups."""
    return sa.select(group_devices.c.device_id).where(group_devices.c.group_id.in_(sorted(groups)))
