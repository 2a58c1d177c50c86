"""A proxy that writes down every HTTP exchange between an SDK and the gateway.

Counting at the wire works for every SDK in every language, and sees what an SDK's own hooks may not: its retries, their times, and the headers as they were sent.
"""

import dataclasses
import http.client
import http.server
import json
import threading
import time
import urllib.parse

# Headers of one connection, which a proxy does not pass on.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"}


@dataclasses.dataclass
class Exchange:
    method: str
    path: str
    request_headers: dict[str, str]
    request_body: bytes
    began: float
    status: int = 0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self):
        return json.loads(self.body)


class Recorder:
    """Runs in threads of its own, in front of one gateway. Use as a context manager."""

    def __init__(self, target: str):
        """`target` is the root of the gateway, such as http://127.0.0.1:4040."""
        self.exchanges: list[Exchange] = []
        self._target = urllib.parse.urlsplit(target).netloc
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    def _handler(recorder):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                exchange = Exchange(self.command, self.path, headers, body, time.monotonic())
                recorder.exchanges.append(exchange)
                upstream = http.client.HTTPConnection(recorder._target, timeout=30)
                sent = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
                upstream.request(self.command, self.path, body, sent)
                answer = upstream.getresponse()
                exchange.status = answer.status
                exchange.headers = {name.lower(): value for name, value in answer.getheaders()}
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                if self.command == "HEAD":
                    self.end_headers()
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                # As it comes: a stream must stay one.
                while piece := answer.read1():
                    exchange.body += piece
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
                upstream.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass_on

            def log_message(self, *_):
                pass

        return Handler
