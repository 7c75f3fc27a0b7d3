"""Inputs of a stream that is pulled: which there are, which feeds it; added, taken away, chosen by hand."""

from typing import Annotated, Literal

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from api.context import SCOPED, Authorised, Services
from gateway.streams.inputs import BackupType
from gateway.streams.pull_inputs import InputView as Standing
from gateway.streams.rules import shown_url


class InputBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An input that backs up the stream's own URL."""

    url: str
    backup: Literal["active", "passive", "disabled"] = "passive"
    """active: kept connected, takes over at once; passive: connected when it is needed."""


class InputsBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    inputs: Annotated[list[InputBody], msgspec.Meta(max_length=7)]
    """In the order in which they are tried; the stream's own URL stays the first."""


class SwitchBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=1, le=8)]
    id: str | None = None
    """If that input is called otherwise by now, nothing is done."""


class InputView(msgspec.Struct, kw_only=True):
    id: str
    """What it is called in whatever place."""
    number: int
    """Its place in the order; 1 is the stream's own URL."""
    url: str
    """Without user, password and query."""
    backup: str
    active: bool
    """It feeds the stream."""
    ready: bool
    """It stands by and is connected."""


class InputList(msgspec.Struct, kw_only=True):
    inputs: list[InputView]


class InputController(Controller):
    path = "/streams/{stream_name:str}/inputs"
    tags = ("operator",)

    @get(summary="The inputs of a stream that is pulled", opt=SCOPED)
    async def list(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> InputList:
        found = await gateway.streams.inputs(request.auth.scope, stream_name)
        return InputList(inputs=[_view(one) for one in found])

    @put(summary="Set the inputs that back a stream up")
    async def put(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], data: JSONBody[InputsBody]
    ) -> InputList:
        """In force at once; a stream that a backup feeds goes back to its own URL."""
        backups = [(one.url, BackupType(one.backup)) for one in data.inputs]
        await gateway.streams.set_inputs(request.auth.scope, stream_name, backups)
        found = await gateway.streams.inputs(request.auth.scope, stream_name)
        return InputList(inputs=[_view(one) for one in found])

    @post(summary="Add an input that backs a stream up")
    async def add(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], data: JSONBody[InputBody]
    ) -> InputList:
        """201, behind those that are there; in force at once, and a stream that a backup feeds goes back to its own
        URL."""
        await gateway.streams.add_input(request.auth.scope, stream_name, data.url, BackupType(data.backup))
        found = await gateway.streams.inputs(request.auth.scope, stream_name)
        return InputList(inputs=[_view(one) for one in found])

    @delete("/{number:int}", summary="Take an input away from a stream")
    async def remove(
        self,
        request: Authorised,
        gateway: Services,
        stream_name: FromPath[str],
        number: FromPath[int],
        called: Annotated[str | None, QueryParameter(name="id")] = None,
    ) -> None:
        """204. Those behind it move up; a stream that a backup feeds goes back to its own URL. With `id`, 409 if the
        input of this number is called otherwise by now."""
        await gateway.streams.remove_input(request.auth.scope, stream_name, number, called)

    @post("/switch", summary="Let another input feed a stream", status_code=204)
    async def switch(
        self, request: Authorised, gateway: Services, stream_name: FromPath[str], data: JSONBody[SwitchBody]
    ) -> None:
        """204. The stream stays with it until it fails, or the first one is chosen."""
        await gateway.streams.switch_input(request.auth.scope, stream_name, data.number, data.id)


def _view(one: Standing) -> InputView:
    return InputView(
        id=one.identity,
        number=one.input.number,
        url=shown_url(one.input.url),
        backup=one.input.backup.value,
        active=one.active,
        ready=one.ready,
    )
