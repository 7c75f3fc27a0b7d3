"""Who may register: every way in, and every way to be kept out."""

import random

import pytest

from gateway.devices.model import DeviceId, DeviceType, Provision
from gateway.gb28181.registrar import Accept, Attempt, Challenge, Current, Refuse, Registrar, RegistrarPolicy
from sip.digest import Authenticator, DigestClient
from sip.flow import Address, Flow
from sip.message import Request, parse

SERVER = "34020000002000000001"
CAMERA = DeviceId("34020000001320000001")
POLICY = RegistrarPolicy(realm="3402000000", server_id=SERVER)
PROVISION = Provision(device_id=CAMERA, project_id="p", type=DeviceType.IPC, username="hall", password="Kx-4821-pw")
FLOW = Flow("UDP", Address("192.0.2.10", 5080), Address("198.51.100.20", 5060))
ELSEWHERE = Flow("UDP", Address("192.0.2.10", 5080), Address("198.51.100.99", 5060))


def registrar(policy: RegistrarPolicy = POLICY) -> Registrar:
    return Registrar(policy, Authenticator(b"k" * 32, random.Random(7).randbytes))


def register(*extra: str, device: str = CAMERA, cseq: int = 1, expires: str | None = "3600") -> Request:
    lines = [
        f"REGISTER sip:{SERVER}@3402000000 SIP/2.0",
        "Via: SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK1",
        f"From: <sip:{device}@3402000000>;tag=1",
        f"To: <sip:{device}@3402000000>",
        "Call-ID: 1@10.0.0.9",
        f"CSeq: {cseq} REGISTER",
        f"Contact: <sip:{device}@10.0.0.9:5060>",
        *([] if expires is None else [f"Expires: {expires}"]),
        *extra,
    ]
    request = parse("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
    assert isinstance(request, Request)
    return request


def answered(
    subject: Registrar,
    now: float = 0.0,
    *,
    flow: Flow = FLOW,
    username: str = "hall",
    password: str = "Kx-4821-pw",
    uri: str = f"sip:{SERVER}@3402000000",
    cseq: int = 2,
    expires: str | None = "3600",
    current: Current | None = None,
    drop: tuple[str, ...] = (),
) -> Request:
    """A REGISTER that answers a fresh challenge."""
    challenge = subject.screen(now, register(expires=expires), flow, current)
    assert isinstance(challenge, Challenge)
    client = DigestClient(username, password, random.Random(8).randbytes)
    params = {name: value for name, value in challenge.auth.params.items() if name not in drop}
    assert client.handle_challenge([type(challenge.auth)("Digest", params)])
    return register(f"Authorization: {client.authorize('REGISTER', uri)}", cseq=cseq, expires=expires)


def judged(
    subject: Registrar,
    now: float,
    request: Request,
    *,
    flow: Flow = FLOW,
    provision: Provision | None = PROVISION,
    current: Current | None = None,
) -> Challenge | Refuse | Accept:
    attempt = subject.screen(now, request, flow, current)
    if not isinstance(attempt, Attempt):
        return attempt
    return subject.judge(now, request, flow, attempt, provision=provision, current=current)


def accepted(subject: Registrar, **what: object) -> Accept:
    flow = what.get("flow", FLOW)
    current = what.get("current")
    assert isinstance(flow, Flow)
    assert current is None or isinstance(current, Current)
    verdict = judged(subject, 0.0, answered(subject, **what), flow=flow, current=current)  # type: ignore[arg-type]
    assert isinstance(verdict, Accept)
    return verdict


def test_the_first_register_is_challenged_with_a_named_algorithm() -> None:
    verdict = registrar().screen(0.0, register(), FLOW, None)
    assert isinstance(verdict, Challenge)
    assert verdict.auth.params["realm"] == "3402000000"
    assert verdict.auth.params["algorithm"] == "MD5"
    assert "stale" not in verdict.auth.params


def test_the_right_answer_is_accepted() -> None:
    verdict = accepted(registrar())
    assert (verdict.device_id, verdict.expires, verdict.cseq, verdict.moved) == (CAMERA, 3600, 2, False)
    assert verdict.contact == f"sip:{CAMERA}@10.0.0.9:5060"
    assert verdict.deviations == ()


@pytest.mark.parametrize(
    ("asked", "granted"),
    [("0", 0), ("1", 60), ("60", 60), ("86400", 86400), ("999999999", 604_800), (None, 86_400), ("soon", 86_400)],
)
def test_expires_is_granted_within_bounds(asked: str | None, granted: int) -> None:
    assert accepted(registrar(), expires=asked).expires == granted


def test_without_the_header_the_contacts_expires_counts() -> None:
    subject = registrar()
    request = answered(subject, expires=None)
    request = parse(bytes(request).replace(b"10.0.0.9:5060>\r\n", b"10.0.0.9:5060>;expires=120\r\n"))  # type: ignore[assignment]
    verdict = judged(subject, 0.0, request)
    assert isinstance(verdict, Accept)
    assert verdict.expires == 120


@pytest.mark.parametrize(
    ("what", "deviation"),
    [
        ({"username": CAMERA}, "digest-username"),
        ({"username": "admin"}, "digest-username"),
        ({"uri": "sip:192.0.2.10:5080"}, "digest-uri"),
        ({"drop": ("qop",)}, "digest-without-qop"),
    ],
)
def test_what_devices_confuse_is_accepted_and_counted(what: dict[str, object], deviation: str) -> None:
    assert accepted(registrar(), **what).deviations == (deviation,)


def test_a_wrong_password_is_challenged_again_and_then_banned_here_only() -> None:
    subject = registrar()
    for number in range(4):
        verdict = judged(subject, float(number), answered(subject, float(number), password="wrong"))
        assert isinstance(verdict, Challenge)
        assert "stale" not in verdict.auth.params
    assert judged(subject, 4.0, answered(subject, 4.0, password="wrong")) == Refuse(403, "5 failed passwords", 60)
    banned = subject.screen(5.0, register(), FLOW, None)
    assert isinstance(banned, Refuse)
    assert (banned.status, banned.retry_after) == (403, 60)
    assert isinstance(judged(subject, 5.0, answered(subject, 5.0, flow=ELSEWHERE), flow=ELSEWHERE), Accept)
    assert isinstance(judged(subject, 70.0, answered(subject, 70.0)), Accept)


def test_a_success_forgets_failures() -> None:
    subject = registrar()
    for number in range(12):
        password = "wrong" if number % 3 else "Kx-4821-pw"
        verdict = judged(subject, float(number), answered(subject, float(number), password=password))
        assert not isinstance(verdict, Refuse)


@pytest.mark.parametrize(("cause", "flow", "later"), [("old", FLOW, 61.0), ("of another peer", ELSEWHERE, 1.0)])
def test_a_nonce_that_is_not_good_here_and_now_is_stale_and_no_failure(cause: str, flow: Flow, later: float) -> None:
    subject = registrar()
    for number in range(10):
        verdict = judged(subject, number + later, answered(subject, float(number)), flow=flow)
        assert isinstance(verdict, Challenge), cause
        assert verdict.auth.params["stale"] == "true"


def test_an_answer_cannot_be_replayed() -> None:
    subject = registrar()
    request = answered(subject)
    assert isinstance(judged(subject, 0.0, request), Accept)
    replayed = judged(subject, 1.0, request)
    assert isinstance(replayed, Challenge)
    assert replayed.auth.params["stale"] == "true"


def test_an_answer_for_another_device_is_worth_nothing() -> None:
    subject = registrar()
    stolen = parse(
        bytes(answered(subject)).replace(b"From: <sip:" + CAMERA.encode(), b"From: <sip:34020000001320000002")
    )
    assert isinstance(stolen, Request)
    assert isinstance(subject.screen(0.0, stolen, FLOW, None), Challenge)


def test_a_nonce_of_before_a_restart_is_stale() -> None:
    request = answered(Registrar(POLICY, Authenticator(b"x" * 32, random.Random(9).randbytes)))
    verdict = registrar().screen(0.0, request, FLOW, None)
    assert isinstance(verdict, Challenge)
    assert verdict.auth.params["stale"] == "true"


def test_a_device_that_nobody_provisioned_is_refused_only_after_a_challenge() -> None:
    subject = registrar()
    assert isinstance(subject.screen(0.0, register(), FLOW, None), Challenge)
    verdict = judged(subject, 0.0, answered(subject), provision=None)
    assert isinstance(verdict, Refuse)
    assert verdict.status == 403


@pytest.mark.parametrize("device", ["a%20b", "..", "x" * 40, "34020000'--"])
def test_what_cannot_be_an_id_is_refused_at_once(device: str) -> None:
    verdict = registrar().screen(0.0, register(device=device), FLOW, None)
    assert isinstance(verdict, Refuse)
    assert verdict.status == 403


def test_a_flood_of_one_device_is_answered_503_and_recovers() -> None:
    subject = registrar()
    verdicts = [subject.screen(0.0, register(), FLOW, None) for _ in range(30)]
    refused = [verdict for verdict in verdicts if isinstance(verdict, Refuse)]
    assert len(refused) == 10
    assert {(verdict.status, verdict.retry_after) for verdict in refused} == {(503, 5)}
    assert isinstance(subject.screen(10.0, register(), FLOW, None), Challenge)


def test_a_source_that_tries_ids_has_to_wait_but_not_a_device_registered_from_there() -> None:
    subject = registrar()
    for number in range(100):
        subject.screen(0.0, register(device=f"bad.{number}"), FLOW, None)
    verdict = subject.screen(0.0, register(), FLOW, None)
    assert isinstance(verdict, Refuse)
    assert verdict.status == 503
    assert isinstance(subject.screen(0.0, register(), FLOW, Current(FLOW.remote.host, 1)), Challenge)
    assert isinstance(subject.screen(0.0, register(), ELSEWHERE, None), Challenge)


def test_a_move_a_restart_and_two_devices_with_one_id_are_told() -> None:
    subject = registrar()
    assert accepted(subject, current=Current(FLOW.remote.host, 2)).restarted is False
    assert accepted(subject, current=Current(FLOW.remote.host, 9)).restarted is True
    assert accepted(subject, flow=ELSEWHERE, current=Current(FLOW.remote.host, 1)).moved is True
    back = accepted(subject, current=Current(ELSEWHERE.remote.host, 1))
    assert back.moved is True
    assert back.deviations == ("register-two-addresses",)


def test_renewing_and_unregistering_need_the_password_as_well() -> None:
    subject = registrar()
    accepted(subject)
    for expires in ("3600", "0"):
        verdict = subject.screen(1.0, register(cseq=3, expires=expires), FLOW, Current(FLOW.remote.host, 2))
        assert isinstance(verdict, Challenge)
