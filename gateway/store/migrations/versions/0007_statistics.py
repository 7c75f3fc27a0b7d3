"""Facts for the operation statistics, back-filled from the history; packet sums by day."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

DEVICE = sa.table(
    "device",
    sa.column("device_id"),
    sa.column("state"),
    sa.column("updated_at"),
    sa.column("last_offline_at"),
    sa.column("first_media_at"),
)
EVENT = sa.table(
    "state_event",
    sa.column("device_id"),
    sa.column("channel_id"),
    sa.column("at"),
    sa.column("before"),
    sa.column("after"),
    sa.column("cause"),
)


def upgrade() -> None:
    op.create_table(
        "packet_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("channel_id", sa.String(length=32), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "device_id", "channel_id", name=op.f("pk_packet_day")),
    )
    op.add_column("device", sa.Column("last_offline_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("device", sa.Column("first_media_at", sa.DateTime(timezone=True), nullable=True))
    mine = EVENT.c.device_id == DEVICE.c.device_id
    went = sa.select(sa.func.max(EVENT.c.at)).where(
        mine, EVENT.c.channel_id.is_(None), EVENT.c.after == "OFFLINE", EVENT.c.before != "OFFLINE"
    )
    sent = sa.select(sa.func.min(EVENT.c.at)).where(mine, EVENT.c.cause == "MEDIA")
    op.execute(sa.update(DEVICE).values(last_offline_at=went.scalar_subquery(), first_media_at=sent.scalar_subquery()))
    unknown = sa.and_(DEVICE.c.state == "OFFLINE", DEVICE.c.last_offline_at.is_(None))
    op.execute(sa.update(DEVICE).where(unknown).values(last_offline_at=DEVICE.c.updated_at))


def downgrade() -> None:
    op.drop_column("device", "first_media_at")
    op.drop_column("device", "last_offline_at")
    op.drop_table("packet_day")
