"""Gathers the facts about a channel from where they live, and has them judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from gateway.devices.model import Channel, ChannelId, Device, DeviceId, DeviceType
from gateway.diagnosis.facts import (
    Addresses,
    CallFacts,
    CatalogueFacts,
    Facts,
    MediaFacts,
    RefusedRegister,
    RegistrationFacts,
)
from gateway.diagnosis.findings import Finding, examine
from gateway.gb28181.call_view import CallTrace, CallView
from gateway.gb28181.directory import Directory, RegisteredDevice
from gateway.gb28181.refusals import Refusal, Refusals
from gateway.gb28181.ssrc import Ssrc, to_y
from gateway.streams.live import ReceivedStream
from sip.flow import Flow


class Calls(Protocol):
    """As much of the invitations as is asked."""

    def look(self, device_id: DeviceId, channel_id: ChannelId) -> CallView | None:
        """All that is known of a channel's calls; None if the channel is unknown."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known, and what it means."""

    facts: Facts
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Oddities:
    """How a device departs from the standard, counted by name since it registered first or we started."""

    deviations: Mapping[str, int]
    undispatched: Mapping[str, int]
    """Messages that nobody read, by root and CmdType."""


class Diagnoses:
    """Reads only; whose device it is has been checked by the caller.

    `now` is the directory's monotonic clock, `clock` the calendar; `addresses(flow)` is what a device behind that flow
    is told of us (None: any device).
    """

    def __init__(
        self,
        *,
        directory: Directory,
        refusals: Refusals,
        calls: Calls,
        addresses: Callable[[Flow | None], Addresses],
        now: Callable[[], float],
        clock: Callable[[], datetime],
    ) -> None:
        self._directory = directory
        self._refusals = refusals
        self._calls = calls
        self._addresses = addresses
        self._now = now
        self._clock = clock

    def examine(self, device: Device, channel: Channel | None) -> Diagnosis:
        """Why this channel shows no picture, or that it does; of the device alone without a channel."""
        hot = self._directory.get(device.device_id)
        facts = Facts(
            at=self._clock(),
            device_id=device.device_id,
            channel_id=channel.channel_id if channel is not None else None,
            registration=self._registration(device, hot),
            catalogue=CatalogueFacts(
                status=device.catalogue,
                is_nvr=device.type is DeviceType.NVR,
                codes=len(hot.codes) if hot is not None else 0,
                reported_on=channel is None or channel.reported_on,
            ),
            call=self._call(channel) if channel is not None else None,
            addresses=self._addresses(hot.flow if hot is not None else None),
            deviations=hot.deviations.as_dict() if hot is not None else {},
        )
        return Diagnosis(facts, examine(facts))

    def media_host(self, device_id: DeviceId) -> str:
        """Our address for the media of a device; empty while there is no way to it."""
        hot = self._directory.get(device_id)
        return self._addresses(hot.flow if hot is not None else None).media_host

    def oddities(self, device_id: DeviceId) -> Oddities:
        """A device's deviations; none for one that is not known hot."""
        hot = self._directory.get(device_id)
        return Oddities({}, {}) if hot is None else Oddities(hot.deviations.as_dict(), hot.undispatched)

    def refused(self, device_id: DeviceId) -> list[RefusedRegister]:
        """REGISTERs of this device that were refused, newest first."""
        return [_refused(one) for one in self._refusals.of_device(device_id)]

    def strangers(self) -> list[RefusedRegister]:
        """REGISTERs with ids that nobody provisioned, newest first."""
        return [_refused(one) for one in self._refusals.strangers()]

    def _call(self, channel: Channel) -> CallFacts:
        return _call(channel, self._calls.look(channel.device_id, channel.channel_id))

    def _registration(self, device: Device, hot: RegisteredDevice | None) -> RegistrationFacts:
        patience = self._directory.patience
        challenged = self._refusals.challenged(device.device_id)
        never = device.registered_at is None
        return RegistrationFacts(
            state=device.state if hot is None else hot.presence.state,
            registered=hot is not None and hot.presence.registered,
            credential=device.credential,
            first_registered_at=device.registered_at,
            registered_at=hot.registered_at if hot is not None else None,
            expires_at=hot.expires_at if hot is not None else None,
            transport=hot.transport if hot is not None else "",
            remote=str(hot.flow.remote) if hot is not None and hot.flow is not None else "",
            contact=hot.contact if hot is not None else "",
            user_agent=device.user_agent if hot is None else hot.user_agent,
            gb_version=device.gb_version if hot is None else hot.gb_version,
            last_seen_at=self._seen(device, hot),
            keepalive_interval=hot.presence.interval if hot is not None else None,
            patience=patience.silence(hot.presence.interval if hot is not None else None),
            clock_drift=hot.clock_drift if hot is not None else None,
            challenged_at=challenged.last_at if challenged is not None else None,
            challenged_source=_source(challenged) if challenged is not None else "",
            refused=self.refused(device.device_id),
            strangers=self.strangers()[:5] if never else (),
        )

    def _seen(self, device: Device, hot: RegisteredDevice | None) -> datetime | None:
        if hot is None or not hot.seen_at:
            return device.last_seen_at
        return self._clock() - timedelta(seconds=max(0.0, self._now() - hot.seen_at))


def _refused(refusal: Refusal) -> RefusedRegister:
    return RefusedRegister(
        device_id=refusal.device_id,
        source=_source(refusal),
        reason=refusal.reason,
        wrong_password=refusal.wrong_password,
        first_at=refusal.first_at,
        last_at=refusal.last_at,
        count=refusal.count,
    )


def _source(refusal: Refusal) -> str:
    host = f"[{refusal.host}]" if ":" in refusal.host else refusal.host
    return f"{host}:{refusal.port} ({refusal.transport})"


def _call(channel: Channel, view: CallView | None) -> CallFacts:
    trace = None if view is None else view.current or view.last
    failure = None if view is None else view.failure
    return CallFacts(
        under_way=view is not None and view.current is not None,
        status=channel.status if view is None else view.status,
        wanted=channel.wanted,
        state=view.current.state.name.lower() if view is not None and view.current is not None else None,
        transport=trace.transport.value if trace is not None else None,
        ssrc=_ssrc(trace.ssrc) if trace is not None else None,
        port=trace.port if trace is not None else 0,
        call_id=trace.call_id if trace is not None else None,
        stage=failure.stage.value if failure is not None else None,
        cause=failure.cause.value if failure is not None else None,
        sip_status=failure.status if failure is not None else None,
        detail=failure.detail if failure is not None else "",
        failed_at=view.failed_at if view is not None and failure is not None else None,
        media=_media(trace),
    )


def _media(trace: CallTrace | None) -> MediaFacts | None:
    seen: ReceivedStream | None = trace.media if trace is not None else None
    if seen is None:
        return None
    return MediaFacts(
        transport=seen.transport,
        port=seen.port,
        peer=seen.peer,
        ssrc=_ssrc(seen.ssrc),
        payload=seen.payload,
        expected=seen.expected,
        received=seen.received,
        lost=seen.lost,
        reordered=seen.reordered,
        duplicates=seen.duplicates,
        rejected=seen.rejected,
        jitter_ms=seen.jitter_ms,
        rate_in_bps=seen.rate_in_bps,
        first_packet_ms=_after(seen, seen.first_packet_ms),
        first_key_frame_ms=_after(seen, seen.first_key_frame_ms),
        video_codec=seen.video_codec,
        width=seen.width,
        height=seen.height,
        fps=seen.fps,
        gop=seen.gop,
        audio_codec=seen.audio_codec,
        sample_rate=seen.sample_rate,
        faults=dict(seen.faults),
        viewers=dict(seen.viewers),
    )


def _after(seen: ReceivedStream, moment_ms: int | None) -> int | None:
    return None if moment_ms is None else max(0, moment_ms - seen.opened_ms)


def _ssrc(number: int | None) -> str | None:
    return None if number is None else to_y(Ssrc(number))
