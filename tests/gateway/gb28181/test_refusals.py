"""Why a camera stays away."""

from gateway.gb28181.refusals import KEPT, Refusals
from sip.flow import Address, Flow
from tests.gateway.store.samples import NOW

FLOW = Flow("UDP", Address("192.0.2.10", 5080), Address("198.51.100.20", 5060))


def test_the_last_reason_and_how_often() -> None:
    refusals = Refusals(lambda: NOW)
    refusals.note("31", FLOW, "not authenticated yet")
    assert refusals.of("31") is None
    refusals.note("31", FLOW, "wrong answer")
    refusals.note("31", FLOW, "5 failed passwords")
    refusal = refusals.of("31")
    assert refusal is not None
    assert (refusal.reason, refusal.count, refusal.at, refusal.flow) == ("5 failed passwords", 2, NOW, FLOW)
    refusals.forget("31")
    assert refusals.of("31") is None


def test_the_newest_first_and_no_more_than_a_thousand() -> None:
    refusals = Refusals(lambda: NOW)
    for number in range(KEPT + 5):
        refusals.note(str(number), FLOW, "no device of this id is provisioned")
    assert len(refusals) == KEPT
    assert [refusal.user for refusal in refusals.latest(2)] == [str(KEPT + 4), str(KEPT + 3)]
    refusals.note("x" * 500, FLOW, "odd")
    assert refusals.latest(1)[0].user == "x" * 32
