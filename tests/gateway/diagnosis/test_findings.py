"""What is said about each kind of trouble, and that nothing is said that is not so."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.devices.model import CatalogueStatus, DeviceState, InvitationStatus
from gateway.diagnosis.facts import (
    Addresses,
    CallFacts,
    CatalogueFacts,
    Facts,
    MediaFacts,
    RefusedRegister,
    RegistrationFacts,
)
from gateway.diagnosis.findings import Step, Verdict, duration, examine, main_finding
from gateway.diagnosis.sentences import HINTS, SENTENCES
from gateway.gb28181.call import FailureCause

NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
CAMERA = "34020000001320000001"
S = InvitationStatus

REGISTERED = RegistrationFacts(
    state=DeviceState.ONLINE,
    registered=True,
    credential="hall",
    first_registered_at=NOW - timedelta(days=1),
    registered_at=NOW - timedelta(hours=1),
    expires_at=NOW + timedelta(hours=1),
    transport="UDP",
    remote="198.51.100.7:5060",
    contact="",
    user_agent=None,
    gb_version=None,
    last_seen_at=NOW - timedelta(seconds=10),
    keepalive_interval=60.0,
    patience=185.0,
    clock_drift=0.4,
    challenged_at=NOW - timedelta(hours=1),
    challenged_source="198.51.100.7:5060 (UDP)",
)
UNREGISTERED = replace(
    REGISTERED,
    state=DeviceState.UNREGISTERED,
    registered=False,
    first_registered_at=None,
    registered_at=None,
    expires_at=None,
    last_seen_at=None,
    keepalive_interval=None,
    challenged_at=None,
)
MEDIA = MediaFacts(
    transport="udp",
    port=30000,
    peer="198.51.100.7:15060",
    ssrc="0200000001",
    payload="ps",
    expected=4511,
    received=4511,
    lost=0,
    reordered=0,
    duplicates=0,
    rejected=0,
    jitter_ms=0.2,
    rate_in_bps=4_000_000,
    first_packet_ms=20,
    first_key_frame_ms=80,
    video_codec="H264",
    width=1920,
    height=1080,
    fps=25.0,
    gop=50,
    audio_codec="PCMA",
    sample_rate=8000,
    viewers={"http-flv": 2, "hls": 0},
)
NO_MEDIA = replace(
    MEDIA,
    peer=None,
    ssrc=None,
    payload=None,
    expected=0,
    received=0,
    first_packet_ms=None,
    first_key_frame_ms=None,
    video_codec=None,
    audio_codec=None,
    viewers={},
)
FLOWING = CallFacts(
    under_way=True,
    status=S.INVITE_SUCCESS,
    wanted=True,
    state="flowing",
    transport="UDP",
    ssrc="0200000001",
    port=30000,
    call_id="1@192.0.2.1",
    stage=None,
    cause=None,
    sip_status=None,
    detail="",
    failed_at=None,
    media=MEDIA,
)
IDLE = replace(
    FLOWING, under_way=False, status=S.ONLINE, wanted=False, state=None, transport=None, ssrc=None, media=None
)
WELL = Facts(
    at=NOW,
    device_id=CAMERA,
    channel_id=CAMERA,
    registration=REGISTERED,
    catalogue=CatalogueFacts(status=CatalogueStatus.QUERIED, is_nvr=False, codes=1, reported_on=True),
    call=FLOWING,
    addresses=Addresses(
        sip="192.0.2.1:5080", server_id="34020000002000000001", domain="3402000000", media_host="192.0.2.1"
    ),
    deviations={},
)


def failed(cause: FailureCause, status: int | None = None, detail: str = "") -> CallFacts:
    return replace(
        IDLE,
        transport="UDP",
        stage="invite",
        cause=cause.value,
        sip_status=status,
        detail=detail,
        failed_at=NOW,
        media=NO_MEDIA,
    )


def refused(reason: str, *, wrong: bool = False, at: datetime = NOW, device_id: str = CAMERA) -> RefusedRegister:
    return RefusedRegister(
        device_id=device_id,
        source="198.51.100.7:5060 (UDP)",
        reason=reason,
        wrong_password=wrong,
        first_at=at,
        last_at=at,
        count=3,
    )


def codes(facts: Facts, *verdicts: Verdict) -> list[str]:
    return [finding.code for finding in examine(facts) if not verdicts or finding.verdict in verdicts]


def bad(facts: Facts) -> list[str]:
    return codes(facts, Verdict.ERROR, Verdict.WARNING)


def test_all_is_well() -> None:
    assert codes(WELL) == [
        "registered",
        "keepalive",
        "catalogue",
        "call_stands",
        "media",
        "picture",
        "sound",
        "viewers",
    ]
    assert bad(WELL) == []
    assert main_finding(examine(WELL)) is None
    texts = {finding.code: finding.text for finding in examine(WELL)}
    assert texts["media"] == ("4511 of 4511 packets came from 198.51.100.7:15060 to port 30000: PS, SSRC 0200000001.")
    assert texts["viewers"] == "Watched by 2: 2 × http-flv."
    assert texts["keepalive"] == "Last heard 10 s ago; keepalives come every 60 s."


def test_never_registered_tells_what_to_type() -> None:
    facts = replace(WELL, registration=UNREGISTERED, call=replace(IDLE, status=S.UNREGISTERED))
    found = main_finding(examine(facts))
    assert found is not None
    assert found.code == "never_registered"
    for needed in ("34020000002000000001", "3402000000", "192.0.2.1:5080", CAMERA):
        assert needed in found.advice


def test_a_mistyped_id_is_suspected_while_it_is_recent() -> None:
    near, old = refused("?", device_id="1"), refused("?", device_id="2", at=NOW - timedelta(hours=2))
    facts = replace(WELL, registration=replace(UNREGISTERED, strangers=(near, old)))
    (suspected,) = [finding for finding in examine(facts) if finding.code == "stranger"]
    assert "unknown ID 1" in suspected.text
    assert CAMERA in suspected.advice


def test_wrong_password() -> None:
    known = replace(UNREGISTERED, challenged_at=NOW - timedelta(seconds=1), refused=(refused("wrong", wrong=True),))
    found = main_finding(examine(replace(WELL, registration=known)))
    assert found is not None
    assert (found.code, found.step) == ("wrong_password", Step.REGISTRATION)
    assert "hall" in found.advice


def test_a_password_that_is_never_given() -> None:
    known = replace(UNREGISTERED, challenged_at=NOW - timedelta(seconds=30))
    assert bad(replace(WELL, registration=known))[0] == "challenge_unanswered"


def test_a_refusal_that_was_set_right_is_not_told() -> None:
    before = refused("wrong", wrong=True, at=NOW - timedelta(hours=2))
    assert bad(replace(WELL, registration=replace(REGISTERED, refused=(before,)))) == []
    after = replace(REGISTERED, refused=(refused("banned"),))
    assert bad(replace(WELL, registration=after)) == ["register_refused"]


def test_silent_ended_and_late() -> None:
    gone = replace(REGISTERED, state=DeviceState.OFFLINE, last_seen_at=NOW - timedelta(minutes=10))
    assert bad(replace(WELL, registration=gone))[0] == "silent"
    ended = replace(gone, registered=False)
    assert bad(replace(WELL, registration=ended))[0] == "registration_ended"
    late = replace(REGISTERED, last_seen_at=NOW - timedelta(seconds=120))
    assert bad(replace(WELL, registration=late)) == ["keepalive_late"]
    drifting = replace(REGISTERED, clock_drift=-3600.0)
    assert bad(replace(WELL, registration=drifting)) == ["clock_drift"]
    assert bad(replace(WELL, deviations={"register-two-addresses": 4})) == ["two_addresses"]


def test_catalogue() -> None:
    idle = replace(WELL, call=IDLE)
    off = replace(idle, catalogue=replace(WELL.catalogue, reported_on=False))
    assert codes(off, Verdict.ERROR) == ["reported_off"]
    assert codes(replace(off, call=FLOWING), Verdict.WARNING) == ["reported_off"]
    reading = replace(idle, catalogue=replace(WELL.catalogue, status=CatalogueStatus.QUERYING))
    assert "catalogue_reading" in codes(reading, Verdict.WAITING)
    missing = replace(idle, catalogue=replace(WELL.catalogue, status=CatalogueStatus.IDEL, is_nvr=True))
    assert bad(missing) == ["catalogue_missing"]


@pytest.mark.parametrize("cause", [cause for cause in FailureCause if cause is not FailureCause.CANCELLED])
def test_every_failure_has_a_sentence_and_advice(cause: FailureCause) -> None:
    found = main_finding(examine(replace(WELL, call=failed(cause, 486, "Busy Here"))))
    assert found is not None
    assert (found.step, found.verdict, found.code) == (Step.INVITATION, Verdict.ERROR, cause.value)
    assert found.text
    assert found.advice
    assert "{" not in found.text + found.advice


def test_a_refusal_has_advice_of_its_own() -> None:
    found = main_finding(examine(replace(WELL, call=failed(FailureCause.REFUSED, 486, "Busy Here"))))
    assert found is not None
    assert found.text == "The device refused the INVITE with 486 Busy Here."
    assert found.advice == HINTS[486]


def test_no_media_names_the_address_that_must_be_reached() -> None:
    found = main_finding(examine(replace(WELL, call=failed(FailureCause.NO_MEDIA))))
    assert found is not None
    assert "192.0.2.1:30000 over UDP" in found.text
    assert "rtp.advertise" in found.advice


def test_calls_that_are_not_there_yet() -> None:
    assert codes(replace(WELL, call=IDLE), Verdict.WAITING) == ["not_invited"]
    inviting = replace(IDLE, under_way=True, status=S.INVITING, state="waiting_media", transport="UDP", media=NO_MEDIA)
    assert codes(replace(WELL, call=inviting), Verdict.WAITING) == ["calling", "media_awaited"]
    lost = replace(failed(FailureCause.MEDIA_LOST), status=S.TEMPORARY_OFFLINE)
    assert codes(replace(WELL, call=lost), Verdict.WAITING) == ["retrying"]
    away = replace(WELL, call=lost, registration=replace(REGISTERED, state=DeviceState.OFFLINE))
    assert codes(away, Verdict.WAITING) == ["device_away"]


@pytest.mark.parametrize(
    ("media", "code", "verdict"),
    [
        (replace(MEDIA, ssrc="0000000007"), "ssrc_differs", Verdict.OK),
        (replace(MEDIA, lost=91), "loss", Verdict.WARNING),
        (replace(MEDIA, rejected=3), "rejected", Verdict.WARNING),
        (replace(MEDIA, faults={"psm_missing": 1}), "faults", Verdict.OK),
        (replace(MEDIA, faults={"psm_missing": 1, "resync": 2}), "faults", Verdict.WARNING),
        (replace(MEDIA, video_codec="H265"), "h265", Verdict.OK),
        (replace(MEDIA, video_codec=None, first_key_frame_ms=None), "sound_alone", Verdict.WARNING),
        (replace(MEDIA, first_key_frame_ms=None, audio_codec=None), "key_frame_awaited", Verdict.WAITING),
        (replace(MEDIA, viewers={}), "unwatched", Verdict.WAITING),
    ],
)
def test_media(media: MediaFacts, code: str, verdict: Verdict) -> None:
    found = examine(replace(WELL, call=replace(FLOWING, media=media)))
    assert [finding.verdict for finding in found if finding.code == code] == [verdict]
    assert all("{" not in finding.text + finding.advice for finding in found)


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0 s"), (12.4, "12 s"), (119, "119 s"), (180, "3 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_page_says_all_of_it_in_chinese() -> None:
    """Each sentence has its counterpart, with no other places for values."""
    source = (Path(__file__).parents[3] / "api/console/src/findings.ts").read_text()
    found = re.findall(r'^  (\w+): \[\s*"([^"]*)",\s*"([^"]*)",?\s*\],$', source, re.MULTILINE)
    table = {code: text + advice for code, text, advice in found}
    assert table.keys() == SENTENCES.keys()
    for code, sentences in SENTENCES.items():
        known = set(re.findall(r"\{(\w+)\}", sentences.text + sentences.advice))
        assert set(re.findall(r"\{(\w+)\}", table[code])) <= known, code
    hints = {int(status) for status in re.findall(r"^  (\d{3}): ", source, re.MULTILINE)}
    assert hints == HINTS.keys()


def test_of_a_device_alone_nothing_is_said_about_calls() -> None:
    facts = replace(WELL, channel_id=None, call=None)
    assert codes(facts) == ["registered", "keepalive", "catalogue"]
