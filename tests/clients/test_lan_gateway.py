"""The guide for a gateway behind TLS, with the real proxies on loopback and real clients that trust an authority of their own only."""

import contextlib
import os
import pathlib
import shutil
import signal

import pytest
from conftest import STAGE
from guide import Followed, free_port

OTHER = {"caddy": "With nginx", "nginx": "With Caddy"}

NGINX = """pid nginx.pid; error_log error.log; {user}
events {{}}
http {{
    access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    include conf.d/*.conf;
}}
"""

# Nothing of it reaches the system: no trust store, no port 80.
CADDY = """{{
    admin off
    skip_install_trust
    auto_https disable_redirects
    https_port {port}
}}
import {folder}/Caddyfile
"""


@pytest.fixture
def proxy(tmp_path):
    """The folder of a proxy's settings; what runs there is ended."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    # nginx opens its settings as root and its sockets as somebody else.
    folder.chmod(0o755)
    yield folder
    for pid in folder.glob("*.pid"):
        # `nginx -t` leaves an empty one.
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(pid.read_text()), signal.SIGTERM)


def programs(name: str, folder: pathlib.Path, port: int) -> dict[str, str]:
    """The proxy's own commands, in this folder and not in the system's."""
    opened = f"for _ in $(seq 200); do (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null && exit 0; sleep 0.05; done; exit 1"
    if name == "nginx":
        (folder / "nginx.conf").write_text(NGINX.format(user="user root;" if os.geteuid() == 0 else ""))
        nginx = f"{shutil.which('nginx')} -p {folder} -c {folder}/nginx.conf -e {folder}/error.log"
        # Not `-s reload`: for a moment after it the certificate of before is shown.
        reload = f"[ -s {folder}/nginx.pid ] && {nginx} -s stop\nwhile [ -s {folder}/nginx.pid ]; do sleep 0.05; done\n{nginx} && exec bash -c '{opened}'"
        return {"nginx": f'exec {nginx} "$@"', "reload": reload}
    (folder / "all").write_text(CADDY.format(port=port, folder=folder))
    root = folder / ".local/share/caddy/pki/authorities/local/root.crt"
    reload = (
        f"[ -e {folder}/caddy.pid ] && kill $(cat {folder}/caddy.pid)\n"
        f"HOME={folder} XDG_DATA_HOME={folder}/.local/share {shutil.which('caddy')} run --adapter caddyfile --config {folder}/all >{folder}/log 2>&1 &\n"
        f"echo $! >{folder}/caddy.pid\nwhile [ ! -e {root} ]; do sleep 0.05; done\nexec bash -c '{opened}'"
    )
    return {"reload": reload}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["nginx", "caddy"])
def test_the_guide_is_followed_twice(machine, proxy, name):
    if not shutil.which(name):
        pytest.skip(f"{STAGE}the guide for a gateway behind TLS with {name}, which is not installed")
    port = free_port()
    here = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "https://lava.lan": f"https://localhost:{port}",
        "lava.lan": "localhost",
        "192.168.1.20": "127.0.0.1",
        "/etc/nginx": str(proxy),
        "/etc/caddy": str(proxy),
        "/var/lib/caddy": str(proxy),
    }
    for _ in range(2):
        Followed("lan-gateway.md", machine, here, without=OTHER[name], programs=programs(name, proxy, port)).check()
    rows = machine.ledger.query("SELECT name, total_spent_n AS n FROM budget JOIN spend_key ON id = key_id WHERE name LIKE 'ann%'")
    assert len(rows) == 4 and all(row["n"] > 0 for row in rows), rows
