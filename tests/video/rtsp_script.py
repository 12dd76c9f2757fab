"""A camera that does what a test writes down: an RTSP server in a few lines, whose answers and packets are data.

Interleaved TCP, one H.264 or HEVC stream. It is no full server (tests/integration has GStreamer's): it is the one that
can lie, fall silent in the middle of a word, and set its clock.
"""

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av

RATE = 25
TICKS = 90000
NTP = 2_208_988_800
METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY")


@dataclass(frozen=True, slots=True)
class Picture:
    """One access unit, and when it leaves."""

    units: tuple[bytes, ...]  # NAL units, without start codes
    at: float  # seconds since PLAY
    stamp: float  # RTP timestamp, seconds
    utc: float | None = None  # by how much the clock in a sender report that goes before is ahead; None = no report


Script = Callable[[int], Iterable[Picture | bytes]]
"""What is sent on connection number n: pictures, or raw bytes."""


@dataclass(slots=True)
class Camera:
    """Serves `script`. `silent_at`: a request (or "CONNECT") that is never answered. `answers`: raw bytes instead of a
    proper answer, by method. `codec`: what the description says on connection number n."""

    script: Script = lambda number: ()
    silent_at: str | None = None
    answers: Mapping[str, bytes] = field(default_factory=dict)
    codec: Callable[[int], str] = lambda number: "H264"
    connections: int = 0
    captured: list[float] = field(default_factory=list)  # UTC seconds at which each picture was due to leave
    _server: socket.socket | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/cam"

    def __enter__(self) -> "Camera":
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client, self.connections), daemon=True).start()
                self.connections += 1

    def _serve(self, client: socket.socket, number: int) -> None:
        with client, contextlib.suppress(OSError):
            while request := _request(client):
                method, sequence = request
                if self.silent_at in (method, "CONNECT"):
                    self._over.wait()
                    return
                client.sendall(self.answers.get(method) or self._answer(method, sequence, number))
                if method == "PLAY":
                    threading.Thread(target=_swallow, args=(client,), daemon=True).start()
                    self._play(client, number)
                    return

    def _answer(self, method: str, sequence: str, number: int) -> bytes:
        head, body = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n", ""
        if method == "OPTIONS":
            head += f"Public: {', '.join(METHODS)}\r\n"
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                f"a=rtpmap:96 {self.codec(number)}/{TICKS}\r\na=fmtp:96 packetization-mode=1\r\na=control:v\r\n"
            )
            head += f"Content-Type: application/sdp\r\nContent-Base: {self.url}/\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        else:
            head += "Session: 1\r\nRange: npt=0-\r\n"
        return f"{head}\r\n{body}".encode()

    def _play(self, client: socket.socket, number: int) -> None:
        began, to_utc, sequence = time.monotonic(), time.time() - time.monotonic(), 0
        for item in self.script(number):
            if isinstance(item, bytes):
                client.sendall(item)
                continue
            if self._over.wait(max(0.0, began + item.at - time.monotonic())):
                return
            ticks = round(item.stamp * TICKS) % 2**32
            if item.utc is not None:
                client.sendall(interleaved(1, report(began + to_utc + item.at + item.utc, ticks)))
            for i, unit in enumerate(item.units):
                last = i == len(item.units) - 1
                client.sendall(interleaved(0, packet(sequence, ticks, unit, last=last)))
                sequence += 1
            self.captured.append(began + to_utc + item.at)


def interleaved(channel: int, content: bytes) -> bytes:
    return struct.pack(">cBH", b"$", channel, len(content)) + content


def packet(sequence: int, ticks: int, payload: bytes, *, last: bool = True) -> bytes:
    """An RTP packet (RFC 3550, 5.1)."""
    return struct.pack(">BBHII", 0x80, 96 | last << 7, sequence % 2**16, ticks, 0x5EA1) + payload


def report(utc: float, ticks: int) -> bytes:
    """An RTCP sender report (RFC 3550, 6.4.1)."""
    return struct.pack(">BBHIQIII", 0x80, 200, 6, 0x5EA1, int((utc + NTP) * 2**32), ticks, 0, 0)


def _request(client: socket.socket) -> tuple[str, str] | None:
    """The next request's method and CSeq."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        if not (byte := client.recv(1)):
            return None
        text += byte
    method, sequence = text.split()[0].decode(), re.search(rb"CSeq: *(\d+)", text)
    return method, sequence[1].decode() if sequence else "0"


def _swallow(client: socket.socket) -> None:
    """What the client says while it is played to (receiver reports, keep-alives) is read, so that it isn't reset."""
    with contextlib.suppress(OSError):
        while client.recv(4096):
            pass


def access_units(path: Path) -> list[tuple[bytes, ...]]:
    """The NAL units of each picture of a raw .h264 or .hevc file."""
    with av.open(str(path)) as container:
        return [
            tuple(unit.rstrip(b"\0") for unit in re.split(rb"\x00\x00\x00?\x01", bytes(p)) if unit)
            for p in container.demux(video=0)
            if p.size
        ]


def steady(units: Iterable[tuple[bytes, ...]], rate: float = RATE, *, first: float = 0.0) -> Iterator[Picture]:
    """Pictures at an even rate, stamped as they leave; RTP time begins at `first` seconds."""
    for i, unit in enumerate(units):
        yield Picture(unit, i / rate, first + i / rate)
