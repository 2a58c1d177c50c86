"""An agent framework runs the tools: OpenAI's Agents SDK, with a model that follows a script instead of thinking."""

import json
from decimal import Decimal

import pytest
from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp
from harness import TOOLS, WHOLE_KEY, binary
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from programs import serve

pytestmark = pytest.mark.anyio

# It would report every run to its maker.
set_tracing_disabled(True)


class Script(Model):
    """Asks for these tools one after the other, then says what the last one answered."""

    def __init__(self, *steps: tuple[str, dict]):
        self._steps = list(steps)
        self.answers: list[str] = []
        self.tools: list[str] = []

    async def get_response(self, system_instructions, input, model_settings, tools, *_, **__) -> ModelResponse:
        self.tools = [tool.name for tool in tools]
        self.answers = [item["output"] for item in input if isinstance(item, dict) and item.get("type") == "function_call_output"]
        done = len(self.answers)
        if done < len(self._steps):
            name, arguments = self._steps[done]
            item = ResponseFunctionToolCall(type="function_call", call_id=f"call-{done}", name=name, arguments=json.dumps(arguments))
        else:
            said = ResponseOutputText(type="output_text", text=str(self.answers[-1]), annotations=[])
            item = ResponseOutputMessage(type="message", id="said", role="assistant", status="completed", content=[said])
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        raise NotImplementedError("the runs of these tests are not streamed")


@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
async def test_an_agent_buys_an_answer(machine, transport):
    script = Script(
        ("prompt", {"model": "gpt-4o-mini", "input": "hi"}),
        ("login", {}),
        ("search", {"query": "gpt-4o-mini", "kind": "model", "limit": 1}),
        ("prompt", {"model": "gpt-4o-mini", "input": "hi"}),
    )

    async def work(connection) -> str:
        # The default timeout of 5 s a request is kept on purpose: it is the shortest of all clients.
        async with connection as tools:
            agent = Agent(name="buyer", instructions="Follow the script.", mcp_servers=[tools], model=script)
            return (await Runner.run(agent, "Buy an answer.")).final_output

    if transport == "stdio":
        said = await work(MCPServerStdio({"command": str(binary()), "args": ["--sandbox"], "env": machine.env}))
    else:
        with serve(machine) as server:
            kind, url = (MCPServerStreamableHttp, server.url) if transport == "http" else (MCPServerSse, server.sse)
            said = await work(kind({"url": url}))
    assert script.tools == TOOLS
    # The refusal reaches the model in words that tell it what to do.
    assert "login" in str(script.answers[0]) and "not_logged_in" in str(script.answers[0])
    assert "sandbox" in said and not WHOLE_KEY.search(str(script.answers))
    (entry,) = machine.ledger.ended(1)
    assert Decimal(entry.amount_n) > 0
