"""Serves MESSAGE and NOTIFY of registered devices: answers first, works later, and hands each document to its reader.

A message counts only from the flow that registered; a stranger gets 403, and after too many no answer at all. A plain
keepalive takes a path of its own: no XML parser, no task, no write.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from gateway.errors import GatewayError
from gateway.gb28181.catalogue_service import CatalogueService
from gateway.gb28181.directory import Directory, RegisteredDevice
from gateway.gb28181.limits import RateLimit
from gateway.gb28181.liveness import Liveness
from gateway.gb28181.manscdp import Document, Root, match_keepalive, parse
from gateway.gb28181.markup import ManscdpError
from gateway.gb28181.messages import Alarm, CataloguePage, CommandResult, Keepalive, Message, Unknown, read
from gateway.gb28181.messages.device import write_result
from gateway.gb28181.messenger import Messenger
from gateway.gb28181.notices import MessageReceived, Notices
from gateway.gb28181.query_service import QueryService
from sip.endpoint import Endpoint
from sip.incoming import Incoming

STRANGERS_RATE: Final = 5.0
"""403s a second to one source; bursts of `STRANGERS_BURST`. Beyond it silence: nobody's address is worth a flood."""
STRANGERS_BURST: Final = 50.0

Work = Coroutine[Any, Any, None] | None

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class MessageCounters:
    """What came in; numbers only grow."""

    keepalives: int = 0
    documents: int = 0
    unreadable: int = 0
    undispatched: int = 0
    strangers: int = 0


class MessageService:
    """`attach` it to the endpoint before that listens."""

    def __init__(
        self,
        *,
        directory: Directory,
        liveness: Liveness,
        queries: QueryService,
        catalogues: CatalogueService,
        messenger: Messenger,
        notices: Notices,
    ) -> None:
        self.counters = MessageCounters()
        self._directory = directory
        self._liveness = liveness
        self._queries = queries
        self._catalogues = catalogues
        self._messenger = messenger
        self._notices = notices
        self._strangers: RateLimit[str] = RateLimit(STRANGERS_RATE, STRANGERS_BURST)
        self._loop = asyncio.get_running_loop()

    def attach(self, endpoint: Endpoint) -> None:
        """Takes the endpoint's MESSAGEs and NOTIFYs."""
        endpoint.on("MESSAGE", self.handle)
        endpoint.on("NOTIFY", self.handle)

    def handle(self, incoming: Incoming) -> Work:
        """Answers, and gives what is left to do."""
        request, flow = incoming.request, incoming.flow
        device = self._directory.sender(flow, request.from_.uri.user or "")
        if device is None:
            self._turn_away(incoming)
            return None
        if request.deviations:
            device.deviations.add(f"sip-{deviation.name.lower()}" for deviation in request.deviations)
        plain = match_keepalive(request.body)
        if plain is not None and plain[1] == device.device_id:
            self.counters.keepalives += 1
            incoming.respond(200 if self._liveness.handle_keepalive(device, flow) else 403)
            return None
        incoming.respond(200)
        return self._read(device, incoming)

    def _turn_away(self, incoming: Incoming) -> None:
        """403 makes a device register again that we do not know, or that is elsewhere now."""
        self.counters.strangers += 1
        named = self._directory.get(incoming.request.from_.uri.user or "")
        if named is not None and named.presence.registered:
            named.deviations.add(["message-from-elsewhere"])
        if self._strangers.allow(self._loop.time(), incoming.flow.remote.host):
            incoming.respond(403)
        else:
            incoming.ignore()

    def _read(self, device: RegisteredDevice, incoming: Incoming) -> Work:
        body = incoming.request.body
        if not body:
            return None
        try:
            document = parse(body, device.charset)
        except ManscdpError as error:
            self.counters.unreadable += 1
            device.deviations.add(["manscdp-unreadable"])
            log.info("unreadable message", device_id=device.device_id, error=str(error), head=body[:32].hex())
            return None
        self.counters.documents += 1
        device.deviations.add(document.deviations)
        if not self._may_speak_for(device, document):
            return None
        message = read(document)
        device.deviations.add(message.deviations)
        return self._dispatch(device, document, message, incoming)

    def _may_speak_for(self, device: RegisteredDevice, document: Document) -> bool:
        """A device may speak for itself and what its catalogue names, and never for another device of ours."""
        named = document.device_id
        if named == device.device_id or named in device.codes:
            return True
        if named and self._directory.get(named) is not None:
            device.deviations.add(["speaks-for-another"])
            return False
        device.deviations.add(["deviceid-foreign" if named else "deviceid-missing"])
        return True

    def _dispatch(self, device: RegisteredDevice, document: Document, message: Message, incoming: Incoming) -> Work:
        match document.root, message:
            case Root.NOTIFY, Keepalive():
                self.counters.keepalives += 1
                self._liveness.handle_keepalive(device, incoming.flow)
                self._tell(device, message, incoming)
            case Root.NOTIFY, CataloguePage():
                return self._catalogue_notified(device, message)
            case Root.RESPONSE, CataloguePage():
                if not self._catalogues.handle_page(device, message):
                    self._undispatched(device, document)
            case Root.RESPONSE, _:
                if not self._queries.handle_response(device, document.command, message):
                    self._undispatched(device, document)
                    self._tell(device, message, incoming)
            case Root.NOTIFY, Alarm():
                self._tell(device, message, incoming)
                if incoming.request.method == "MESSAGE":
                    return self._acknowledge(device, message)
            case _:
                if isinstance(message, Unknown):
                    self._undispatched(device, document)
                self._tell(device, message, incoming)
        return None

    def _tell(self, device: RegisteredDevice, message: Message, incoming: Incoming) -> None:
        self._notices.publish(MessageReceived(device.device_id, message, incoming.request.call_id))

    def _undispatched(self, device: RegisteredDevice, document: Document) -> None:
        """Answered 200 and read by nobody: without a count that looks like a time-out elsewhere."""
        self.counters.undispatched += 1
        device.count_undispatched(f"{document.root.value}/{document.command}")

    async def _catalogue_notified(self, device: RegisteredDevice, page: CataloguePage) -> None:
        try:
            await self._catalogues.handle_notification(device, page)
        except GatewayError as error:
            log.warning("catalogue change not kept", device_id=device.device_id, error=str(error))

    async def _acknowledge(self, device: RegisteredDevice, alarm: Alarm) -> None:
        """An alarm that came by MESSAGE gets a Response in a MESSAGE of its own (GB/T 28181-2016 §9.4)."""
        answer = CommandResult(command="Alarm", sn=alarm.sn, device_id=alarm.device_id, ok=True)
        try:
            await self._messenger.send(device, write_result(answer, device.writing))
        except GatewayError as error:
            log.info("alarm not acknowledged", device_id=device.device_id, error=str(error))
