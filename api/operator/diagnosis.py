"""Why there is no picture: the diagnosis of a channel, its packets as a capture, a device's oddities and SIP trace."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, put
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from api.context import SCOPED, Authorised, Services, needs
from gateway.accounts.model import Role
from gateway.devices.errors import NotInvitedError
from gateway.devices.model import Device
from gateway.diagnosis.findings import Finding, main_finding
from gateway.diagnosis.service import Diagnosis
from gateway.diagnosis.taps import SECONDS_MAX
from media._core import UnknownReceiverError

ANY_HOST = "0.0.0.0"  # noqa: S104 RUF100 - stands in a capture for an address that is not known


class FindingView(msgspec.Struct, kw_only=True):
    """`verdict` is ok, waiting, warning or error. `code` and `values` let clients say it in their own language."""

    step: str
    verdict: str
    code: str
    values: Mapping[str, str]
    text: str
    advice: str


class RefusedView(msgspec.Struct, kw_only=True):
    """REGISTERs of one id from one source that were refused for one reason."""

    device_id: str
    source: str
    reason: str
    wrong_password: bool
    first_at: datetime
    last_at: datetime
    count: int


class RegistrationView(msgspec.Struct, kw_only=True):
    state: str
    registered: bool
    credential: str
    first_registered_at: datetime | None
    registered_at: datetime | None
    expires_at: datetime | None
    transport: str
    remote: str
    contact: str
    user_agent: str | None
    gb_version: str | None
    last_seen_at: datetime | None
    keepalive_interval: float | None
    patience: float
    clock_drift: float | None
    challenged_at: datetime | None
    challenged_source: str
    refused: Sequence[RefusedView]


class MediaView(msgspec.Struct, kw_only=True):
    """`first_packet_ms` and `first_key_frame_ms` count from the opening of the port."""

    transport: str
    port: int
    peer: str | None
    ssrc: str | None
    payload: str | None
    expected: int
    received: int
    lost: int
    reordered: int
    duplicates: int
    rejected: int
    jitter_ms: float
    rate_in_bps: int
    first_packet_ms: int | None
    first_key_frame_ms: int | None
    video_codec: str | None
    width: int
    height: int
    fps: float
    gop: int
    audio_codec: str | None
    sample_rate: int
    faults: Mapping[str, int]
    viewers: Mapping[str, int]


class CallView(msgspec.Struct, kw_only=True):
    """The call under way, or the last one that failed; `ssrc` is what was asked for."""

    under_way: bool
    status: str
    wanted: bool
    state: str | None
    transport: str | None
    ssrc: str | None
    port: int
    call_id: str | None
    stage: str | None
    cause: str | None
    sip_status: int | None
    detail: str
    failed_at: datetime | None
    media: MediaView | None


class AddressesView(msgspec.Struct, kw_only=True):
    """What the device is told of us."""

    sip: str
    server_id: str
    domain: str
    media_host: str


class DiagnosisView(msgspec.Struct, kw_only=True):
    """`main` is what to look at first; None while all is well."""

    at: datetime
    device_id: str
    channel_id: str | None
    main: FindingView | None
    findings: list[FindingView]
    registration: RegistrationView
    call: CallView | None
    """None where the device alone was asked about."""
    addresses: AddressesView
    deviations: Mapping[str, int]


class DeviationsView(msgspec.Struct, kw_only=True):
    """How a device departs from the standard, and messages of it that nobody read, counted by name."""

    device_id: str
    deviations: Mapping[str, int]
    undispatched: Mapping[str, int]
    refused: list[RefusedView]


class StrangersView(msgspec.Struct, kw_only=True):
    """REGISTERs with ids that nobody provisioned, newest first."""

    strangers: list[RefusedView]


class TracedView(msgspec.Struct, kw_only=True):
    """One SIP message; secrets are masked."""

    at: datetime
    sent: bool
    transport: str
    local: str
    remote: str
    text: str


class TraceView(msgspec.Struct, kw_only=True):
    """Oldest first; the last 200 are kept."""

    device_id: str
    on: bool
    messages: list[TracedView]


class DiagnosisController(Controller):
    path = "/"
    tags = ("diagnosis",)

    @get("/channels/{device_id:str}/{channel_id:str}/diagnosis", summary="Why a channel shows no picture", opt=SCOPED)
    async def diagnosis(
        self, request: Authorised, gateway: Services, device_id: FromPath[str], channel_id: FromPath[str]
    ) -> DiagnosisView:
        channel = await gateway.devices.channel(request.auth.scope, device_id, channel_id)
        device = await gateway.devices.device(request.auth.scope, device_id)
        return _diagnosis(gateway.diagnoses.examine(device, channel))

    @get(
        "/devices/{device_id:str}/diagnosis", summary="Why a device does not register or tell its channels", opt=SCOPED
    )
    async def device_diagnosis(self, request: Authorised, gateway: Services, device_id: FromPath[str]) -> DiagnosisView:
        return _diagnosis(gateway.diagnoses.examine(await _device(request, gateway, device_id), None))

    @get(
        "/channels/{device_id:str}/{channel_id:str}/packets",
        summary="What comes to a channel's port, as a pcap file that is written meanwhile",
        media_type="application/vnd.tcpdump.pcap",
        opt={**SCOPED, **needs(Role.OPERATOR)},
    )
    async def packets(
        self,
        request: Authorised,
        gateway: Services,
        device_id: FromPath[str],
        channel_id: FromPath[str],
        seconds: Annotated[float, QueryParameter(gt=0, le=SECONDS_MAX)] = 5.0,
    ) -> Stream:
        """Link type 101 (raw IP): addresses and ports are those of the stream, the headers around them are made up."""
        channel = await gateway.devices.channel(request.auth.scope, device_id, channel_id)
        view = gateway.invitations.look(channel.device_id, channel.channel_id)
        if view is None or view.receiver is None:
            raise NotInvitedError("no call is under way: invite the channel, then its packets can be seen")
        host = gateway.diagnoses.media_host(channel.device_id) or ANY_HOST
        try:
            pieces = await gateway.taps.capture(view.receiver, channel.app, channel.stream_name, host, seconds)
        except UnknownReceiverError as error:
            raise NotInvitedError("the call has just ended") from error
        name = f"{device_id}_{channel_id}.pcap"
        return Stream(pieces, headers={"Content-Disposition": f'attachment; filename="{name}"'})

    @get("/devices/{device_id:str}/deviations", summary="How a device departs from the standard", opt=SCOPED)
    async def deviations(self, request: Authorised, gateway: Services, device_id: FromPath[str]) -> DeviationsView:
        device = await _device(request, gateway, device_id)
        oddities = gateway.diagnoses.oddities(device.device_id)
        return DeviationsView(
            device_id=device.device_id,
            deviations=oddities.deviations,
            undispatched=oddities.undispatched,
            refused=msgspec.convert(
                gateway.diagnoses.refused(device.device_id), list[RefusedView], from_attributes=True
            ),
        )

    @get(
        "/strangers",
        summary="Who asks to be registered with an id that nobody provisioned",
        opt=needs(Role.OPERATOR),
    )
    async def strangers(self, request: Authorised, gateway: Services) -> StrangersView:
        found = gateway.diagnoses.strangers()
        return StrangersView(strangers=msgspec.convert(found, list[RefusedView], from_attributes=True))

    @put("/devices/{device_id:str}/trace", summary="Begin to keep the SIP messages of a device", opt=SCOPED)
    async def start_trace(self, request: Authorised, gateway: Services, device_id: FromPath[str]) -> TraceView:
        device = await _device(request, gateway, device_id)
        gateway.traces.start(device.device_id)
        return _trace(gateway, device)

    @get(
        "/devices/{device_id:str}/trace",
        summary="The SIP messages that were kept of a device",
        opt={**SCOPED, **needs(Role.OPERATOR)},
    )
    async def trace(self, request: Authorised, gateway: Services, device_id: FromPath[str]) -> TraceView:
        return _trace(gateway, await _device(request, gateway, device_id))

    @delete("/devices/{device_id:str}/trace", summary="Stop keeping them, and forget them", opt=SCOPED)
    async def stop_trace(self, request: Authorised, gateway: Services, device_id: FromPath[str]) -> None:
        gateway.traces.stop((await _device(request, gateway, device_id)).device_id)


async def _device(request: Authorised, gateway: Services, device_id: str) -> Device:
    return await gateway.devices.device(request.auth.scope, device_id)


def _diagnosis(diagnosis: Diagnosis) -> DiagnosisView:
    facts, findings = diagnosis.facts, diagnosis.findings
    main = main_finding(findings)
    return DiagnosisView(
        at=facts.at,
        device_id=facts.device_id,
        channel_id=facts.channel_id,
        main=_finding(main) if main is not None else None,
        findings=[_finding(finding) for finding in findings],
        registration=msgspec.convert(facts.registration, RegistrationView, from_attributes=True),
        call=msgspec.convert(facts.call, CallView | None, from_attributes=True),
        addresses=msgspec.convert(facts.addresses, AddressesView, from_attributes=True),
        deviations=facts.deviations,
    )


def _finding(finding: Finding) -> FindingView:
    return FindingView(
        step=finding.step.value,
        verdict=finding.verdict.value,
        code=finding.code,
        values=finding.values,
        text=finding.text,
        advice=finding.advice,
    )


def _trace(gateway: Services, device: Device) -> TraceView:
    kept = gateway.traces.messages(device.device_id)
    return TraceView(
        device_id=device.device_id,
        on=gateway.traces.is_traced(device.device_id),
        messages=msgspec.convert(kept, list[TracedView], from_attributes=True),
    )
