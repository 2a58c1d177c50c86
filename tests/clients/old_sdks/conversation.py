"""A conversation in the Python SDK of an earlier release: conversation.py <stdio|http|sse> <program, or address>.

Prints one line of JSON: what came back, and every error that the SDK logged on the way.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys

from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamablehttp_client

from mcp import McpError

transport, target = sys.argv[1:]
errors = []


class Errors(logging.Handler):
    def emit(self, record):
        errors.append(record.getMessage())


logging.getLogger().addHandler(Errors(level=logging.WARNING))


@contextlib.asynccontextmanager
async def connection():
    if transport == "stdio":
        async with stdio_client(StdioServerParameters(command=target, args=["--sandbox"], env=dict(os.environ))) as streams:
            yield streams
    elif transport == "sse":
        async with sse_client(f"{target}/sse") as streams:
            yield streams
    else:
        async with streamablehttp_client(f"{target}/mcp") as (read, write, _):
            yield read, write


async def heard(message):
    if isinstance(message, Exception):
        errors.append(repr(message))


async def main():
    notes = []

    async def note(progress, total, message):
        notes.append(progress)

    async with connection() as (read, write), ClientSession(read, write, message_handler=heard) as session:
        await session.initialize()

        async def call(name, arguments, **more):
            result = await session.call_tool(name, arguments, **more)
            if result.isError:
                errors.append(f"{name}: {result.content}")
            return result

        tools = [tool.name for tool in (await session.list_tools()).tools]
        await call("login", {})
        found = await call("search", {"query": "gpt-4o-mini", "limit": 2})
        asked = {"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 60}
        plain = await call("prompt", asked)
        streamed = await call("prompt", asked, progress_callback=note)
        usage = await call("usage", {})
        resources = (await session.list_resources()).resources
        templates = (await session.list_resource_templates()).resourceTemplates
        contents = (await session.read_resource(resources[0].uri)).contents
        prompts = (await session.list_prompts()).prompts
        messages = (await session.get_prompt("spend_report")).messages
        await session.send_ping()
        try:
            refused = (await session.call_tool("no such tool", {})).isError
        except McpError as error:
            refused = error.error.code
    told = {
        "errors": errors,
        "tools": tools,
        "hit": json.loads(json.dumps(getattr(found, "structuredContent", None) or {})).get("results", [{}])[0].get("id"),
        "plain": plain.content[0].text,
        "streamed": streamed.content[0].text,
        "notes": len(notes),
        "usage": usage.content[0].text,
        "lists": [len(resources), len(templates), len(contents), len(prompts), len(messages)],
        "refused": refused,
    }
    print(json.dumps(told))


asyncio.run(main())
