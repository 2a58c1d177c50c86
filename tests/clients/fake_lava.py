"""What is documented of hosted Lava's login and spend keys API, and a browser whose owner clicks Authorize at once."""

import contextlib
import http.server
import itertools
import json
import threading
import urllib.error
import urllib.parse
import urllib.request


class FakeLava:
    def __init__(self):
        self._numbers = itertools.count()
        self.codes: set[str] = set()
        self.secrets: set[str] = set()
        self.keys: dict[str, dict] = {}

    def __enter__(self):
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status: int, body: dict, location: str | None = None):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                if location:
                    self.send_header("location", location)
                self.end_headers()
                self.wfile.write(data)

            def body(self) -> dict:
                return json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")

            def is_owner(self) -> bool:
                return self.headers.get("authorization", "").removeprefix("Bearer ") in fake.secrets

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                if url.path == "/auth/connect":
                    code = fake.code()
                    back = f"http://127.0.0.1:{query['port']}/callback?code={code}&state={query['state']}"
                    return self.answer(303, {}, back)
                key = fake.keys.get(url.path.rsplit("/", 1)[-1])
                if key and self.is_owner():
                    return self.answer(200, {name: value for name, value in key.items() if name != "key"})
                return self.answer(404, {"error": {"code": "not_found", "message": "no"}})

            def do_DELETE(self):
                if self.is_owner() and fake.keys.pop(self.path.rsplit("/", 1)[-1], None):
                    return self.answer(200, {"success": True})
                return self.answer(404, {"error": {"code": "not_found", "message": "no"}})

            def do_POST(self):
                body = self.body()
                if self.path == "/v1/auth/callback":
                    if body.get("code") not in fake.codes:
                        return self.answer(400, {"error": {"code": "invalid_code", "message": "the code was used or is too old"}})
                    fake.codes.remove(body["code"])
                    return self.answer(200, {"wallet_id": "w", "merchant_id": "m", "account_id": "a", "secret_key_id": "sk_1", "secret_key": fake.secret()})
                if self.path == "/v1/spend_keys" and self.is_owner():
                    number = next(fake._numbers)
                    key = {
                        "spend_key_id": f"id-{number}", "key_preview": "lava_sk_fake0000****", "wallet_id": "w", "status": "active",
                        "request_shape": "openai", "rate_limit": None, "request_limit": None, "current_spend": "0", "total_spend": "0",
                        "current_requests": 0, "total_requests": 0, "last_used_at": None, "created_at": "2026-11-24T00:00:00Z",
                        "key": f"lava_sk_{number:032d}", **body,
                    }  # fmt: skip
                    fake.keys[key["spend_key_id"]] = key
                    return self.answer(201, key)
                return self.answer(401, {"error": {"code": "unauthorized", "message": "no"}})

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def code(self) -> str:
        code = f"code-{next(self._numbers)}"
        self.codes.add(code)
        return code

    def secret(self) -> str:
        secret = f"aks_live_{next(self._numbers):032d}"
        self.secrets.add(secret)
        return secret

    def env(self) -> dict:
        return {"LAVA_API_URL": self.url, "LAVA_APP_URL": self.url}


def browse(url: str) -> str:
    """The last page that the browser shows; empty when there is none any more."""
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        # A person's browser is no proxy's business here.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as page:
            return page.read().decode()
    return ""
