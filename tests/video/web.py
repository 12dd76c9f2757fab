"""A small HTTP server whose answers a test writes by hand."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Send = Callable[[bytes], object]


class Web:
    """Answers each GET with `answer(send, number)`: `send` writes to the client, `number` counts requests from 0. The
    connection closes when `answer` returns; a client that went away ends it, too. `length`: a length to announce."""

    def __init__(self, answer: Callable[[Send, int], None], length: int | None = None):
        self.requests = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                number, web.requests = web.requests, web.requests + 1
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                with contextlib.suppress(OSError):
                    answer(self.wfile.write, number)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/stream"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serve(answer: Callable[[Send, int], None], length: int | None = None) -> Iterator[Web]:
    web = Web(answer, length)
    try:
        yield web
    finally:
        web.close()


def at_real_rate(send: Send, content: bytes, seconds: float) -> None:
    """Send `content` evenly over so many seconds."""
    steps = max(1, int(seconds * 25))
    began = time.monotonic()
    for i in range(steps):
        send(content[len(content) * i // steps : len(content) * (i + 1) // steps])
        time.sleep(max(0.0, began + (i + 1) * seconds / steps - time.monotonic()))
