"""An OpenAI-compatible upstream that misbehaves in the ways that aimock does not offer.

aimock always reports usage, redacts the authorization header in its journal, and cuts only streams; this one leaves usage out, keeps what it
received byte for byte, cuts plain answers too, sends a body that is not what its headers say, or never answers. The model's name picks the
behaviour, so one server serves a whole test file.
"""

import asyncio
import json
import threading

TEXT = "An answer of twelve words, so that there is something to count."
USAGE = {"prompt_tokens": 21, "completion_tokens": 13, "total_tokens": 34}

MODELS = (
    "good",
    "no-usage",
    "cut",
    "early-close",
    "garbage",
    "garbage-stream",
    "html",
    "empty",
    "trickle",
    "slow",
    "hang",
    "refuses-400",
)


class Seen:
    """A request as it arrived."""

    def __init__(self, raw_head: bytes, body: bytes):
        self.raw = raw_head + body
        lines = raw_head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ", 2)
        self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        self.json = json.loads(body) if body else None


class FakeUpstream:
    """Runs in a thread of its own, so that tests of any style can talk to it. Use as a context manager."""

    def __init__(self):
        self.seen: list[Seen] = []
        self.hung_up = threading.Event()
        self._got_one = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def wait_for(self, count: int, within: float = 10) -> None:
        with self._got_one:
            assert self._got_one.wait_for(lambda: len(self.seen) >= count, within), f"{len(self.seen)} requests, {count} expected"

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self):
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    async def _connection(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                request = Seen(head, b"")
                size = int(request.headers.get("content-length", 0))
                body = await reader.readexactly(size)
                if request.headers.get("transfer-encoding") == "chunked":
                    while (n := int((await reader.readline()).split(b";")[0], 16)) or await reader.readline() is None:
                        body += await reader.readexactly(n)
                        await reader.readline()
                request = Seen(head, body)
                with self._got_one:
                    self.seen.append(request)
                    self._got_one.notify_all()
                await self._answer(request, writer, reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    async def _answer(self, request: Seen, writer, reader):
        model = (request.json or {}).get("model")
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            return await plain(writer, 404, {"error": {"message": "no such path"}})
        stream = bool(request.json.get("stream"))
        include_usage = bool((request.json.get("stream_options") or {}).get("include_usage"))

        if model == "hang":
            # Until the other side gives up; its end of file is what the test waits for.
            await reader.read(1)
            raise ConnectionError
        if model == "slow":
            await asyncio.sleep(1.5)
        if model == "early-close":
            raise ConnectionError
        if model == "refuses-400":
            return await plain(
                writer,
                400,
                {"error": {"message": "temperature must be at most 2", "type": "invalid_request_error", "param": "temperature", "code": None}},
            )
        if model == "garbage":
            return await raw(writer, 200, "application/json", b'{"choices": [{"mess')
        if model == "html":
            return await raw(writer, 200, "text/html", b"<html><body>Welcome to the proxy</body></html>")
        if model == "empty":
            return await raw(writer, 200, "application/json", b"")
        if not stream:
            answer = completion(model)
            if model == "no-usage":
                del answer["usage"]
            if model == "cut":
                data = json.dumps(answer).encode()
                writer.write(head(200, "application/json", len(data)) + data[: len(data) // 2])
                await writer.drain()
                raise ConnectionError
            return await plain(writer, 200, answer)

        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        words = TEXT.split(" ")
        for n, word in enumerate(words):
            if n == len(words) // 2 and model == "cut":
                await writer.drain()
                await asyncio.sleep(0.05)
                raise ConnectionError
            if n == len(words) // 2 and model == "garbage-stream":
                writer.write(chunked(b"data: {]not json\n\n"))
            delta = {"content": word if n == 0 else " " + word}
            if n == 0:
                delta["role"] = "assistant"
            event = sse(chunk(model, delta))
            if model == "trickle":
                # One byte at a time and slowly: no parser may count on an event arriving in one piece.
                for i in range(0, len(event), 40):
                    writer.write(chunked(event[i : i + 40]))
                    await writer.drain()
                    await asyncio.sleep(0.01)
            else:
                writer.write(chunked(event))
            await writer.drain()
        writer.write(chunked(sse(chunk(model, {}, "stop"))))
        if include_usage and model != "no-usage":
            writer.write(chunked(sse({**chunk(model, {}), "choices": [], "usage": USAGE})))
        writer.write(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()


def completion(model):
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": USAGE,
    }


def chunk(model, delta, finish=None):
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def sse(value) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def head(status, content_type, length) -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n".encode()


async def raw(writer, status, content_type, data):
    writer.write(head(status, content_type, len(data)) + data)
    await writer.drain()


async def plain(writer, status, value):
    await raw(writer, status, "application/json", json.dumps(value).encode())
