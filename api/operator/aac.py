"""A stream with its sound as AAC, for players that cannot decode G.711."""

from litestar import Controller, post
from litestar.params import FromPath

from api.context import SCOPED, Authorised, Services, address_bases
from api.operator.controllers import Play, play


class AacController(Controller):
    path = "/streams/{stream_name:str}/aac"
    tags = ("operator",)

    @post(summary="Play a stream with its sound as AAC", status_code=200, opt=SCOPED)
    async def open(self, request: Authorised, gateway: Services, stream_name: FromPath[str]) -> Play:
        """Starts the stream's sibling, if none runs, and tells where it plays: the same pictures, the sound as AAC.

        It ends a minute after the last viewer left; ask again then. 409 if the sound is AAC already, or there is none.
        """
        stream = (await gateway.streams.get(request.auth.scope, stream_name)).record
        sibling = await gateway.siblings.open(stream)
        return play(gateway.streams.addresses(sibling, address_bases(request, gateway), gateway.clock()))
