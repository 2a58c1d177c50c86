#!/usr/bin/env python3
"""How many answers does a budget buy when many requests arrive at the same moment?

The probe is both ends of the experiment. It plays the provider (an OpenAI-compatible server on --upstream-port, which
waits, answers with a fixed usage and counts), and it plays the client: --burst requests at once through the gateway
under test, then one at a time until the gateway has refused three times in a row. The provider's count is the truth.

The gateway has to run already, with http://127.0.0.1:9100/v1 as its provider and a price of 1 USD per million tokens of
input and 10 per million of output. Each answer bills 25 tokens of input and 50 of output, 0.000525 USD, so a budget of
0.00525 USD pays for 10. Each run needs a key of its own that has spent nothing:

  budget_probe.py --url http://127.0.0.1:4040/v1 --model house/probe --pays-for 10 --key KEY1 --key KEY2
  budget_probe.py --url … --pays-for 10 --runs 3 --key-command 'a command that prints a new key'

Standard library only, loopback only. Prints a row of a Markdown table for each run.
"""

import argparse
import asyncio
import json
import subprocess
import time
from collections import Counter
from urllib.parse import urlsplit

INPUT_TOKENS, OUTPUT_TOKENS = 25, 50
USAGE = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
QUESTION = "one two three four five six seven eight nine ten"
ANSWER = " ".join(["word"] * OUTPUT_TOKENS)


async def read_message(reader):
    """The first line, the headers and the body of an HTTP message; `None` when the other side has closed."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif head[0].startswith("HTTP/"):
        body = await reader.read()
    else:
        body = b""
    return head[0], headers, body


class Provider:
    """Answers every chat completion after a delay, and counts."""

    def __init__(self, delay):
        self.delay, self.answered, self.in_flight, self.most_at_once = delay, 0, 0, 0

    async def serve(self, reader, writer):
        try:
            while message := await read_message(reader):
                line, _, body = message
                if line.split()[1].endswith("/chat/completions"):
                    await self.complete(writer, json.loads(body))
                else:
                    self.reply(writer, "application/json", json.dumps({"object": "list", "data": [{"id": "probe", "object": "model"}]}))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def complete(self, writer, request):
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        await asyncio.sleep(self.delay)
        self.in_flight -= 1
        self.answered += 1
        base = {"id": f"chatcmpl-{self.answered}", "created": int(time.time()), "model": request["model"]}
        if not request.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
            self.reply(writer, "application/json", json.dumps(base | {"object": "chat.completion", "choices": [choice], "usage": USAGE}))
            return
        base["object"] = "chat.completion.chunk"
        chunks = [base | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ANSWER}, "finish_reason": None}]}]
        chunks.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (request.get("stream_options") or {}).get("include_usage"):
            chunks.append(base | {"choices": [], "usage": USAGE})
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.reply(writer, "text/event-stream", events)

    @staticmethod
    def reply(writer, kind, text):
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(text.encode())}\r\n\r\n"
        writer.write(head.encode() + text.encode())


async def ask(args, key, stream):
    """One request to the gateway, on a connection of its own: its status and the body."""
    request = {"model": args.model, "messages": [{"role": "user", "content": QUESTION}]}
    if not args.no_max_tokens:
        request["max_tokens"] = OUTPUT_TOKENS
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    url, body = urlsplit(args.url), json.dumps(request)
    lines = [
        f"POST {url.path.rstrip('/')}/chat/completions HTTP/1.1", f"Host: {url.netloc}", f"Authorization: Bearer {key}",
        "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", *args.header,
    ]
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        message = await asyncio.wait_for(read_message(reader), 60)
        writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        return type(error).__name__, str(error)
    return (message[0].split()[1], message[2].decode(errors="replace")) if message else ("closed", "")


async def run(args, provider, key, stream):
    for _ in range(args.warm_up):
        await ask(args, args.warm_up_key, stream)
    start, provider.most_at_once = provider.answered, 0
    replies = await asyncio.gather(*(ask(args, key, stream) for _ in range(args.burst)))
    await asyncio.sleep(1)
    in_burst = provider.answered - start
    refused_in_a_row = 0
    while refused_in_a_row < 3 and provider.answered - start < 20 * args.pays_for:
        reply = await ask(args, key, stream)
        refused_in_a_row = 0 if reply[0] == "200" else refused_in_a_row + 1
        replies.append(reply)
        await asyncio.sleep(0.1)
    in_all = provider.answered - start
    statuses = ", ".join(f"{count} x {status}" for status, count in Counter(status for status, _ in replies).most_common())
    over = in_all - args.pays_for
    print(f"| {args.name} | {'streamed' if stream else 'plain'} | {args.pays_for} | {args.burst} | {in_burst} | {in_all} "
          f"| {max(over, 0)} | {provider.most_at_once} | {statuses} |", flush=True)
    return next((body for status, body in replies if status != "200"), None)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the gateway's base URL, ending in /v1")
    parser.add_argument("--key", action="append", default=[], help="a key with an untouched budget; one run for each")
    parser.add_argument("--key-command", help="a command that prints a new key, instead of --key")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind with --key-command")
    parser.add_argument("--kind", choices=["plain", "streamed", "both"], default="both", help="with --key, choose one")
    parser.add_argument("--model", default="probe")
    parser.add_argument("--header", action="append", default=[], help="'Name: value', sent with each request")
    parser.add_argument("--pays-for", type=int, default=10, help="how many answers the key's budget pays for")
    parser.add_argument("--burst", type=int, default=100)
    parser.add_argument("--no-max-tokens", action="store_true", help="the requests name no cap of their output")
    parser.add_argument("--warm-up", type=int, default=0, help="answers bought with --warm-up-key before each run")
    parser.add_argument("--warm-up-key")
    parser.add_argument("--delay-ms", type=int, default=300, help="how long the provider waits, so that all are in flight together")
    parser.add_argument("--upstream-port", type=int, default=9100)
    parser.add_argument("--name", default="gateway")
    args = parser.parse_args()
    host = urlsplit(args.url).hostname or ""
    if host != "localhost" and not host.startswith("127."):
        parser.error("--url: loopback addresses only")
    if args.warm_up and not args.warm_up_key:
        parser.error("--warm-up needs --warm-up-key")

    def keys():
        if args.key_command:
            for _ in range(args.runs):
                yield subprocess.run(args.key_command, shell=True, check=True, capture_output=True, text=True).stdout.strip()
        else:
            yield from args.key

    provider = Provider(args.delay_ms / 1000)
    await asyncio.start_server(provider.serve, "127.0.0.1", args.upstream_port, backlog=1024)
    print("| gateway | kind | paid for | at once | answered in the burst | answered in all | over | most at the provider at once | statuses |")
    print("|---|---|--:|--:|--:|--:|--:|--:|---|", flush=True)
    refusal = None
    for stream in [kind == "streamed" for kind in ("plain", "streamed") if args.kind in (kind, "both")]:
        for key in keys():
            refusal = await run(args, provider, key, stream) or refusal
    print(f"\nA refusal: {(refusal or 'none')[:400]}")


asyncio.run(main())
