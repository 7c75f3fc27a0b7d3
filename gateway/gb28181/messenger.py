"""Sends MANSCDP to devices down the flow that they opened, and says plainly what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from gateway.devices.errors import DeviceOfflineError
from gateway.errors import GatewayError, UnavailableError
from gateway.gb28181.directory import RegisteredDevice
from sip import SipError
from sip.endpoint import Endpoint
from sip.flow import Flow
from sip.headers import Headers
from sip.message import Request
from sip.uri import Uri
from sip.values import NameAddr

CONTENT_TYPE: Final = "Application/MANSCDP+xml"
SN_MAX: Final = 2**31 - 1


class NoAnswerError(UnavailableError):
    """The device did not answer in time."""


class DeviceRefusedError(GatewayError):
    """The device answered a MESSAGE with this status."""

    def __init__(self, device_id: str, status: int, reason: str) -> None:
        super().__init__(f"device {device_id} answered {status} {reason}")
        self.status = status


class SerialNumbers:
    """SN of our queries: 1 to 2**31 - 1, one after the other from a random start."""

    def __init__(self, start: int) -> None:
        self._numbers = count(start)

    def take(self, quantity: int = 1) -> int:
        """The first of `quantity` successive numbers that nobody else gets."""
        numbers = [next(self._numbers) % SN_MAX + 1 for _ in range(quantity)]
        return numbers[0] if numbers == list(range(numbers[0], numbers[0] + quantity)) else self.take(quantity)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are to devices."""

    server_id: str
    domain: str


class Messenger:
    """Sends MESSAGEs as the SIP server; `wait` is how long for the SIP answer, in seconds."""

    def __init__(self, endpoint: Endpoint, identity: Identity, serials: SerialNumbers, *, wait: float = 8.0) -> None:
        self.serials = serials
        self.endpoint = endpoint
        self._identity = identity
        self._wait = wait

    def request(
        self,
        method: str,
        flow: Flow,
        target: str,
        body: bytes,
        extra: Sequence[tuple[str, object]] = (),
    ) -> Request:
        """A request to a device or channel: its Request-URI is where the device is, whatever its Contact says."""
        identity = self._identity
        headers = Headers(
            [
                ("From", NameAddr(Uri(identity.server_id, identity.domain))),
                ("To", NameAddr(Uri(target, identity.domain))),
                *extra,
                ("Content-Type", CONTENT_TYPE),
            ]
        )
        return Request(method, Uri(target, flow.remote.host, flow.remote.port), headers, body)

    async def send(self, device: RegisteredDevice, body: bytes, target: str | None = None) -> None:
        """Sends a MESSAGE; returns when the device has taken it, which says nothing about what it does.

        DeviceOfflineError, NoAnswerError, DeviceRefusedError.
        """
        flow = device.flow
        if flow is None or not device.online:
            raise DeviceOfflineError(f"device {device.device_id} is offline")
        request = self.request("MESSAGE", flow, target or device.device_id, body)
        try:
            response = await self.endpoint.request(request, flow=flow, timeout=self._wait)
        except SipError as error:
            raise NoAnswerError(f"device {device.device_id} did not take a message: {error}") from error
        if response.status >= 300:
            raise DeviceRefusedError(device.device_id, response.status, response.reason)
