"""Clients in Python, each behind the same few functions: a plain answer, a streamed one, and one that needs a tool.

python_clients.py <client> <steps as JSON: [{"step", "root", "key", "model"}]>. What came of each step is a line of JSON: {"step", "text", "pieces"} or {"step", "error"}.
Nothing but key, base URL and model is set: what a client does by itself is what its users meet.
"""

import asyncio
import dataclasses
import json
import sys
import traceback

QUESTION = "How warm is it in Graz?"


def weather(city: str) -> str:
    """How warm it is in a city.

    Args:
        city: The city's name.
    """
    return f"17 degrees in {city}"


def form():
    """What an answer has to look like, where a client asks for a form."""
    import pydantic

    class Answer(pydantic.BaseModel):
        degrees: int

    return Answer


@dataclasses.dataclass
class Step:
    step: str
    root: str
    key: str
    model: str

    @property
    def url(self) -> str:
        return f"{self.root}/v1"


def langchain(step: Step, model):
    from langchain_core.messages import HumanMessage, ToolMessage

    if step.step == "stream":
        pieces = [chunk.text for chunk in model.stream(QUESTION) if chunk.text]
        return "".join(pieces), len(pieces)
    if step.step == "form":
        return str(model.with_structured_output(form(), method="json_schema").invoke(QUESTION).degrees)
    if step.step != "tool":
        return model.invoke(QUESTION).text
    with_tools = model.bind_tools([weather])
    said = [HumanMessage(QUESTION), asked := with_tools.invoke(QUESTION)]
    said += [ToolMessage(weather(**call["args"]), tool_call_id=call["id"]) for call in asked.tool_calls]
    return with_tools.invoke(said).text


def langchain_openai(step: Step):
    from langchain_openai import ChatOpenAI

    return langchain(step, ChatOpenAI(model=step.model, api_key=step.key, base_url=step.url))


def langchain_anthropic(step: Step):
    from langchain_anthropic import ChatAnthropic

    return langchain(step, ChatAnthropic(model=step.model, api_key=step.key, base_url=step.root))


def pydantic_ai(step: Step, model):
    from pydantic_ai import Agent, NativeOutput

    if step.step == "form":
        return str(Agent(model, output_type=NativeOutput(form())).run_sync(QUESTION).output.degrees)
    agent = Agent(model, tools=[weather] if step.step == "tool" else [])
    if step.step != "stream":
        return agent.run_sync(QUESTION).output

    async def stream():
        async with agent.run_stream(QUESTION) as run:
            pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
            return "".join(pieces), len(pieces)

    return asyncio.run(stream())


def pydantic_ai_openai(step: Step):
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return pydantic_ai(step, OpenAIChatModel(step.model, provider=OpenAIProvider(api_key=step.key, base_url=step.url)))


def pydantic_ai_anthropic(step: Step):
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(api_key=step.key, base_url=step.root)
    return pydantic_ai(step, AnthropicModel(step.model, provider=AnthropicProvider(anthropic_client=client)))


def litellm(step: Step, model: str, base_url: str):
    import litellm

    said = [{"role": "user", "content": QUESTION}]
    ask = {"model": model, "api_key": step.key, "base_url": base_url, "messages": said}
    if step.step == "stream":
        pieces = [piece for chunk in litellm.completion(**ask, stream=True) if chunk.choices and (piece := chunk.choices[0].delta.content)]
        return "".join(pieces), len(pieces)
    if step.step == "tool":
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        ask["tools"] = [{"type": "function", "function": {"name": "weather", "description": weather.__doc__, "parameters": parameters}}]
        message = litellm.completion(**ask).choices[0].message
        said.append(message.model_dump())
        for call in message.tool_calls:
            said.append({"role": "tool", "tool_call_id": call.id, "content": weather(**json.loads(call.function.arguments))})
    if step.step == "form":
        answer = form()
        return str(answer.model_validate_json(litellm.completion(**ask, response_format=answer).choices[0].message.content).degrees)
    return litellm.completion(**ask).choices[0].message.content


def litellm_openai(step: Step):
    return litellm(step, f"openai/{step.model}", step.url)


def litellm_anthropic(step: Step):
    return litellm(step, f"anthropic/{step.model}", step.root)


def instructor(step: Step):
    """It wants every answer in a form, by way of a tool or of a JSON schema."""
    import instructor
    import openai

    client = openai.OpenAI(api_key=step.key, base_url=step.url)
    mode = instructor.Mode.JSON_SCHEMA if step.step == "form" else instructor.Mode.TOOLS
    ask = {"model": step.model, "messages": [{"role": "user", "content": QUESTION}], "max_retries": 0, "response_model": form()}
    wrapped = instructor.from_openai(client, mode=mode)
    if step.step == "stream":
        pieces = list(wrapped.chat.completions.create_partial(**ask))
        return str(pieces[-1].degrees), len(pieces)
    return str(wrapped.chat.completions.create(**ask).degrees)


def smolagents(step: Step, model):
    from smolagents import ToolCallingAgent, tool

    said = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    if step.step == "stream":
        pieces = [delta.content for delta in model.generate_stream(said) if delta.content]
        return "".join(pieces), len(pieces)
    if step.step == "tool":
        return str(ToolCallingAgent(tools=[tool(weather)], model=model, max_steps=4, verbosity_level=0).run(QUESTION))
    return model.generate(said).content


def smolagents_openai(step: Step):
    from smolagents import OpenAIModel

    return smolagents(step, OpenAIModel(step.model, api_base=step.url, api_key=step.key))


def crewai(step: Step, provider: str, base_url: str):
    from crewai import LLM, Agent
    from crewai.tools import tool

    llm = LLM(model=step.model, provider=provider, api_key=step.key, base_url=base_url, stream=step.step == "stream")
    if step.step != "tool":
        return llm.call(QUESTION)
    agent = Agent(role="weatherman", goal="say how warm it is", backstory="none", tools=[tool(weather)], llm=llm)
    return agent.kickoff(QUESTION).raw


def crewai_openai(step: Step):
    return crewai(step, "openai", step.url)


def crewai_anthropic(step: Step):
    return crewai(step, "anthropic", step.root)


def llama_index(step: Step):
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(step.model, api_base=step.url, api_key=step.key, is_chat_model=True, is_function_calling_model=True)
    if step.step == "stream":
        pieces = [chunk.delta for chunk in llm.stream_chat([ChatMessage(QUESTION)]) if chunk.delta]
        return "".join(pieces), len(pieces)
    if step.step != "tool":
        return llm.chat([ChatMessage(QUESTION)]).message.content

    async def work():
        return str(await FunctionAgent(tools=[weather], llm=llm).run(QUESTION))

    return asyncio.run(work())


CLIENTS = {
    name.replace("_", "-"): globals()[name]
    for name in (
        "langchain_openai",
        "langchain_anthropic",
        "pydantic_ai_openai",
        "pydantic_ai_anthropic",
        "litellm_openai",
        "litellm_anthropic",
        "instructor",
        "smolagents_openai",
        "crewai_openai",
        "crewai_anthropic",
        "llama_index",
    )
}


def main() -> None:
    client = CLIENTS[sys.argv[1]]
    for values in json.loads(sys.argv[2]):
        step = Step(**values)
        try:
            answer = client(step)
            text, pieces = answer if isinstance(answer, tuple) else (answer, 1)
            outcome = {"text": text, "pieces": pieces}
        except Exception as error:  # whatever a client raises is what its user sees
            outcome = {"error": f"{type(error).__name__}: {error}"}
            if "-v" in sys.argv:
                traceback.print_exc()
        # On a line of its own: some libraries write to standard output as well.
        print("\n" + json.dumps({"step": step.step, **outcome}), flush=True)


main()
