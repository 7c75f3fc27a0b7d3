"""WHEP and WHIP: WebRTC sessions by one HTTP request each (draft-ietf-wish-whep, RFC 9725).

POST an offer to /whep/{app}/{name} or /whip/{app}/{name}; the answer's Location is the session, to be deleted.
"""

from typing import Any, Final

from litestar import Controller, Request, Response, delete, post
from litestar.params import FromPath
from litestar.types import Scope, Send

from api.context import Services, address
from api.errors import body_of
from api.reasons import HEADER, reason_of
from gateway.streams.webrtc import SessionRefusedError, Why, push_query
from media.webrtc.service import Client

SDP: Final = "application/sdp"
OFFER_MAX: Final = 65_536
STATUS: Final = {
    Why.UNKNOWN: 404,
    Why.FORBIDDEN: 403,
    Why.UNREADABLE: 400,
    Why.NOT_ACCEPTABLE: 406,
    Why.TAKEN: 409,
    Why.BUSY: 503,
    Why.CROWDED: 429,
    Why.AWAY: 503,
}
CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": f"Location, {HEADER}",
}
PREFLIGHT: Final = {
    **CORS,
    "Access-Control-Allow-Methods": "POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Auth-Token",
    "Access-Control-Max-Age": "86400",
    "Accept-Post": SDP,
}

Call = Request[Any, Any, Any]


async def preflight(scope: Scope, send: Send) -> bool:
    """Answers a browser that asks whether it may; False if it asks for something else.

    The framework would answer OPTIONS itself, without what such a browser needs.
    """
    if scope.get("method") != "OPTIONS" or not scope["path"].startswith(("/whep/", "/whip/")):
        return False
    headers = [(name.lower().encode(), value.encode()) for name, value in PREFLIGHT.items()]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


class WhepController(Controller):
    path = "/whep/{app_name:str}/{stream_name:str}"
    tags = ("webrtc",)
    security = ({},)

    @post(summary="Play a stream by WebRTC", status_code=201, media_type=SDP)
    async def play(
        self, request: Call, gateway: Services, app_name: FromPath[str], stream_name: FromPath[str]
    ) -> Response[bytes]:
        """The body is an SDP offer, the answer's an SDP answer with all our candidates.

        A private stream needs a signed address, or a token as bearer, in `X-Auth-Token`, or in `?token=`.
        """
        query = request.query_params
        token = _bearer(request) or request.headers.get("x-auth-token", "") or query.get("token", "")
        try:
            answered = await gateway.webrtc.play(
                app_name,
                stream_name,
                expires=query.get("expires", ""),
                sign=query.get("sign", ""),
                token=token,
                offer=await _offer(request),
                client=_client(request),
            )
        except SessionRefusedError as error:
            return _refusal(request, error)
        return _created(request, answered.session_id, answered.answer)

    @delete("/{session:str}", summary="End a session", status_code=200)
    async def end(self, request: Call, gateway: Services, session: FromPath[str]) -> Response[bytes]:
        return await _end(request, gateway, session, "whep")


class WhipController(Controller):
    path = "/whip/{app_name:str}/{stream_name:str}"
    tags = ("webrtc",)
    security = ({},)

    @post(summary="Publish a stream by WebRTC", status_code=201, media_type=SDP)
    async def publish(
        self, request: Call, gateway: Services, app_name: FromPath[str], stream_name: FromPath[str]
    ) -> Response[bytes]:
        """The body is an SDP offer with H.264, the answer's an SDP answer with all our candidates.

        A stream with an access key needs the parameters of an RTMP push: in the address, or as bearer token.
        """
        query = push_query(request.url.query, _bearer(request))
        try:
            offer = await _offer(request)
            answered = await gateway.webrtc.publish(
                app_name, stream_name, query=query, offer=offer, client=_client(request)
            )
        except SessionRefusedError as error:
            return _refusal(request, error)
        return _created(request, answered.session_id, answered.answer)

    @delete("/{session:str}", summary="End a session", status_code=200)
    async def end(self, request: Call, gateway: Services, session: FromPath[str]) -> Response[bytes]:
        return await _end(request, gateway, session, "whip")


async def _offer(request: Call) -> str:
    if request.content_type[0] != SDP:
        raise SessionRefusedError(Why.UNREADABLE, f"the body must be {SDP}")
    body = await request.body()
    if len(body) > OFFER_MAX:
        raise SessionRefusedError(Why.UNREADABLE, f"the offer is longer than {OFFER_MAX} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise SessionRefusedError(Why.UNREADABLE, "the offer is no text") from None


def _client(request: Call) -> Client:
    return Client(address(request.scope), request.headers.get("user-agent", ""))


def _bearer(request: Call) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _created(request: Call, session: str, answer: str) -> Response[bytes]:
    location = f"{request.url.path.rstrip('/')}/{session}"
    return Response(answer.encode(), status_code=201, media_type=SDP, headers={**CORS, "Location": location})


def _refusal(request: Call, error: SessionRefusedError) -> Response[bytes]:
    status = STATUS[error.why]
    media_type, body = body_of(request.url.path, status, "", str(error))
    headers = {**CORS, HEADER: reason_of(error), **({"Retry-After": "5"} if status in {429, 503} else {})}
    return Response(body, status_code=status, media_type=media_type.decode(), headers=headers)


async def _end(request: Call, gateway: Services, session: str, kind: str) -> Response[bytes]:
    try:
        await gateway.webrtc.close(session, kind)
    except SessionRefusedError as error:
        return _refusal(request, error)
    return Response(b"", status_code=200, headers=CORS)
