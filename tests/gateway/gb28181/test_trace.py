"""`gateway.gb28181.trace`: what is kept, and that secrets are not."""

from datetime import UTC, datetime

import pytest

from gateway.devices.model import DeviceId
from gateway.gb28181.trace import SipTraces, TooManyTracesError, masked
from sip import NameAddr, Request, Uri
from sip.endpoint import Endpoint
from sip.headers import Headers
from sip.transport import Listen

CAMERA = DeviceId("31011500001320000001")
NOW = datetime(2026, 3, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'Authorization: Digest nonce="abc", response="def"', 'Authorization: Digest nonce="***", response="***"'),
        (b"Authorization: Digest response=def, nonce = abc\r\n", "Authorization: Digest response=***, nonce = ***\r\n"),
        (b"<Password>secret</Password>", "<Password>***</Password>"),
        (b"a=password:secret\r\na=x", "a=password:***\r\na=x"),
        ("东门".encode("gb2312"), "\\xb6\\xab\\xc3\\xc5"),
    ],
)
def test_secrets_are_masked(data: bytes, text: str) -> None:
    assert masked(data) == text


async def test_only_what_names_a_traced_device_is_kept() -> None:
    async with Endpoint([Listen("UDP", "127.0.0.1", 0)]) as endpoint:
        traces = SipTraces(endpoint, lambda _: None, lambda: NOW)
        flow = await endpoint.flow_to("UDP", *endpoint.addresses[0][1])

        async def ask(device_id: str) -> None:
            uri = Uri(device_id, "3101150000")
            await endpoint.request(Request("OPTIONS", uri, Headers([("From", NameAddr(uri))])), flow=flow)

        await ask(CAMERA)
        traces.start(CAMERA)
        await ask(CAMERA)
        await ask("31011500001320000002")
        kept = traces.messages(CAMERA)
        assert [message.sent for message in kept] == [True, False, True, False]
        assert all(CAMERA in message.text for message in kept)
        traces.stop(CAMERA)
        assert not traces.messages(CAMERA)


async def test_no_id_catches_the_messages_of_others() -> None:
    async with Endpoint([Listen("UDP", "127.0.0.1", 0)]) as endpoint:
        traces = SipTraces(endpoint, lambda _: None, lambda: NOW)
        flow = await endpoint.flow_to("UDP", *endpoint.addresses[0][1])
        others = [DeviceId("SIP"), DeviceId("1"), DeviceId(CAMERA[:13]), DeviceId("31011500001320000003")]
        for device_id in [*others, CAMERA]:
            traces.start(device_id)
        uri = Uri(CAMERA, "3101150000")
        item = b"<DeviceID>31011500001320000003</DeviceID>"
        await endpoint.request(Request("OPTIONS", uri, Headers([("From", NameAddr(uri))]), item), flow=flow)
        assert [len(traces.messages(device_id)) for device_id in [*others, CAMERA]] == [0, 0, 0, 0, 4]


async def test_only_so_many_devices_are_traced_at_once() -> None:
    async with Endpoint([Listen("UDP", "127.0.0.1", 0)]) as endpoint:
        traces = SipTraces(endpoint, lambda _: None, lambda: NOW)
        for serial in range(100, 200):
            traces.start(DeviceId(f"3101150000132{serial:07d}"))
        with pytest.raises(TooManyTracesError):
            traces.start(CAMERA)
