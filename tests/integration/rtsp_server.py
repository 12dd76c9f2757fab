"""A camera: GStreamer's RTSP server plays a clip at its real rate, from its start for each client. Run by the Python
that has GStreamer's bindings, which is the system's.

    python3 rtsp_server.py CLIP [--port N] [--auth basic|digest --user NAME]     (the password: CAMERA_PASSWORD)

Prints `ready PORT`, and for each frame that leaves `frame TIMESTAMP UTC`: its place in the clip and the moment that its
stamp says, in seconds. On a busy machine it leaves later than that, as a picture leaves a camera after it was taken.
"""

import argparse
import os
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

ROLE = "viewer"


def camera(clip: str) -> GstRtspServer.RTSPMediaFactory:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location="{clip}" ! qtdemux ! h264parse ! identity name=gate sync=true '
        "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    factory.connect("media-configure", watch)
    return factory


def watch(_factory, media):
    def passed(_pad, info):
        pts = info.get_buffer().pts
        late = gate.get_clock().get_time() - gate.get_base_time() - pts
        # One write a line: each client has a thread of its own here.
        os.write(1, f"frame {pts / Gst.SECOND} {time.time() - late / Gst.SECOND}\n".encode())
        return Gst.PadProbeReturn.OK

    gate = media.get_element().get_by_name("gate")
    gate.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, passed)


def guard(server, factory, method: str, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
    if method == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    allowed = Gst.Structure.new_from_string(f"{ROLE}, media.factory.access=(boolean)true")
    allowed.set_value("media.factory.construct", True)
    factory.add_role_from_structure(allowed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--port", default="0")
    parser.add_argument("--auth", choices=["basic", "digest"])
    parser.add_argument("--user", default="")
    arguments = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(arguments.port)
    factory = camera(arguments.clip)
    if arguments.auth:
        guard(server, factory, arguments.auth, arguments.user, os.environ["CAMERA_PASSWORD"])
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        raise SystemExit(f"could not listen on port {arguments.port}")
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
