"""What is stored of a stream that is fetched and sent on outlasts a restart, a power cut and a source that is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.encoders import encode
from tests.e2e.running import RunningGateway
from tests.e2e.test_streams import add, comes_to
from tests.ports import free_ports

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="session")]

SETTINGS = {
    "GATEWAY_PULL__ALLOW_PRIVATE": "1",
    "GATEWAY_SEND__ALLOW_PRIVATE": "1",
    "GATEWAY_PULL__RETURN_AFTER": "1",
}
PATIENCE = 30.0


@asynccontextmanager
async def camera(port: int) -> AsyncIterator[None]:
    """Serves HTTP-FLV to whoever comes, each with an encoder of its own; left, it is gone for all of them."""
    clients: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        encoder = await asyncio.create_subprocess_exec(*encode("pipe:1"), stdout=asyncio.subprocess.PIPE)
        assert encoder.stdout is not None
        try:
            first = await encoder.stdout.read(1 << 16)  # it may take its time: until then nothing is answered
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n" + first)
            while data := await encoder.stdout.read(1 << 16):
                writer.write(data)
                await writer.drain()
        finally:
            if encoder.returncode is None:
                encoder.kill()
            await encoder.wait()
            writer.transport.abort()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        try:
            await serve(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the gateway has gone, or the camera is to
        finally:
            clients.discard(task)

    server = await asyncio.start_server(client, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        running = list(clients)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def seen(gateway: RunningGateway, path: str) -> Any:
    answer = await gateway.client.get(f"{gateway.url}/gb/v1/streams/{path}")
    assert answer.is_success, answer.text
    return answer.json()


async def fed_by(gateway: RunningGateway, number: int) -> None:
    """Waits until this input feeds the stream."""
    found: list[Any] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while [one["number"] for one in found if one["active"]] != [number]:
                found = (await seen(gateway, "main/inputs"))["inputs"]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{found}\n{gateway.log[-4000:]}") from None


async def sent_on(gateway: RunningGateway) -> None:
    """Waits until the stream flows, is pushed, and flows where it is pushed to."""
    await comes_to(gateway, "main", "FLOWING", PATIENCE)
    await comes_to(gateway, "copy", "FLOWING", PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while True:
            [push] = (await seen(gateway, "main/pushes"))["pushes"]
            if push["state"] == "PUSHING" and push["bytes_out"] > 20_000:
                return
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_a_pull_with_two_inputs_and_its_push_hold_over_restart_and_power_cut(tmp_path: Path) -> None:
    first, second = free_ports(2)
    gateway = await RunningGateway(tmp_path, SETTINGS).start()
    try:
        async with camera(second):
            async with camera(first):
                await add(gateway, "copy")
                await add(gateway, "main", access_type="HTTP-FLV", url=f"http://127.0.0.1:{first}/live.flv")
                backup = {"url": f"http://127.0.0.1:{second}/live.flv", "backup": "active"}
                main = f"{gateway.url}/gb/v1/streams/main"
                put = await gateway.client.put(f"{main}/inputs", json={"inputs": [backup]})
                assert put.is_success, put.text
                url = f"rtmp://127.0.0.1:{gateway.rtmp_port}/default/copy"
                made = await gateway.client.post(f"{main}/pushes", json={"url": url})
                assert made.status_code == 201, made.text
                await sent_on(gateway)
                # An orderly stop.
                await gateway.stop()
                await gateway.start()
                await sent_on(gateway)
                await fed_by(gateway, 1)
            # The source is gone: the other one takes over, and whoever it is pushed to stays.
            await fed_by(gateway, 2)
            await sent_on(gateway)
            [push] = (await seen(gateway, "main/pushes"))["pushes"]
            assert push["failures"] == 0, push
            # A power cut while the backup feeds it.
            gateway.kill()
            await gateway.start()
            await fed_by(gateway, 2)
            await sent_on(gateway)
            async with camera(first):
                await fed_by(gateway, 1)
                await sent_on(gateway)
                events = (await seen(gateway, "main/events"))["events"]
        switches = [event["cause"] for event in events[::-1] if event["cause"].startswith("SWITCH")]
        assert switches == ["SWITCH_FAILED", "SWITCH_FAILED", "SWITCH_RETURNED"]
        assert [push["push_id"] for push in (await seen(gateway, "main/pushes"))["pushes"]] == [made.json()["push_id"]]
    finally:
        await gateway.close()
