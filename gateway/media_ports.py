"""Opens the relay's ports for RTMP and RTSP, plain and behind TLS; HTTP is opened by `gateway.commands.serve`."""

from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.media_settings import Tls
from gateway.settings import Settings
from media._core import CoreError
from media.relay import Relay


def open_media_ports(settings: Settings, relay: Relay) -> None:
    """Opens what is switched on. GatewayError names the setting whose port is taken, or whose file cannot be used."""
    rtmp, rtsp, tls = settings.rtmp, settings.rtsp, settings.tls
    if rtmp.port:
        _open("RTMP", "rtmp.port", lambda: relay.listen_rtmp(rtmp.host, rtmp.port))
    if rtsp.port:
        _open("RTSP", "rtsp.port", lambda: relay.listen_rtsp(rtsp.host, rtsp.port, realm=rtsp.realm or None))
    if tls.rtmps_port:
        certificate, key = pem_files(tls)
        _open(
            "RTMPS",
            "tls.rtmps_port",
            lambda: relay.listen_rtmps(rtmp.host, tls.rtmps_port, certificate=certificate, key=key),
        )
    if tls.rtsps_port:
        certificate, key = pem_files(tls)
        _open(
            "RTSPS",
            "tls.rtsps_port",
            lambda: relay.listen_rtsps(
                rtsp.host, tls.rtsps_port, certificate=certificate, key=key, realm=rtsp.realm or None
            ),
        )


def open_https(settings: Settings, relay: Relay, upstream: str) -> int:
    """Opens the front door behind TLS, if it is switched on, and returns its port; else 0. GatewayError as above."""
    tls = settings.tls
    if not tls.https_port:
        return 0
    certificate, key = pem_files(tls)
    return _open(
        "HTTPS",
        "tls.https_port",
        lambda: relay.listen_https(settings.http.host, tls.https_port, upstream, certificate=certificate, key=key),
    )


def pem_files(tls: Tls) -> tuple[str, str]:
    """Paths of certificate and key; the settings see to it that they are given where a port is."""
    return str(tls.certificate or ""), str(tls.key or "")


def _open(what: str, setting: str, opening: Callable[[], int]) -> int:
    try:
        return opening()
    except CoreError as error:
        raise GatewayError(f"{what} cannot be served ({setting}): {error}") from error
