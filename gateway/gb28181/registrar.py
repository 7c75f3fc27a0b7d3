"""One REGISTER in, one verdict out (GB/T 28181-2016 §9.1, RFC 3261 §10.3). No socket, no clock, no database.

Judging takes two steps, because what a device must know is looked up between them: `screen` says what can be said
without looking (a challenge, a refusal), `judge` checks the answer to the challenge. Every REGISTER is authenticated,
renewals and unregistrations too, and an address is learnt only from one that was: a Call-ID travels in clear and proves
nothing.

A device is known by the user part of its From and by its password, never by Contact, Call-ID or host. The digest is
computed with user name, realm and URI as the device sent them: cameras have a separate "authentication id", keep the
realm of an earlier platform, and write the URI as they please. What differs from what was provisioned is counted and
shown, not refused: the password decides.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gateway.devices.model import DeviceId, Provision
from gateway.gb28181.ids import IdError, device_id
from gateway.gb28181.limits import Bans, RateLimit
from sip.digest import Authenticator, Verdict
from sip.flow import Flow
from sip.message import Request
from sip.values import Auth

EXPIRES_DEFAULT: Final = 86_400
"""Seconds, of a REGISTER that names none (GB/T 28181-2016 §9.1.2.1)."""
ALTERNATION: Final = 600.0
"""Seconds within which registrations from two addresses in turn count as two devices with one id."""
HOSTS_MAX: Final = 4_096
"""Devices whose former address is remembered."""
UNAUTHENTICATED: Final = "not authenticated yet"
"""Why nearly every first REGISTER is challenged."""
FOREIGN_NONCE: Final = "the nonce is not ours"
UNKNOWN_DEVICE: Final = "no device of this id is provisioned"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrarPolicy:
    """What the registrar asks and allows; times in seconds."""

    realm: str
    server_id: str
    expires_min: int = 60
    expires_max: int = 604_800
    failures: int = 5
    """Failed digests of one device from one source within `failure_window`, and it is banned for `ban`."""
    failure_window: float = 60.0
    ban: float = 60.0
    rate: float = 5.0
    """REGISTERs a second of one device from one source; bursts of `burst`."""
    burst: float = 20.0
    stranger_rate: float = 2.0
    """Unknown or failing REGISTERs a second of one source; bursts of `stranger_burst`. Beyond it the source waits."""
    stranger_burst: float = 60.0


@dataclass(frozen=True, slots=True)
class Current:
    """The registration that a device holds, as far as it matters here."""

    host: str
    cseq: int


@dataclass(frozen=True, slots=True)
class Challenge:
    """Answer 401 with this WWW-Authenticate. `reason` is for the one who looks why a camera does not register."""

    auth: Auth
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with this status: 400, 403, or 503 with Retry-After."""

    status: int
    reason: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer to a challenge of ours: look the device up and call `judge`."""

    device_id: DeviceId
    credentials: Auth


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Authenticated: answer 200 once it is durable."""

    device_id: DeviceId
    expires: int
    """Granted seconds; 0 unregisters."""
    contact: str
    """The Contact's URI, as sent; empty if there was none."""
    call_id: str
    cseq: int
    moved: bool
    """It came from another host than the registration it holds."""
    restarted: bool
    """Its CSeq fell: the device was restarted, and its media sessions are suspect."""
    deviations: tuple[str, ...] = field(default=())


class Registrar:
    """Judges REGISTERs. Its tables are bounded; what they forget starts afresh."""

    def __init__(self, policy: RegistrarPolicy, authenticator: Authenticator) -> None:
        self._policy = policy
        self._authenticator = authenticator
        self._rate: RateLimit[tuple[str, str]] = RateLimit(policy.rate, policy.burst)
        self._strangers: RateLimit[str] = RateLimit(policy.stranger_rate, policy.stranger_burst)
        self._bans: Bans[tuple[str, str]] = Bans(policy.failures, policy.failure_window, policy.ban)
        self._former: OrderedDict[DeviceId, tuple[str, float]] = OrderedDict()

    def screen(self, now: float, request: Request, flow: Flow, current: Current | None) -> Challenge | Refuse | Attempt:
        """What can be said without knowing the device; a device unknown to us is challenged like any other."""
        host = flow.remote.host
        try:
            device = device_id(request.from_.uri.user or "")
        except IdError as error:
            return self._refuse_stranger(now, host, 403, str(error))
        refusal = self._limit(now, host, device, current)
        if refusal is not None:
            return refusal
        credentials = request.headers.authorization
        if credentials is None or not credentials.is_digest:
            return Challenge(self._challenge(now, host, device), UNAUTHENTICATED)
        if not self._authenticator.is_ours(credentials.params.get("nonce", ""), host, device):
            return Challenge(self._challenge(now, host, device, stale=True), FOREIGN_NONCE)
        return Attempt(device, credentials)

    def judge(
        self,
        now: float,
        request: Request,
        flow: Flow,
        attempt: Attempt,
        *,
        provision: Provision | None,
        current: Current | None,
    ) -> Challenge | Refuse | Accept:
        """Checks the answer to a challenge. `provision` is None for a device that nobody provisioned."""
        host, device = flow.remote.host, attempt.device_id
        if provision is None:
            return self._refuse_stranger(now, host, 403, UNKNOWN_DEVICE)
        verdict = self._authenticator.verify(
            now, attempt.credentials, method="REGISTER", password=provision.password, peer=host, device=device
        )
        if verdict is Verdict.OK:
            self._bans.succeed((host, device))
            return self._accept(now, request, flow, attempt, provision=provision, current=current)
        if verdict.is_stale:
            return Challenge(self._challenge(now, host, device, stale=True), verdict.value)
        self._strangers.allow(now, host)
        if self._bans.fail(now, (host, device)):
            return Refuse(403, f"{self._policy.failures} failed passwords", int(self._policy.ban))
        return Challenge(self._challenge(now, host, device), verdict.value)

    def _accept(
        self,
        now: float,
        request: Request,
        flow: Flow,
        attempt: Attempt,
        *,
        provision: Provision,
        current: Current | None,
    ) -> Accept:
        host, device = flow.remote.host, attempt.device_id
        moved = current is not None and current.host != host
        deviations = [*self._compare(request, attempt.credentials, provision)]
        if moved and current is not None and self._alternates(now, device, current.host, host):
            deviations.append("register-two-addresses")
        contact = request.headers.contact
        return Accept(
            device_id=device,
            expires=self._expires(request),
            contact="" if contact is None else str(contact.uri),
            call_id=request.call_id,
            cseq=request.cseq.number,
            moved=moved,
            restarted=current is not None and request.cseq.number < current.cseq,
            deviations=tuple(deviations),
        )

    def _expires(self, request: Request) -> int:
        """What is granted: as asked within the bounds; too short is lengthened, for a 423 helps no camera."""
        asked = request.headers.expires
        if asked == 0:
            return 0
        wanted = EXPIRES_DEFAULT if asked is None else asked
        return min(max(wanted, self._policy.expires_min), self._policy.expires_max)

    def _limit(self, now: float, host: str, device: DeviceId, current: Current | None) -> Refuse | None:
        """Whether the source has to wait. Nobody can lock out a device elsewhere, nor one that is registered here."""
        if (seconds := self._bans.banned_for(now, (host, device))) > 0:
            return Refuse(403, "banned for a while after failed passwords", int(seconds) + 1)
        if not self._rate.allow(now, (host, device)):
            return Refuse(503, "too many REGISTERs of this device", 5)
        if (current is None or current.host != host) and not self._strangers.has(now, host):
            return Refuse(503, "too many unknown or failing REGISTERs from this address", 5)
        return None

    def _compare(self, request: Request, credentials: Auth, provision: Provision) -> list[str]:
        """What a device confused without harm."""
        params, found = credentials.params, []
        if params.get("username") != provision.username:
            found.append("digest-username")
        if params.get("realm") != self._policy.realm:
            found.append("digest-realm")
        if self._policy.server_id not in params.get("uri", ""):
            found.append("digest-uri")
        if "qop" not in params:
            found.append("digest-without-qop")
        if request.to.uri.user != request.from_.uri.user:
            found.append("register-to-differs")
        if request.headers.expires is None:
            found.append("register-without-expires")
        return found

    def _alternates(self, now: float, device: DeviceId, before: str, after: str) -> bool:
        """Whether the device now is where it was before the last move: two devices share one id."""
        former = self._former.pop(device, None)
        self._former[device] = (before, now)
        if len(self._former) > HOSTS_MAX:
            self._former.popitem(last=False)
        return former is not None and former[0] == after and now - former[1] <= ALTERNATION

    def _challenge(self, now: float, host: str, device: str, *, stale: bool = False) -> Auth:
        return self._authenticator.challenge(now, self._policy.realm, host, device, stale=stale)

    def _refuse_stranger(self, now: float, host: str, status: int, reason: str) -> Refuse:
        self._strangers.allow(now, host)
        return Refuse(status, reason)
