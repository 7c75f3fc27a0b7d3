"""Judges the facts step by step, in the order in which video comes about. No socket, no clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.devices.model import CatalogueStatus, DeviceState, InvitationStatus
from gateway.diagnosis.facts import CallFacts, Facts, MediaFacts, RefusedRegister
from gateway.diagnosis.sentences import HINT, HINTS, SENTENCES

LOSS: Final = 0.01
"""Share of lost packets above which pictures visibly suffer."""
LATE: Final = 1.5
"""Intervals without a keepalive that are worth a warning."""
CLOCK_DRIFT: Final = 60.0
STRANGERS_RECENT: Final = timedelta(hours=1)
HARMLESS: Final = frozenset(
    {"psm_missing", "pes_length", "psm_contradicts", "psm_crc", "bare_pack_header", "timestamp_missing", "bad_psm"}
)
"""Faults that cost nothing (docs/media.md)."""
S = InvitationStatus


class Step(StrEnum):
    """What must be right, in this order."""

    REGISTRATION = "registration"
    KEEPALIVE = "keepalive"
    CATALOGUE = "catalogue"
    INVITATION = "invitation"
    MEDIA = "media"
    PICTURE = "picture"
    VIEWERS = "viewers"


class Verdict(StrEnum):
    """How a step stands. WAITING: neither right nor wrong yet."""

    OK = "ok"
    WAITING = "waiting"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one step; `code` and `values` let others say it in their language."""

    step: Step
    verdict: Verdict
    code: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What is so."""
        return SENTENCES[self.code].text.format(**self.values)

    @property
    def advice(self) -> str:
        """What to do; empty if nothing."""
        return SENTENCES[self.code].advice.format(**self.values)


def examine(facts: Facts) -> list[Finding]:
    """All findings in the order of the steps; what cannot be so because of an earlier step is left out."""
    found = [*_registration(facts), *_keepalive(facts), *_catalogue(facts)]
    if (call := facts.call) is not None:
        found += [*_invitation(facts, call), *_media(facts, call), *_picture(call), *_viewers(call)]
    return found


def main_finding(findings: list[Finding]) -> Finding | None:
    """The one to show first: the first error, else the first warning, else what is waited for."""
    for verdict in (Verdict.ERROR, Verdict.WARNING, Verdict.WAITING):
        for finding in findings:
            if finding.verdict is verdict:
                return finding
    return None


# -- registration and what follows from it ----------------------------------------------------------------------------


def _registration(facts: Facts) -> Iterator[Finding]:
    known = facts.registration
    if known.state is DeviceState.ONLINE:
        yield Finding(
            Step.REGISTRATION,
            Verdict.OK,
            "registered",
            {
                "since": _moment(known.registered_at),
                "until": _moment(known.expires_at),
                "transport": known.transport,
                "remote": known.remote,
            },
        )
    elif known.registered:
        silence = {"ago": _ago(facts.at, known.last_seen_at), "patience": duration(known.patience)}
        yield Finding(Step.REGISTRATION, Verdict.ERROR, "silent", silence)
    else:
        yield from _absence(facts)
    for refused in _unsettled(facts):
        yield _refusal(facts, refused)
    if "register-two-addresses" in facts.deviations:
        yield Finding(Step.REGISTRATION, Verdict.WARNING, "two_addresses")


def _absence(facts: Facts) -> Iterator[Finding]:
    """The device holds no registration: was there one, does it knock, or somebody who may be it?"""
    known, refused = facts.registration, _unsettled(facts)
    if known.first_registered_at is not None:
        ended = {"until": _moment(known.expires_at)}
        yield Finding(Step.REGISTRATION, Verdict.ERROR, "registration_ended", ended)
    challenged = known.challenged_at
    if challenged is not None and not any(one.last_at >= challenged for one in refused):
        values = {"source": known.challenged_source, "ago": _ago(facts.at, challenged)}
        yield Finding(Step.REGISTRATION, Verdict.ERROR, "challenge_unanswered", values)
    elif known.first_registered_at is None and not refused:
        told = facts.addresses
        values = {
            "server_id": told.server_id,
            "domain": told.domain,
            "sip": told.sip,
            "device_id": facts.device_id,
        }
        yield Finding(Step.REGISTRATION, Verdict.ERROR, "never_registered", values)
        for stranger in known.strangers:
            if facts.at - stranger.last_at <= STRANGERS_RECENT:
                named = {"id": stranger.device_id, "source": stranger.source, "device_id": facts.device_id}
                yield Finding(Step.REGISTRATION, Verdict.WARNING, "stranger", named)


def _unsettled(facts: Facts) -> list[RefusedRegister]:
    """Refusals since the last registration: what came before it was set right."""
    since = facts.registration.registered_at
    return [one for one in facts.registration.refused if since is None or one.last_at > since]


def _refusal(facts: Facts, refused: RefusedRegister) -> Finding:
    online = facts.registration.state is DeviceState.ONLINE
    values = {"count": str(refused.count), "source": refused.source, "ago": _ago(facts.at, refused.last_at)}
    code = "wrong_password" if refused.wrong_password else "register_refused"
    more = {"credential": facts.registration.credential} if refused.wrong_password else {"reason": refused.reason}
    return Finding(Step.REGISTRATION, Verdict.WARNING if online else Verdict.ERROR, code, {**values, **more})


def _keepalive(facts: Facts) -> Iterator[Finding]:
    known = facts.registration
    if known.state is not DeviceState.ONLINE or known.last_seen_at is None:
        return
    silent, interval = (facts.at - known.last_seen_at).total_seconds(), known.keepalive_interval
    values = {"ago": duration(silent)}
    if interval is None:
        yield Finding(Step.KEEPALIVE, Verdict.OK, "keepalive_unknown", values)
    else:
        values["interval"] = duration(interval)
        if silent > interval * LATE:
            values["patience"] = duration(known.patience)
            yield Finding(Step.KEEPALIVE, Verdict.WARNING, "keepalive_late", values)
        else:
            yield Finding(Step.KEEPALIVE, Verdict.OK, "keepalive", values)
    if known.clock_drift is not None and abs(known.clock_drift) > CLOCK_DRIFT:
        drift = {"drift": duration(abs(known.clock_drift))}
        yield Finding(Step.KEEPALIVE, Verdict.WARNING, "clock_drift", drift)


def _catalogue(facts: Facts) -> Iterator[Finding]:
    known = facts.catalogue
    if not known.reported_on:
        flows = facts.call is not None and _flows(facts.call)
        yield Finding(Step.CATALOGUE, Verdict.WARNING if flows else Verdict.ERROR, "reported_off")
    elif known.status is CatalogueStatus.QUERYING:
        yield Finding(Step.CATALOGUE, Verdict.WAITING, "catalogue_reading")
    elif known.status is CatalogueStatus.QUERIED:
        yield Finding(Step.CATALOGUE, Verdict.OK, "catalogue", {"codes": str(known.codes)})
    elif known.is_nvr and facts.registration.state is DeviceState.ONLINE:
        yield Finding(Step.CATALOGUE, Verdict.WARNING, "catalogue_missing")


# -- the call and its media -------------------------------------------------------------------------------------------


def _invitation(facts: Facts, call: CallFacts) -> Iterator[Finding]:
    if _flows(call):
        yield Finding(Step.INVITATION, Verdict.OK, "call_stands", {"transport": str(call.transport)})
        return
    if call.cause is not None:
        yield _failure(facts, call)
    if call.under_way:
        state = {"state": (call.state or "").replace("_", " ")}
        yield Finding(Step.INVITATION, Verdict.WAITING, "calling", state)
    elif call.status is S.TEMPORARY_OFFLINE:
        online = facts.registration.state is DeviceState.ONLINE
        yield Finding(Step.INVITATION, Verdict.WAITING, "retrying" if online else "device_away")
    elif call.cause is None:
        yield Finding(Step.INVITATION, Verdict.WAITING, "not_invited")


def _failure(facts: Facts, call: CallFacts) -> Finding:
    """Why the last call failed; what it names of ours is the media address that it was told."""
    assert call.cause is not None
    values = {
        "detail": call.detail or "no further word",
        "status": str(call.sip_status or ""),
        "hint": HINTS.get(call.sip_status or 0, HINT),
        "media": _endpoint(facts, call),
        "transport": call.transport or "",
    }
    wanted = SENTENCES[call.cause]
    used = {name: value for name, value in values.items() if f"{{{name}}}" in wanted.text + wanted.advice}
    return Finding(Step.INVITATION, Verdict.ERROR, call.cause, used)


def _media(facts: Facts, call: CallFacts) -> Iterator[Finding]:
    media = call.media
    if media is None:
        return
    if not media.received:
        if call.under_way:
            values = {"media": _endpoint(facts, call), "transport": call.transport or ""}
            yield Finding(Step.MEDIA, Verdict.WAITING, "media_awaited", values)
    else:
        yield _packets(media)
        yield from _departures(call, media)
    if media.rejected:
        yield Finding(Step.MEDIA, Verdict.WARNING, "rejected", {"count": str(media.rejected)})


def _packets(media: MediaFacts) -> Finding:
    values = {
        "received": str(media.received),
        "expected": str(media.expected),
        "peer": media.peer or "",
        "port": str(media.port),
        "payload": (media.payload or "unknown payload").upper(),
        "ssrc": media.ssrc or "",
    }
    return Finding(Step.MEDIA, Verdict.OK, "media", values)


def _departures(call: CallFacts, media: MediaFacts) -> Iterator[Finding]:
    if call.ssrc is not None and media.ssrc is not None and call.ssrc != media.ssrc:
        yield Finding(Step.MEDIA, Verdict.OK, "ssrc_differs", {"got": media.ssrc, "asked": call.ssrc})
    if media.expected and media.lost / media.expected > LOSS:
        percent = {"percent": f"{100 * media.lost / media.expected:.1f}"}
        yield Finding(Step.MEDIA, Verdict.WARNING, "loss", percent)
    if media.faults:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(media.faults.items()))
        costly = not HARMLESS.issuperset(media.faults)
        yield Finding(Step.MEDIA, Verdict.WARNING if costly else Verdict.OK, "faults", {"names": names})


def _picture(call: CallFacts) -> Iterator[Finding]:
    media = call.media
    if media is None or not media.received:
        return
    if media.video_codec is not None and media.first_key_frame_ms is not None:
        values = {
            "codec": media.video_codec,
            "width": str(media.width),
            "height": str(media.height),
            "fps": f"{media.fps:.1f}",
            "ms": str(media.first_key_frame_ms),
        }
        yield Finding(Step.PICTURE, Verdict.OK, "picture", values)
        if media.video_codec == "H265":
            yield Finding(Step.PICTURE, Verdict.OK, "h265")
    elif media.audio_codec is not None and media.video_codec is None:
        yield Finding(Step.PICTURE, Verdict.WARNING, "sound_alone")
    elif call.under_way:
        yield Finding(Step.PICTURE, Verdict.WAITING, "key_frame_awaited")
    if media.audio_codec is not None:
        values = {"codec": media.audio_codec, "rate": str(media.sample_rate)}
        yield Finding(Step.PICTURE, Verdict.OK, "sound", values)


def _viewers(call: CallFacts) -> Iterator[Finding]:
    media = call.media
    if media is None or not _flows(call):
        return
    watching = {name: count for name, count in media.viewers.items() if count}
    if watching:
        formats = ", ".join(f"{count} × {name}" for name, count in sorted(watching.items()))
        values = {"count": str(sum(watching.values())), "formats": formats}
        yield Finding(Step.VIEWERS, Verdict.OK, "viewers", values)
    else:
        yield Finding(Step.VIEWERS, Verdict.WAITING, "unwatched")


def _flows(call: CallFacts) -> bool:
    return call.under_way and call.status is S.INVITE_SUCCESS


def _endpoint(facts: Facts, call: CallFacts) -> str:
    """Where the device was told to send, or to connect to."""
    host = facts.addresses.media_host or "?"
    return f"[{host}]:{call.port}" if ":" in host else f"{host}:{call.port}"


# -- words ------------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """As people say it: 12 s, 3 min, 5 h, 2 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def _ago(at: datetime, then: datetime | None) -> str:
    return "?" if then is None else duration((at - then).total_seconds())


def _moment(at: datetime | None) -> str:
    return "?" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
