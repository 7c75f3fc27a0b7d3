"""Asks devices and matches their answers: by device, CmdType and SN, for each answer is a MESSAGE of its own.

Many devices answer some query never; every wait is bounded, and a try that got no answer is made again with a new SN.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway.devices.errors import DeviceOfflineError
from gateway.devices.model import DeviceId
from gateway.errors import GatewayError
from gateway.gb28181.directory import RegisteredDevice
from gateway.gb28181.manscdp import Root, build
from gateway.gb28181.messages import CommandResult, DeviceInfo, DeviceStatus, Message
from gateway.gb28181.messenger import Messenger, NoAnswerError
from gateway.store import DeviceInfo as StoredInfo
from gateway.store import Store

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Query:
    answer: asyncio.Future[Message]
    sns: set[int] = field(default_factory=set)


class QueryService:
    """`wait` is for the first answer to each try, in seconds."""

    def __init__(self, messenger: Messenger, *, wait: float = 10.0, tries: int = 2) -> None:
        self._messenger = messenger
        self._wait = wait
        self._tries = tries
        self._open: dict[tuple[DeviceId, str], list[_Query]] = {}

    async def ask(
        self, device: RegisteredDevice, command: str, target: str | None = None, *, tries: int | None = None
    ) -> Message:
        """Sends a Query that names its target only, and gives the answer.

        DeviceOfflineError, DeviceRefusedError, NoAnswerError.
        """
        query = _Query(asyncio.get_running_loop().create_future())
        key = (device.device_id, command)
        self._open.setdefault(key, []).append(query)
        try:
            for _ in range(tries or self._tries):
                answer = await self._try(device, command, target or device.device_id, query)
                if answer is not None:
                    return answer
        finally:
            self._open[key].remove(query)
            if not self._open[key]:
                del self._open[key]
        raise NoAnswerError(f"device {device.device_id} did not answer {command}")

    async def _try(self, device: RegisteredDevice, command: str, target: str, query: _Query) -> Message | None:
        sn = self._messenger.serials.take()
        query.sns.add(sn)
        with contextlib.suppress(NoAnswerError):  # its MESSAGE may come all the same
            await self._messenger.send(device, build(Root.QUERY, command, sn, target, charset=device.writing))
        try:
            async with asyncio.timeout(self._wait):
                return await asyncio.shield(query.answer)
        except TimeoutError:
            return None

    def handle_response(self, device: RegisteredDevice, command: str, message: Message) -> bool:
        """Takes a Response; False if nobody asked. A wrong SN is forgiven if only one query of its kind is open."""
        queries = self._open.get((device.device_id, command), [])
        sn = getattr(message, "sn", None)
        query = next((query for query in queries if sn in query.sns), None)
        if query is None and len(queries) == 1:
            device.deviations.add(["sn-wrong"])
            query = queries[0]
        if query is None:
            return False
        if not query.answer.done():
            query.answer.set_result(message)
        return True


class DeviceInquiry:
    """Asks a device who and how it is, and keeps what it says."""

    def __init__(self, queries: QueryService, store: Store, *, wall_seconds: Callable[[], float]) -> None:
        """`wall_seconds`: calendar time in seconds since 1970."""
        self._queries = queries
        self._store = store
        self._wall_seconds = wall_seconds

    async def info(self, device: RegisteredDevice) -> None:
        """DeviceInfo into the store. GatewayError if it does not answer."""
        answer = await self._queries.ask(device, "DeviceInfo")
        if isinstance(answer, DeviceInfo) and answer.ok:
            info = StoredInfo(manufacturer=answer.manufacturer, model=answer.model, firmware=answer.firmware)
            await self._store.devices.set_info(device.device_id, info)

    async def status(self, device: RegisteredDevice) -> DeviceStatus | CommandResult | None:
        """DeviceStatus; its clock's drift is noted. GatewayError if it does not answer."""
        answer = await self._queries.ask(device, "DeviceStatus", tries=1)
        if not isinstance(answer, DeviceStatus):
            return None
        if answer.device_time is not None:
            device.clock_drift = answer.device_time.timestamp() - self._wall_seconds()
        return answer

    async def introduce(self, device: RegisteredDevice) -> None:
        """Both, as far as the device answers."""
        for question in (self.info, self.status):
            try:
                await question(device)
            except DeviceOfflineError:
                return
            except GatewayError as error:
                log.info("device did not answer", device_id=device.device_id, error=str(error))
