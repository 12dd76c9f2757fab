"""A TCP proxy that can cut, freeze, delay and corrupt what passes through it."""

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from collections import deque


class Proxy:
    """Listens on `port` and passes everything to and from `target`, a port of this machine."""

    def __init__(self, target: int):
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self.port: int = self._server.getsockname()[1]
        self.frozen = False  # connections stay open, nothing passes
        self.delay = 0.0  # seconds by which what the target says arrives later
        self.corrupt = 0.0  # share of what the target says in which a byte is changed, per piece received
        self._rng = random.Random(0)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closed = threading.Event()

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.cut()
        self._server.close()

    def cut(self) -> None:
        """Reset all connections."""
        pairs, self._pairs = self._pairs, []
        for connection in (c for pair in pairs for c in pair):
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST, not FIN
                connection.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._server.accept()
                pair = (client, socket.create_connection(("127.0.0.1", self._target)))
            except TimeoutError:
                continue
            except OSError:
                return
            self._pairs.append(pair)
            threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        late: deque[tuple[float, bytes]] = deque()  # (due, what the target said)
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            for connection in (client, server):
                selector.register(connection, selectors.EVENT_READ)
            while True:
                while late and late[0][0] <= time.monotonic():
                    client.sendall(late.popleft()[1])
                for key, _ in selector.select(0.02 if late else 0.1):
                    if self.frozen:
                        self._closed.wait(0.05)
                        continue
                    if not (content := key.fileobj.recv(1 << 16)):
                        return self._end(client, server)
                    if key.fileobj is client:
                        server.sendall(content)
                    else:
                        late.append((time.monotonic() + self.delay, self._spoil(content)))
                if client.fileno() < 0:
                    return None

    def _spoil(self, content: bytes) -> bytes:
        if self._rng.random() >= self.corrupt:
            return content
        at = self._rng.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 0x5A]) + content[at + 1 :]

    def _end(self, client: socket.socket, server: socket.socket) -> None:
        for connection in (client, server):
            with contextlib.suppress(OSError):
                connection.close()
