"""The official OpenAI SDK with a spend key, against `lava-mcp gateway`: nothing but key and base URL are set."""

import httpx2
import openai

MODEL = "gpt-4o-mini"


def test_plain_streamed_and_listed(gateway):
    key = gateway.spend_key(spend_limit={"amount": "1.00", "cycle": "daily"})
    client = openai.OpenAI(api_key=key, base_url=gateway.url, http_client=httpx2.Client(trust_env=False))
    messages = [{"role": "user", "content": "Hello"}]
    plain = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=100)
    assert "sandbox" in plain.choices[0].message.content and plain.usage.total_tokens > 0
    pieces = list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=100, stream=True))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == plain.choices[0].message.content
    with_usage = list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=100, stream=True, stream_options={"include_usage": True}))
    assert with_usage[-1].usage == plain.usage and not with_usage[-1].choices
    assert MODEL in [model.id for model in client.models.list()]
