"""The sandbox as the official SDKs see it: it behaves as a provider does, and what it answers depends on nothing but what it is asked."""

import base64
import json
import re
import time
from decimal import Decimal

import anthropic
import httpx2
import openai
import pytest
from test_sdks import booked

OPENAI, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
HELLO = [{"role": "user", "content": "Hello"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTIONS = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("get_weather", "get_time")]
TOOLS = [{"name": name, "input_schema": PARAMETERS} for name in ("get_weather", "get_time")]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
PDF = base64.b64encode(b"%PDF-1.4 <</Type /Pages>> <</Type /Page>> <</Type /Page>>").decode()


@pytest.fixture(scope="module")
def chat(gateway):
    client = openai.OpenAI(api_key=gateway.spend_key(), base_url=gateway.url, max_retries=0, http_client=httpx2.Client(trust_env=False))
    return lambda **body: client.chat.completions.create(**{"model": OPENAI, "messages": HELLO, **body})


@pytest.fixture(scope="module")
def claude(gateway):
    key = gateway.spend_key(request_shape="anthropic")
    return anthropic.Anthropic(api_key=key, base_url=gateway.root, max_retries=0, http_client=httpx2.Client(trust_env=False))


@pytest.fixture(scope="module")
def messages(claude):
    return lambda **body: claude.messages.create(**{"model": CLAUDE, "max_tokens": 500, "messages": HELLO, **body})


def without_ids(answer) -> str:
    said = re.sub(r'"(chatcmpl-|call_|msg_|toolu_)\w+"', '"id"', answer.model_dump_json())
    return re.sub(r'"created":\d+', '"created":0', said)


def test_the_same_request_gets_the_same_answer_apart_from_its_ids(chat, messages):
    before = int(time.time())
    one, two = chat(tools=FUNCTIONS, tool_choice="required"), chat(tools=FUNCTIONS, tool_choice="required")
    assert one.id != two.id and without_ids(one) == without_ids(two)
    assert before <= one.created <= time.time()
    assert re.fullmatch(r"chatcmpl-\w{29}", one.id) and re.fullmatch(r"call_\w{24}", one.choices[0].message.tool_calls[0].id)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    one, two = messages(max_tokens=2000, thinking=thinking), messages(max_tokens=2000, thinking=thinking)
    assert one.id != two.id and without_ids(one) == without_ids(two)
    called = messages(tools=TOOLS, tool_choice={"type": "any"})
    assert re.fullmatch(r"msg_01\w{22}", called.id) and re.fullmatch(r"toolu_01\w{22}", called.content[0].id)


# What is said, what is chosen, and the tools that are called.
CALLS = [
    ("hi", None, []),
    ("How is the weather in Oslo? What time is it?", None, []),
    ("Please use get_weather for Oslo.", None, ["get_weather"]),
    ("Call get_time and get_weather.", None, ["get_weather", "get_time"]),
    ("Please use get_weather for Oslo.", "none", []),
    ("hi", "any", ["get_weather"]),
    ("get_time, please", "any", ["get_time"]),
    ("hi", "get_time", ["get_time"]),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("said", "choice", "expected"), CALLS)
def test_a_tool_is_called_only_when_it_is_asked_for_or_named(chat, messages, claude, said, choice, expected, stream):
    told = [{"role": "user", "content": said}]
    by_name = choice not in (None, "none", "any")
    for_openai = {None: {}, "none": {"tool_choice": "none"}, "any": {"tool_choice": "required"}}
    more = {"tool_choice": {"type": "function", "function": {"name": choice}}} if by_name else for_openai[choice]
    answer = chat(messages=told, tools=FUNCTIONS, stream=stream, **more)
    if stream:
        state = openai.lib.streaming.chat.ChatCompletionStreamState()
        for chunk in answer:
            state.handle_chunk(chunk)
        answer = state.get_final_completion()
    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == expected
    assert all(json.loads(call.function.arguments) == {"city": "sandbox"} for call in calls)
    assert answer.choices[0].finish_reason == ("tool_calls" if expected else "stop")

    more = {"tool_choice": {"type": "tool", "name": choice}} if by_name else ({"tool_choice": {"type": choice}} if choice else {})
    body = {"model": CLAUDE, "max_tokens": 500, "messages": told, "tools": TOOLS, **more}
    if stream:
        with claude.messages.stream(**body) as events:
            answer = events.get_final_message()
    else:
        answer = messages(**body)
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert [call.name for call in calls] == expected and all(call.input == {"city": "sandbox"} for call in calls)
    assert answer.stop_reason == ("tool_use" if expected else "end_turn")


# What is chosen, and the tools that are called one after the other until a text comes, five times at most.
LOOPS = [
    (None, ["get_weather"]),
    ("any", ["get_weather", "get_time", "get_weather", "get_weather", "get_weather"]),
    ("get_time", ["get_time"] * 5),
]


@pytest.mark.parametrize(("choice", "expected"), LOOPS)
def test_the_loop_of_an_agent_ends_unless_calls_are_forced(chat, messages, choice, expected):
    told, called = [{"role": "user", "content": "Use get_weather."}], []
    named = {"type": "function", "function": {"name": choice}}
    more = {"tool_choice": "required" if choice == "any" else named} if choice else {}
    for _ in range(5):
        message = chat(messages=told, tools=FUNCTIONS, **more).choices[0].message
        if not message.tool_calls:
            break
        called += [call.function.name for call in message.tool_calls]
        told.append(message.model_dump(exclude_none=True))
        told += [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls]
    assert called == expected and (choice or "rain" in message.content), told
    told, called = [{"role": "user", "content": "Use get_weather."}], []
    more = {"tool_choice": {"type": "any"} if choice == "any" else {"type": "tool", "name": choice}} if choice else {}
    for _ in range(5):
        message = messages(messages=told, tools=TOOLS, **more)
        if message.stop_reason != "tool_use":
            break
        called += [block.name for block in message.content if block.type == "tool_use"]
        told.append({"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]})
        results = [{"type": "tool_result", "tool_use_id": block.id, "content": "rain"} for block in message.content if block.type == "tool_use"]
        told.append({"role": "user", "content": results})
    assert called == expected and (choice or "rain" in message.content[0].text), told


def test_one_call_at_a_time_where_that_is_wanted(chat, messages):
    told = [{"role": "user", "content": "Call get_time and get_weather."}]
    assert len(chat(messages=told, tools=FUNCTIONS, parallel_tool_calls=False).choices[0].message.tool_calls) == 1
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert len(messages(messages=told, tools=TOOLS, tool_choice=choice).content) == 1


def test_several_choices_are_counted(chat):
    one, three = chat(), chat(n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert {choice.message.content for choice in three.choices} == {one.choices[0].message.content}
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens and three.usage.prompt_tokens == one.usage.prompt_tokens


def test_stops_and_caps(chat, messages):
    stopped = chat(stop=["nowhere", " sandbox"])
    assert (stopped.choices[0].finish_reason, stopped.choices[0].message.content) == ("stop", "This is the lava-mcp")
    capped = chat(max_tokens=7)
    assert (capped.choices[0].finish_reason, capped.usage.completion_tokens) == ("length", 7)
    stopped = messages(stop_sequences=["nowhere", " sandbox"])
    assert (stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text) == ("stop_sequence", " sandbox", "This is the lava-mcp")
    capped = messages(max_tokens=7)
    assert (capped.stop_reason, capped.stop_sequence, capped.usage.output_tokens) == ("max_tokens", None, 7)
    # A call that is cut short says so too.
    assert chat(max_tokens=5, tools=FUNCTIONS, tool_choice="required").choices[0].finish_reason == "length"
    assert messages(max_tokens=5, tools=TOOLS, tool_choice={"type": "any"}).stop_reason == "max_tokens"


def test_log_probabilities(chat):
    choice = chat(logprobs=True, top_logprobs=3).choices[0]
    content = choice.logprobs.content
    assert bytes(byte for token in content for byte in token.bytes).decode() == choice.message.content
    assert all(len(token.top_logprobs) == 3 and token.top_logprobs[0].token == token.token and token.logprob <= 0 for token in content)
    assert chat().choices[0].logprobs is None
    chunks = [chunk for chunk in chat(logprobs=True, stream=True) if chunk.choices and chunk.choices[0].logprobs]
    assert [token.token for chunk in chunks for token in chunk.choices[0].logprobs.content] == [token.token for token in content]


def test_usage_in_a_stream_only_where_it_is_asked_for(chat):
    assert all(chunk.usage is None and chunk.choices for chunk in chat(stream=True))
    assert [chunk.usage for chunk in chat(stream=True, stream_options={"include_usage": True})][-1] == chat().usage


def test_reasoning_is_counted(chat):
    plain, reasoned = chat(model="gpt-5-mini"), chat(model="gpt-5-mini", reasoning_effort="low")
    hidden = reasoned.usage.completion_tokens_details.reasoning_tokens
    assert hidden > 0 and plain.usage.completion_tokens_details.reasoning_tokens == 0
    assert reasoned.usage.completion_tokens == plain.usage.completion_tokens + hidden


@pytest.mark.parametrize("kind", ["enabled", "adaptive", "disabled", "omitted"])
def test_thinking(claude, messages, kind):
    thinking = {
        "enabled": {"type": "enabled", "budget_tokens": 1024},
        "adaptive": {"type": "adaptive"},
        "disabled": {"type": "disabled"},
        "omitted": {"type": "adaptive", "display": "omitted"},
    }[kind]
    body = {"model": CLAUDE, "max_tokens": 2000, "messages": HELLO, "thinking": thinking}
    plain = messages(**body)
    with claude.messages.stream(**body) as events:
        streamed = events.get_final_message()
    assert without_ids(streamed.model_copy(update={"usage": plain.usage})) == without_ids(plain)
    assert streamed.usage.output_tokens == plain.usage.output_tokens
    if kind == "disabled":
        assert [block.type for block in plain.content] == ["text"]
        return
    thought, said = plain.content
    assert (thought.type, said.type) == ("thinking", "text") and thought.signature
    assert bool(thought.thinking) == (kind != "omitted")
    assert plain.usage.output_tokens > plain.usage.output_tokens_details.thinking_tokens > 0
    # What was thought may be sent back.
    told = [*HELLO, {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in plain.content]}, *HELLO]
    assert messages(**{**body, "messages": told}).stop_reason == "end_turn"


def test_images_and_documents_are_taken_and_counted(chat, claude, messages):
    text = {"type": "text", "text": "Hello"}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    plain = chat().usage.prompt_tokens
    assert chat(messages=[{"role": "user", "content": [image, text]}]).usage.prompt_tokens > plain + 500
    assert chat(messages=[{"role": "user", "content": [file, text]}]).usage.prompt_tokens == plain + 2 * 1500
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    plain = messages().usage.input_tokens
    for block, tokens in [(image, 1600), (pdf, 3000)]:
        told = [{"role": "user", "content": [block, text]}]
        assert messages(messages=told).usage.input_tokens == plain + tokens
        assert claude.messages.count_tokens(model=CLAUDE, messages=told).input_tokens == plain + tokens


def test_what_is_to_be_cached_is_written_and_paid(gateway, wire):
    key = gateway.key_object(request_shape="anthropic", spend_limit={"amount": "5.00", "cycle": "daily"})
    client = anthropic.Anthropic(api_key=key["key"], base_url=wire.root, http_client=httpx2.Client(trust_env=False))
    system = [{"type": "text", "text": "word " * 2000, "cache_control": {"type": "ephemeral"}}]
    body = {"model": CLAUDE, "system": system, "messages": HELLO}
    usage = client.messages.create(**body, max_tokens=100).usage
    assert usage.cache_creation_input_tokens > 2000 and usage.cache_read_input_tokens == 0
    assert (usage.cache_creation.ephemeral_5m_input_tokens, usage.cache_creation.ephemeral_1h_input_tokens) == (usage.cache_creation_input_tokens, 0)
    report = booked(gateway, wire.last.headers["x-lava-request-id"])
    # The list prices of the model: 1 and 5 USD a million, and 1.25 for what is written to the cache.
    expected = usage.input_tokens + 5 * usage.output_tokens + Decimal("1.25") * usage.cache_creation_input_tokens
    assert abs(Decimal(report["cost"]) - expected / 10**6) < Decimal("0.00000001"), report
    assert client.messages.count_tokens(**body).input_tokens == usage.input_tokens + usage.cache_creation_input_tokens


def test_embeddings(gateway):
    client = openai.OpenAI(api_key=gateway.spend_key(), base_url=gateway.url, http_client=httpx2.Client(trust_env=False))
    forward = f"{gateway.url}/forward?u=https://api.openai.com/v1/embeddings"
    ask = lambda **body: client.post(forward, body={"model": "text-embedding-3-small", **body}, cast_to=openai.types.CreateEmbeddingResponse)
    plain = ask(input=["one", "two"], dimensions=8)
    assert [len(item.embedding) for item in plain.data] == [8, 8] and plain.data[0].embedding != plain.data[1].embedding
    packed = ask(input=["one", "two"], dimensions=8, encoding_format="base64")
    assert len(base64.b64decode(packed.data[0].embedding)) == 8 * 4
    tokens = ask(input=[1, 2, 3])
    assert len(tokens.data) == 1 and tokens.usage.prompt_tokens == 3


USED = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]}

BAD_CHATS = [
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", None),
    ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ({"temperature": -1}, "temperature", "decimal_below_min_value"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
    ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value"),
    ({"n": 129}, "n", "integer_above_max_value"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "integer_above_max_value"),
    ({"top_logprobs": 2}, "top_logprobs", None),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
    ({"messages": [*HELLO, {"role": "tool", "tool_call_id": "call_1", "content": "x"}]}, "messages.[1].role", None),
    ({"messages": [*HELLO, USED, {"role": "tool", "tool_call_id": "call_2", "content": "x"}]}, "messages.[2].tool_call_id", None),
    ({"messages": [*HELLO, USED, *HELLO]}, "messages.[2].role", None),
    ({"messages": [*HELLO, USED]}, "messages.[1].role", None),
    ({"tool_choice": "required"}, "tool_choice", None),
    ({"tools": FUNCTIONS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", None),
    ({"tools": [{"type": "function", "function": {"name": "two words"}}]}, "tools[0].function.name", "invalid_value"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]}, "tools[0].function.parameters", "invalid_function_parameters"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
]


@pytest.mark.parametrize(("body", "param", "code"), BAD_CHATS)
def test_openais_refusals(chat, body, param, code):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            chat(stream=stream, **body)
        error = refused.value
        # The gateway has a code of its own where it passes an error on without the provider's.
        assert (error.status_code, error.type) == (400, "invalid_request_error"), error.body
        assert error.param in (param, None) and error.code in (code, "upstream_error"), error.body
        assert error.body["message"]


RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}]}

BAD_MESSAGES = [
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
    ({"messages": [{"role": "system", "content": "hi"}]}, 'first message must use the "user" role'),
    ({"messages": [{"role": "assistant", "content": "hi"}]}, 'messages: first message must use the "user" role'),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "messages: text content blocks must be non-empty"),
    ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages.0.content.0.type: Field required"),
    ({"messages": [*HELLO, RESULT]}, "messages.1.content.0: unexpected `tool_use_id`"),
    ({"messages": [*HELLO, USE, *HELLO]}, "messages.1: `tool_use` ids were found without"),
    ({"messages": [*HELLO, USE]}, "messages.1: `tool_use` ids were found without"),
    ({"temperature": 1.1}, "temperature: Input should be less than or equal to 1"),
    ({"temperature": -0.1}, "temperature: Input should be greater than or equal to 0"),
    ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
    ({"tools": [{"name": "two words", "input_schema": PARAMETERS}]}, "tools.0.custom.name: String should match pattern"),
    ({"tools": [{"name": "f", "input_schema": {"type": "string"}}]}, "tools.0.custom.input_schema.type: Input should be 'object'"),
    ({"tools": [TOOLS[0], TOOLS[0]]}, "tools: Tool names must be unique."),
    ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "other"}}, "Tool 'other' not found in provided tools"),
    ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "`max_tokens` must be greater than `thinking.budget_tokens`."),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: Input should be 'json_schema'"),
]


@pytest.mark.parametrize(("body", "says"), BAD_MESSAGES)
def test_anthropics_refusals(messages, body, says):
    with pytest.raises(anthropic.BadRequestError) as refused:
        # Not every parameter of the API is one of the SDK's.
        messages(extra_body=body)
    body = refused.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert says in body["error"]["message"], body


def test_results_that_belong_to_their_calls_pass(chat, messages):
    told = [*HELLO, USED, {"role": "tool", "tool_call_id": "call_1", "content": "rain"}, *HELLO]
    assert chat(messages=told).choices[0].finish_reason == "stop"
    # A user's turn may be split, and say more than the result.
    told = [*HELLO, USE, {"role": "user", "content": [*RESULT["content"], {"type": "text", "text": "thanks"}]}, *HELLO]
    assert messages(messages=told).stop_reason == "end_turn"
