"""What is kept of refused REGISTERs, and that it stays bounded."""

from datetime import UTC, datetime, timedelta

import pytest
import structlog

from gateway.gb28181.refusals import DEVICES_MAX, KINDS_MAX, LINES_BURST, LINES_RATE, Refusals
from gateway.gb28181.registrar import FOREIGN_NONCE, UNAUTHENTICATED, UNKNOWN_DEVICE
from sip.digest import Verdict
from sip.flow import Address, Flow

CAMERA = "34020000001320000001"
START = datetime(2026, 3, 5, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock) -> Refusals:
    return Refusals(clock)


def flow(host: str = "198.51.100.7", port: int = 5060) -> Flow:
    return Flow("UDP", Address("192.0.2.1", 5080), Address(host, port))


def test_the_same_refusal_is_counted(refusals: Refusals, clock: Clock) -> None:
    refusals.note(CAMERA, flow(), Verdict.WRONG.value)
    clock.now += timedelta(seconds=5)
    refusals.note(CAMERA, flow(port=5061), Verdict.WRONG.value)
    (kept,) = refusals.of_device(CAMERA)
    assert (kept.count, kept.port, kept.first_at, kept.last_at) == (2, 5061, START, clock.now)
    assert kept.wrong_password
    assert not kept.unknown_device


@pytest.mark.parametrize("reason", [UNAUTHENTICATED, FOREIGN_NONCE, Verdict.STALE.value, Verdict.REPLAYED.value])
def test_a_challenge_is_no_refusal(refusals: Refusals, reason: str) -> None:
    refusals.note(CAMERA, flow(), reason)
    assert refusals.of_device(CAMERA) == []
    challenged = refusals.challenged(CAMERA)
    assert challenged is not None
    assert challenged.host == "198.51.100.7"


def test_who_has_registered_is_forgotten(refusals: Refusals) -> None:
    refusals.note(CAMERA, flow(), Verdict.WRONG.value)
    refusals.note(CAMERA, flow(), UNAUTHENTICATED)
    refusals.forget(CAMERA)
    assert refusals.of_device(CAMERA) == []
    assert refusals.challenged(CAMERA) is None


def test_newest_first_by_device_by_source_and_of_strangers(refusals: Refusals, clock: Clock) -> None:
    for number, (user, host, reason) in enumerate(
        [("1", "192.0.2.7", UNKNOWN_DEVICE), (CAMERA, "192.0.2.8", "banned"), ("2", "192.0.2.7", UNKNOWN_DEVICE)]
    ):
        clock.now = START + timedelta(seconds=number)
        refusals.note(user, flow(host), reason)
    assert [one.device_id for one in refusals.of_source("192.0.2.7")] == ["2", "1"]
    assert [one.device_id for one in refusals.strangers()] == ["2", "1"]
    assert [one.reason for one in refusals.of_device(CAMERA)] == ["banned"]


def test_a_flood_leaves_it_bounded(refusals: Refusals) -> None:
    for number in range(DEVICES_MAX + 10):
        refusals.note(str(number), flow(), UNKNOWN_DEVICE)
        refusals.note(str(number), flow(), UNAUTHENTICATED)
    assert len(refusals.strangers(limit=10 * DEVICES_MAX)) == DEVICES_MAX
    assert refusals.challenged("0") is None
    assert refusals.challenged("10") is not None
    for number in range(KINDS_MAX + 5):
        refusals.note(CAMERA, flow(f"192.0.2.{number}"), "banned")
    assert [one.host for one in refusals.of_device(CAMERA)] == [f"192.0.2.{n}" for n in range(KINDS_MAX + 4, 4, -1)]
    refusals.note("x" * 10_000, flow(), UNKNOWN_DEVICE)
    assert len(refusals.of_device("x" * 32)) == 1
    assert not refusals.of_device("x" * 33)


def test_made_up_ids_do_not_fill_the_log(refusals: Refusals, clock: Clock) -> None:
    with structlog.testing.capture_logs() as lines:
        for number in range(10_000):
            refusals.note(f"3402000000132{number:07d}", flow(), UNKNOWN_DEVICE)
        assert len(lines) == LINES_BURST
        clock.now += timedelta(seconds=2)
        for number in range(100):
            refusals.note(f"3402000000118{number:07d}", flow(), UNKNOWN_DEVICE)
        assert len(lines) == LINES_BURST + 2 * LINES_RATE
