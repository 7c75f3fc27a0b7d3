"""Foreign SIP stacks as devices of the running gateway: sipp and pjsua2."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.e2e.running import DEVICE_PASSWORD, RunningGateway
from tests.ports import free_port
from tests.sip.test_peers import PJSUA, needs_sipp, run

SCENARIO = Path(__file__).parent / "scenarios" / "register_keepalive.xml"

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]


async def device_of(gateway: RunningGateway, device_id: str) -> dict[str, str]:
    answer = await gateway.client.get(f"{gateway.url}/gb/v1/devices/{device_id}")
    assert answer.is_success, answer.text
    device: dict[str, str] = answer.json()
    return device


async def until_state(gateway: RunningGateway, device_id: str, state: str) -> None:
    async with asyncio.timeout(30):
        while (await device_of(gateway, device_id))["state"] != state:  # noqa: ASYNC110  (the API is polled)
            await asyncio.sleep(0.05)


@needs_sipp
@pytest.mark.parametrize("flag", ["u1", "t1"])
async def test_sipp_registers_with_digest_and_keeps_alive(gateway: RunningGateway, tmp_path: Path, flag: str) -> None:
    (device_id,) = await gateway.provision()
    command = ["sipp", "-sf", str(SCENARIO), "-i", "127.0.0.1", "-nostdin", "-timeout", "30", "-m", "1", "-t", flag]
    account = ["-au", "camera", "-ap", DEVICE_PASSWORD, "-key", "device", device_id, "-p", str(free_port())]
    await run(tmp_path, *command, *account, f"127.0.0.1:{gateway.sip_port}")
    assert (await device_of(gateway, device_id))["registered_at"]
    # over TCP sipp hangs up at its end, and a lost connection is offline at once
    await until_state(gateway, device_id, "ONLINE" if flag == "u1" else "OFFLINE")


@needs_sipp
async def test_sipp_with_a_wrong_password_stays_out(gateway: RunningGateway, tmp_path: Path) -> None:
    (device_id,) = await gateway.provision()
    command = ["sipp", "-sf", str(SCENARIO), "-i", "127.0.0.1", "-nostdin", "-timeout", "30", "-m", "1"]
    account = ["-au", "camera", "-ap", "Wrong-pass-1", "-key", "device", device_id, "-p", str(free_port())]
    with pytest.raises(AssertionError):
        await run(tmp_path, *command, *account, f"127.0.0.1:{gateway.sip_port}")
    assert (await device_of(gateway, device_id))["state"] == "UNREGISTERED"


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_pjsua_registers_keeps_alive_and_is_asked(
    gateway: RunningGateway, tmp_path: Path, transport: str
) -> None:
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed")
    (device_id,) = await gateway.provision()
    keepalive = (
        f"<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>{device_id}</DeviceID><Status>OK</Status></Notify>"
    )
    script = (
        PJSUA.replace("34020000001320000077", device_id)
        .replace("<Notify><CmdType>Keepalive</CmdType></Notify>", keepalive)
        .replace('assert wait("got") == ("got", "<Query/>"), events', 'assert "<CmdType>" in wait("got")[1], events')
    )
    await run(tmp_path, sys.executable, "-c", script, str(gateway.sip_port), transport, DEVICE_PASSWORD)
    assert (await device_of(gateway, device_id))["registered_at"]
