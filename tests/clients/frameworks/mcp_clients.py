"""Frameworks in Python use the MCP server, each behind the same function: what tools it finds, and what four of them answer.

mcp_clients.py <client> <server as JSON: {"command", "args", "env"} or {"url", "sse"}> <root of a model that follows a script>. What came of it is the JSON in the last line.
"""

import asyncio
import json
import sys

CALLS = [
    ("login", {}),
    ("search", {"query": "gpt-4o-mini", "kind": "model", "limit": 1}),
    ("prompt", {"model": "gpt-4o-mini", "input": "hi"}),
    ("usage", {}),
]


async def langchain_mcp_adapters(server: dict, _) -> dict:
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.tools import load_mcp_tools

    kind = "stdio" if "command" in server else "sse" if server.pop("sse") else "streamable_http"
    async with MultiServerMCPClient({"lava": {"transport": kind, **server}}).session("lava") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}
        return {"tools": list(tools), "answers": {name: str(await tools[name].ainvoke(values)) for name, values in CALLS}}


async def mcp_use(server: dict, _) -> dict:
    from mcp_use import MCPClient

    server.pop("sse", None)
    client = MCPClient.from_dict({"mcpServers": {"lava": server}})
    session = await client.create_session("lava")
    try:
        tools = [tool.name for tool in await session.list_tools()]
        answers = {name: await session.call_tool(name, values) for name, values in CALLS}
        return {"tools": tools, "answers": {name: answer.content[0].text for name, answer in answers.items()}}
    finally:
        await client.close_all_sessions()


async def google_adk(server: dict, script: str) -> dict:
    """Its tools go through Google's own types before a model sees them; the model is the script behind Google's HTTP."""
    from google.adk.agents import LlmAgent
    from google.adk.runners import InMemoryRunner
    from google.adk.tools.mcp_tool import McpToolset
    from google.adk.tools.mcp_tool.mcp_session_manager import SseConnectionParams, StdioConnectionParams, StreamableHTTPConnectionParams
    from google.genai import types
    from mcp import StdioServerParameters

    if "command" in server:
        connection = StdioConnectionParams(server_params=StdioServerParameters(**server), timeout=20)
    else:
        connection = (SseConnectionParams if server["sse"] else StreamableHTTPConnectionParams)(url=server["url"])
    toolset = McpToolset(connection_params=connection)
    agent = LlmAgent(name="buyer", model="gemini-2.5-flash", instruction="Follow the script.", tools=[toolset])
    answers = {}
    runner = InMemoryRunner(agent=agent, app_name="buyer")
    session = await runner.session_service.create_session(app_name="buyer", user_id="it")
    said = types.Content(role="user", parts=[types.Part(text="Buy an answer.")])
    async for event in runner.run_async(user_id="it", session_id=session.id, new_message=said):
        for answer in event.get_function_responses():
            answers[answer.name] = json.dumps(answer.response)
    tools = [tool.name for tool in await toolset.get_tools()]
    await toolset.close()
    return {"tools": tools, "answers": answers}


async def fastmcp(server: dict, _) -> dict:
    from fastmcp import Client
    from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport

    if "command" in server:
        transport = StdioTransport(**server)
    else:
        transport = (SSETransport if server["sse"] else StreamableHttpTransport)(server["url"])
    async with Client(transport) as client:
        tools = [tool.name for tool in await client.list_tools()]
        return {"tools": tools, "answers": {name: (await client.call_tool(name, values)).content[0].text for name, values in CALLS}}


async def pydantic_ai(server: dict, script: str) -> dict:
    from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
    from pydantic_ai import Agent
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    if "command" in server:
        transport = StdioTransport(**server)
    else:
        transport = (SSETransport if server["sse"] else StreamableHttpTransport)(server["url"])
    toolset = MCPToolset(transport)
    agent = Agent(OpenAIChatModel("script", provider=OpenAIProvider(api_key="none", base_url=f"{script}/v1")), toolsets=[toolset])
    async with agent:
        run = await agent.run("Buy an answer.")
        tools = [tool.name for tool in await toolset.list_tools()]
    parts = [part for message in run.all_messages() for part in message.parts if part.part_kind == "tool-return"]
    return {"tools": tools, "answers": {part.tool_name: str(part.content) for part in parts}}


async def smolagents(server: dict, _) -> dict:
    from mcp import StdioServerParameters
    from smolagents import MCPClient

    if "command" in server:
        target = StdioServerParameters(**server)
    else:
        target = {"url": server["url"], "transport": "sse" if server["sse"] else "streamable-http"}

    def work() -> dict:
        with MCPClient(target, structured_output=False) as found:
            tools = {tool.name: tool for tool in found}
            return {"tools": list(tools), "answers": {name: str(tools[name](**values)) for name, values in CALLS}}

    return await asyncio.to_thread(work)


def main() -> None:
    client = globals()[sys.argv[1].replace("-", "_")]
    print(json.dumps(asyncio.run(client(json.loads(sys.argv[2]), sys.argv[3]))), flush=True)


main()
