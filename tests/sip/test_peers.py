"""Foreign stacks against the endpoint: sipp as devices that register and are called, pjsua2 as one that registers."""

import asyncio
import secrets
import shutil
import sys
from pathlib import Path

import pytest

from sip.call import Party
from sip.digest import Authenticator, Verdict
from sip.endpoint import Endpoint
from sip.headers import Headers
from sip.incoming import Incoming
from sip.message import Request
from sip.transport import Listen
from sip.uri import Uri
from tests.ports import free_port

SCENARIOS = Path(__file__).parent / "scenarios"
PASSWORD = "Kx-4821-pw"
CALLS = 50

pytestmark = pytest.mark.peer
needs_sipp = pytest.mark.skipif(shutil.which("sipp") is None, reason="sipp (Debian: sip-tester) is not installed")


class Registrar:
    """A registrar that challenges each device once, and remembers who proved itself and who sent what."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.registered: set[str] = set()
        self.messages: list[bytes] = []
        self._authenticator = Authenticator(secrets.token_bytes(32), secrets.token_bytes)

    def on_register(self, incoming: Incoming) -> None:
        device, peer = incoming.request.from_.uri.user or "", incoming.flow.remote.host
        credentials = incoming.request.headers.authorization
        if credentials is not None:
            verdict = self._authenticator.verify(
                incoming.received_at, credentials, method="REGISTER", password=PASSWORD, peer=peer, device=device
            )
            self.verdicts.append(verdict)
            if verdict is Verdict.OK:
                self.registered.add(device)
                contact = incoming.request.headers.get("Contact") or ""
                incoming.respond(200, headers=[("Contact", f"{contact};expires=3600"), ("Expires", 3600)])
                return
        challenge = self._authenticator.challenge(incoming.received_at, "3402000000", peer, device)
        incoming.respond(401, headers=[("WWW-Authenticate", challenge)])

    def on_message(self, incoming: Incoming) -> None:
        self.messages.append(incoming.request.body)
        incoming.respond(200 if incoming.request.from_.uri.user in self.registered else 403)


def registrar_at(endpoint: Endpoint) -> Registrar:
    registrar = Registrar()
    endpoint.on("REGISTER", registrar.on_register)
    endpoint.on("MESSAGE", registrar.on_message)
    return registrar


async def run(directory: Path, *command: str) -> str:
    """Runs a program to its end, within bounds; its output if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    text = output.decode(errors="replace")
    assert process.returncode == 0, text[-3000:]
    return text


def sipp(scenario: str, *arguments: str) -> list[str]:
    return ["sipp", "-sf", str(SCENARIOS / scenario), "-i", "127.0.0.1", "-nostdin", "-timeout", "30", *arguments]


@needs_sipp
@pytest.mark.parametrize(("transport", "flag"), [("UDP", "u1"), ("TCP", "t1")])
async def test_sipp_devices_register_with_digest_and_keep_alive(tmp_path: Path, transport: str, flag: str) -> None:
    async with Endpoint([Listen(transport, "127.0.0.1", 0)]) as endpoint:
        registrar = registrar_at(endpoint)
        server = str(endpoint.addresses[0][1])
        account = ["-au", "camera", "-ap", PASSWORD]
        load = ["-m", str(CALLS), "-r", "100", "-t", flag, "-p", str(free_port())]
        await run(tmp_path, *sipp("register_message.xml", *account, *load, server))
        assert registrar.verdicts == [Verdict.OK] * CALLS
        assert len(registrar.registered) == len(registrar.messages) == CALLS
        assert endpoint.counters["messages.malformed"] == 0


@needs_sipp
async def test_sipp_devices_with_a_wrong_password_are_not_registered(tmp_path: Path) -> None:
    async with Endpoint([Listen("UDP", "127.0.0.1", 0)]) as endpoint:
        registrar = registrar_at(endpoint)
        server = str(endpoint.addresses[0][1])
        load = ["-au", "camera", "-ap", "wrong", "-m", "1", "-p", str(free_port())]
        with pytest.raises(AssertionError):
            await run(tmp_path, *sipp("register_message.xml", *load, server))
        assert registrar.verdicts == [Verdict.WRONG]
        assert not registrar.registered


@needs_sipp
@pytest.mark.parametrize(("transport", "flag"), [("UDP", "u1"), ("TCP", "t1")])
async def test_a_sipp_device_with_a_private_contact_is_called_and_hung_up(
    tmp_path: Path, transport: str, flag: str
) -> None:
    async with Endpoint([Listen(transport, "127.0.0.1", 0)]) as endpoint, asyncio.TaskGroup() as group:
        port = free_port()
        device = group.create_task(run(tmp_path, *sipp("device_call.xml", "-m", "1", "-t", flag, "-p", str(port))))
        flow = None
        for _ in range(50):  # until sipp listens
            await asyncio.sleep(0.1)
            try:
                flow = await endpoint.flow_to(transport, "127.0.0.1", port)
                break
            except OSError:
                continue
        assert flow is not None
        fields: list[tuple[str, object]] = [("From", "<sip:34020000002000000001@3402000000>"), ("Subject", "a:0,b:0")]
        request = Request("INVITE", Uri("34020000001320000001", "3402000000"), Headers(fields), b"v=0\r\n")
        call = await endpoint.invite(request, flow=flow)
        answer = await call.answer(10)
        assert b"y=0100000001" in answer.body
        assert call.provisional is not None
        assert call.provisional.status == 180
        ended = await call.bye()
        assert ended.by is Party.LOCAL
        await device


PJSUA = """
import sys, time
import pjsua2 as pj

port = int(sys.argv[1])
events = []

class Account(pj.Account):
    def onRegState(self, prm):
        events.append(("registered", prm.code))
    def onInstantMessageStatus(self, prm):
        events.append(("sent", prm.code))
    def onInstantMessage(self, prm):
        events.append(("got", prm.msgBody))

class Buddy(pj.Buddy):
    pass

endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.logConfig.level = config.logConfig.consoleLevel = 0
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
endpoint.libInit(config)
endpoint.audDevManager().setNullDev()
endpoint.transportCreate(getattr(pj, "PJSIP_TRANSPORT_" + sys.argv[2]), pj.TransportConfig())
endpoint.libStart()
suffix = ";transport=tcp" if sys.argv[2] == "TCP" else ""
account_config = pj.AccountConfig()
account_config.idUri = "sip:34020000001320000077@3402000000"
account_config.regConfig.registrarUri = f"sip:127.0.0.1:{port}" + suffix
account_config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", "camera", 0, sys.argv[3]))
account_config.sipConfig.proxies.append(f"sip:127.0.0.1:{port};lr" + suffix)
account = Account()
account.create(account_config)

def wait(what):
    end = time.time() + 10
    while time.time() < end:
        endpoint.libHandleEvents(20)
        for event in events:
            if event[0] == what:
                return event
    raise SystemExit(f"no {what}: {events}")

assert wait("registered") == ("registered", 200), events
buddy_config = pj.BuddyConfig()
buddy_config.uri = "sip:34020000002000000001@3402000000"
buddy = Buddy()
buddy.create(account, buddy_config)
message = pj.SendInstantMessageParam()
message.contentType = "Application/MANSCDP+xml"
message.content = "<Notify><CmdType>Keepalive</CmdType></Notify>"
buddy.sendInstantMessage(message)
assert wait("sent") == ("sent", 200), events
assert wait("got") == ("got", "<Query/>"), events
del buddy
account.shutdown()
endpoint.libDestroy()
"""


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_pjsua_registers_and_exchanges_messages(tmp_path: Path, transport: str) -> None:
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed")
    async with Endpoint([Listen(transport, "127.0.0.1", 0)]) as endpoint:
        registrar = registrar_at(endpoint)
        answers: list[int] = []

        async def on_message(incoming: Incoming) -> None:
            registrar.on_message(incoming)
            fields: list[tuple[str, object]] = [
                ("From", "<sip:34020000002000000001@3402000000>"),
                ("Content-Type", "Application/MANSCDP+xml"),
            ]
            query = Request("MESSAGE", Uri("34020000001320000077", "3402000000"), Headers(fields), b"<Query/>")
            answers.append((await endpoint.request(query, flow=incoming.flow)).status)

        endpoint.on("MESSAGE", on_message)
        port = str(endpoint.addresses[0][1].port)
        await run(tmp_path, sys.executable, "-c", PJSUA, port, transport, PASSWORD)
        assert registrar.verdicts[0] is Verdict.OK
        assert registrar.registered == {"34020000001320000077"}
        assert registrar.messages == [b"<Notify><CmdType>Keepalive</CmdType></Notify>"]
        assert answers == [200]
