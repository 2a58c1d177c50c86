"""Two hundred clients at once: each has a session with its stream open, each gets answers, and all together take little."""

import asyncio
import re

import httpx2
import pytest
from harness import binary
from programs import Listening

SESSIONS = 200
# And 16 MiB for the answers of the last minute, so that a client whose connection broke can hear them.
BUDGET_MIB = 64 + 16
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def resident_mib(process) -> int:
    status = open(f"/proc/{process.pid}/status", encoding="utf-8").read()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // 1024


@pytest.mark.anyio
@pytest.mark.skipif("debug" in binary().parts, reason="memory is judged on the optimised build")
async def test_two_hundred_sessions_at_once_take_little(machine, fake):
    machine.provider("home", fake.base_url, ["ok"])
    machine.env["LAVA_SESSION_LIMIT"] = "100.00/daily"
    # Not in the sandbox, whose tokenizer alone takes 20 MiB.
    with Listening(machine, [binary(), "serve", "--listen", "127.0.0.1:0"]) as server:
        limits = httpx2.Limits(max_connections=2 * SESSIONS)
        async with httpx2.AsyncClient(timeout=60, limits=limits, trust_env=False) as http:

            async def post(message: dict, session: str | None = None):
                headers = HEADERS | ({"mcp-session-id": session} if session else {})
                return await http.post(server.url, headers=headers, json={"jsonrpc": "2.0"} | message)

            async def begin() -> str:
                about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "one of many", "version": "1"}}
                begun = await post({"id": 1, "method": "initialize", "params": about})
                session = begun.headers["mcp-session-id"]
                assert (await post({"method": "notifications/initialized"}, session)).status_code == 202
                return session

            async def listen(session: str):
                request = http.build_request("GET", server.url, headers=HEADERS | {"mcp-session-id": session})
                return await http.send(request, stream=True)

            # All sessions are there at once; people do not all press Enter at once.
            turns = asyncio.Semaphore(SESSIONS // 4)

            async def call(session: str, tool: str, arguments: dict) -> bool:
                async with turns:
                    answer = await post({"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}, session)
                return '"isError":false' in answer.text

            sessions = await asyncio.gather(*[begin() for _ in range(SESSIONS)])
            streams = await asyncio.gather(*[listen(session) for session in sessions])
            assert await call(sessions[0], "login", {})
            prompt = {"model": "home/ok", "input": "Hi", "max_tokens": 9}
            for tool, arguments in [("usage", {}), ("prompt", prompt), ("search", {"query": "cheap vision model"}), ("prompt", prompt)]:
                answered = await asyncio.gather(*[call(session, tool, arguments) for session in sessions])
                assert all(answered), f"{tool}: {answered.count(False)} of {SESSIONS} failed"
            # What a burst has taken is given back when things calm down; what is held then is what counts.
            await asyncio.sleep(2)
            assert await call(sessions[0], "usage", {})
            held = resident_mib(server.process)
            for stream in streams:
                await stream.aclose()
        assert held <= BUDGET_MIB, f"{held} MiB"
