"""The table of packet sums: what came of each channel's video, by day."""

from datetime import date
from typing import Any, ClassVar, cast

import sqlalchemy as sa
from sqlmodel import Field

from gateway.store.tables import Row


class PacketDayRow(Row, table=True):
    """Without foreign keys: a day's sums outlive their device. `day` is one of UTC+8."""

    __tablename__: ClassVar[str] = "packet_day"

    day: date = Field(primary_key=True, sa_type=sa.Date)
    device_id: str = Field(primary_key=True, sa_type=sa.String(32))
    channel_id: str = Field(primary_key=True, sa_type=sa.String(32))
    expected: int = Field(sa_type=sa.BigInteger)
    received: int = Field(sa_type=sa.BigInteger)


packet_days = cast(sa.Table, cast(Any, PacketDayRow).__table__)
