"""A model that follows a script instead of thinking, behind the HTTP of four providers: OpenAI's chat and Responses, Anthropic's messages, Google's generateContent.

It keeps no state: how many tools' results a request carries is how far its conversation has come. So requests that a client makes beside it (a title, a
count of tokens, a second try) disturb nothing, and one upstream serves many conversations.
"""

import dataclasses
import http.server
import itertools
import json
import re
import threading

INPUT_TOKENS, OUTPUT_TOKENS = 21, 13

DONE = "The script is done."


@dataclasses.dataclass
class Call:
    """The model asks for a tool; its name may be a pattern, since some clients put a prefix before it."""

    tool: str
    arguments: dict


@dataclasses.dataclass
class Say:
    text: str


@dataclasses.dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    json: dict

    @property
    def dialect(self) -> str | None:
        path = self.path.partition("?")[0].rstrip("/")
        endings = {"/chat/completions": "chat", "/messages": "messages", "/responses": "responses", "enerateContent": "gemini"}
        return next((dialect for ending, dialect in endings.items() if path.endswith(ending)), None)

    @property
    def stream(self) -> bool:
        return bool(self.json.get("stream")) or ":stream" in self.path

    @property
    def tools(self) -> list[str]:
        """The tools that are offered, by their names."""
        found = []
        for tool in self.json.get("tools") or []:
            for function in tool.get("functionDeclarations") or [tool.get("function") or tool]:
                # Codex offers the tools of a server as one namespace.
                inner = function.get("tools") or [function]
                found.extend(f"{function['name']}__{item['name']}" if item is not function else item.get("name", item.get("type", "")) for item in inner)
        return found

    @property
    def results(self) -> list[str]:
        """What the tools answered, oldest first, as the model reads it."""
        body = self.json
        match self.dialect:
            case "chat":
                # smolagents writes what a tool answered into a message of the user's.
                said = [(item["role"], json.dumps(item.get("content"))) for item in body["messages"]]
                return [text for role, text in said if role == "tool" or (role == "user" and "Observation:" in text)]
            case "messages":
                blocks = [block for item in body["messages"] if isinstance(item["content"], list) for block in item["content"]]
                return [json.dumps(block.get("content", "")) for block in blocks if block["type"] == "tool_result"]
            case "responses":
                items = body["input"] if isinstance(body["input"], list) else []
                return [json.dumps(item["output"]) for item in items if item.get("type") == "function_call_output"]
            case "gemini":
                parts = [part for item in body["contents"] for part in item["parts"]]
                return [json.dumps(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part]
        return []


class Scripted:
    """Runs in threads of its own. Use as a context manager; `steps` can be changed while it runs.

    `instead` are calls of tools by which some frameworks want to be answered; where one is offered, the answer is not a text.
    """

    def __init__(self, *steps: Call | Say, instead: tuple[Call, ...] = ()):
        self.steps = list(steps)
        self._instead = instead
        self.asked: list[Asked] = []
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
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def results(self) -> list[str]:
        """What all the tools of the script answered, in the request that had most of them."""
        return max((asked.results for asked in self.asked), key=len, default=[])

    def _next(self, asked: Asked) -> Call | Say:
        tools, done = asked.tools, len(asked.results)
        step = self.steps[done] if tools and done < len(self.steps) else Say(DONE)
        if isinstance(step, Call) and (named := offered(step, tools)):
            return named
        for call in self._instead:
            if named := offered(call, tools):
                return named
        if isinstance(step, Call):
            return Say(f"There is no tool {step.tool} among {', '.join(tools)}.")
        return self.steps[-1] if self.steps and isinstance(self.steps[-1], Say) else step

    def _handler(scripted):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(body or b"{}"))
                scripted.asked.append(asked)
                if "countTokens" in asked.path or asked.path.partition("?")[0].endswith("count_tokens"):
                    return self._plain(200, {"totalTokens": INPUT_TOKENS, "input_tokens": INPUT_TOKENS})
                if asked.dialect is None:
                    return self._plain(404, {"error": {"message": "no such path", "type": "invalid_request_error"}})
                answer = ANSWERS[asked.dialect](asked, scripted._next(asked))
                if asked.stream:
                    self._send("text/event-stream", b"".join(answer))
                else:
                    self._plain(200, answer)

            def do_GET(self):
                self._plain(404, {"error": {"message": "no such path", "type": "invalid_request_error"}})

            do_HEAD = do_GET

            def _plain(self, status: int, value: dict):
                self._send("application/json", json.dumps(value).encode(), status)

            def _send(self, kind: str, body: bytes, status: int = 200):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


def offered(call: Call, tools: list[str]) -> Call | None:
    """The call with the name that the client gave the tool, if it offers it."""
    named = [name for name in tools if re.search(f"(?:^|lava_+){call.tool}$", name)]
    return Call(named[0], call.arguments) if named else None


ids = itertools.count(1)


def event(value: dict) -> bytes:
    named = f"event: {value['type']}\n" if "type" in value else ""
    return f"{named}data: {json.dumps(value)}\n\n".encode()


def halves(text: str) -> tuple[str, str]:
    """A stream comes in pieces."""
    return text[: len(text) // 2], text[len(text) // 2 :]


def chat(asked: Asked, step: Call | Say):
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
    common = {"id": f"chatcmpl-{next(ids)}", "created": 1_790_000_000, "model": asked.json["model"]}
    finish = "tool_calls" if isinstance(step, Call) else "stop"
    if isinstance(step, Call):
        function = {"name": step.tool, "arguments": json.dumps(step.arguments)}
        calls = [{"index": 0, "id": f"call_{next(ids)}", "type": "function", "function": function}]
    if not asked.stream:
        message = {"role": "assistant", "content": None, "tool_calls": calls} if isinstance(step, Call) else {"role": "assistant", "content": step.text}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
    if isinstance(step, Call):
        first, second = halves(function["arguments"])
        start = {**calls[0], "function": {**function, "arguments": first}}
        deltas = [{"role": "assistant", "content": None, "tool_calls": [start]}, {"tool_calls": [{"index": 0, "function": {"arguments": second}}]}]
    else:
        deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in halves(step.text))]
    chunk = {**common, "object": "chat.completion.chunk"}
    events = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if (asked.json.get("stream_options") or {}).get("include_usage"):
        events.append({**chunk, "choices": [], "usage": usage})
    return [*map(event, events), b"data: [DONE]\n\n"]


def messages(asked: Asked, step: Call | Say):
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
    common = {"id": f"msg_{next(ids)}", "type": "message", "role": "assistant", "model": asked.json["model"], "stop_sequence": None}
    finish = "tool_use" if isinstance(step, Call) else "end_turn"
    if isinstance(step, Call):
        block = {"type": "tool_use", "id": f"toolu_{next(ids)}", "name": step.tool, "input": step.arguments}
        start, pieces = {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in halves(json.dumps(step.arguments))]
    else:
        block = {"type": "text", "text": step.text}
        start, pieces = {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in halves(step.text)]
    if not asked.stream:
        return {**common, "content": [block], "stop_reason": finish, "usage": usage}
    return map(
        event,
        [
            {"type": "message_start", "message": {**common, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": start},
            *({"type": "content_block_delta", "index": 0, "delta": piece} for piece in pieces),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": finish, "stop_sequence": None}, "usage": {"output_tokens": OUTPUT_TOKENS}},
            {"type": "message_stop"},
        ],
    )


def responses(asked: Asked, step: Call | Say):
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    if isinstance(step, Call):
        item = {"type": "function_call", "id": f"fc_{next(ids)}", "call_id": f"call_{next(ids)}", "name": step.tool, "arguments": json.dumps(step.arguments)}
        namespaces = [tool["name"] for tool in asked.json.get("tools") or [] if tool["type"] == "namespace"]
        if space := next((name for name in namespaces if step.tool.startswith(f"{name}__")), None):
            item |= {"namespace": space, "name": step.tool.removeprefix(f"{space}__")}
    else:
        content = {"type": "output_text", "text": step.text, "annotations": []}
        item = {"type": "message", "id": f"msg_{next(ids)}", "role": "assistant", "content": [content]}
    item["status"] = "completed"
    response = {"id": f"resp_{next(ids)}", "object": "response", "created_at": 1_790_000_000, "model": asked.json["model"], "error": None}
    done = {**response, "status": "completed", "output": [item], "usage": usage}
    if not asked.stream:
        return done
    events = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]
    if isinstance(step, Say):
        events.insert(2, {"type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0, "delta": step.text})
    return [event({**value, "sequence_number": number}) for number, value in enumerate(events)]


def gemini(asked: Asked, step: Call | Say):
    part = {"functionCall": {"name": step.tool, "args": step.arguments}} if isinstance(step, Call) else {"text": step.text}
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS, "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS}
    answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted", "responseId": f"answer-{next(ids)}"}
    return [event(answer)] if asked.stream else answer


ANSWERS = {"chat": chat, "messages": messages, "responses": responses, "gemini": gemini}
