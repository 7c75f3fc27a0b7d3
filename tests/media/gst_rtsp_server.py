"""GStreamer's RTSP server with one stream of three seconds, or, given a folder, one that writes there what it is sent
(and `over` once all of it is written); prints its port. Run by the system's Python: METHOD [FOLDER].
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( videotestsrc num-buffers=75 is-live=true ! video/x-raw,format=I420,width=320,height=192,framerate=25/1 "
    "! x264enc key-int-max=25 bframes=0 tune=zerolatency ! rtph264pay name=pay0 pt=96 "
    "audiotestsrc num-buffers=150 is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 "
    "! alawenc ! rtppcmapay name=pay1 pt=8 )"
)

TAKE = (
    "( rtph264depay name=depay0 ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au "
    "! filesink location={folder}/taken.h264 async=false sync=false "
    "rtpmp4gdepay name=depay1 ! aacparse ! audio/mpeg,stream-format=adts "
    "! filesink location={folder}/taken.aac async=false sync=false )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
if len(sys.argv) > 2:
    factory.set_launch(TAKE.format(folder=sys.argv[2]))
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    over = Path(sys.argv[2]) / "over"
    factory.connect("media-configure", lambda _, media: media.connect("unprepared", lambda _: over.touch()))
else:
    factory.set_launch(LAUNCH)
method = sys.argv[1]
if method != "none":
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if method == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("me", "secret"), token)
    else:
        auth.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST
        auth.add_digest("me", "secret", token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/test", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
