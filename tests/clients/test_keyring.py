"""The vault in a real Secret Service: unlocked, missing, locked, and one that never answers."""

import asyncio
import pathlib
import re
import time

import fake_secret_service
import pytest
from harness import ERAS, WHOLE_KEY, Wire, ok, refused

pytestmark = pytest.mark.anyio

# What a client waits for at the very least is 10 s; the answer must come well before.
PATIENCE_S = 5.0


@pytest.fixture
def keyring_machine(machine):
    """A machine whose owner chose nothing: the keyring is the default."""
    del machine.env["LAVA_CREDENTIAL_STORE"]
    return machine


async def login_fails_with_the_way_out(machine, *flags: str) -> None:
    async with machine.client(*flags) as client:
        began = time.monotonic()
        result = await client.call_tool("login", {})
        assert time.monotonic() - began < PATIENCE_S
        error = refused(result, "vault_unavailable")
        said = error["message"] + error["hint"]
        assert "LAVA_CREDENTIAL_STORE=file" in said and "LAVA_SPEND_KEY" in said
        # The server lives on, and what needs no key works.
        ok(await client.call_tool("search", {"query": "gpt"}))
    assert machine.keys_at_rest() == set(), "a key was written to a file that nobody asked for"
    log = machine.log.read_text()
    assert "panicked" not in log and not WHOLE_KEY.search(log)


@pytest.mark.parametrize("mode", ERAS)
async def test_login_keeps_the_key_in_the_keyring_and_the_next_start_uses_it(keyring_machine, secret_service, mode):
    machine = keyring_machine
    machine.env.update(secret_service.env)
    async with machine.client("--sandbox", mode=mode) as client:
        first = ok(await client.call_tool("login", {}))
        assert first["stored_in"] == "keyring"
        ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))
    async with machine.client("--sandbox", mode=mode) as client:
        ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))
        second = ok(await client.call_tool("login", {}))
    assert second["stored_in"] == "keyring"
    assert second["spend_key"]["spend_key_id"] == first["spend_key"]["spend_key_id"]
    assert machine.ledger.spend_keys() == 1
    machine.ledger.ended(2)
    assert machine.keys_at_rest() == set(), "a key in a file although the keyring has it"


async def test_force_replaces_the_key_and_not_what_it_has_spent(keyring_machine, secret_service):
    machine = keyring_machine
    machine.env.update(secret_service.env)
    async with machine.client("--sandbox") as client:
        first = ok(await client.call_tool("login", {}))
        spent = ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))
        forced = ok(await client.call_tool("login", {"force": True}))
        # The limit is a person's; an agent that could make it new by logging in again would have none.
        assert forced["remaining"] == spent["remaining"]
        ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))
    assert forced["spend_key"]["key_preview"] != first["spend_key"]["key_preview"]
    async with machine.client("--sandbox") as client:
        ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))
    machine.ledger.ended(3)


def test_logout_empties_the_vault(keyring_machine, secret_service):
    machine = keyring_machine
    machine.env.update(secret_service.env)
    question = ["--sandbox", "prompt", "gpt-4o-mini", "hi"]
    assert machine.run("--sandbox", "login").returncode == 0
    assert machine.run(*question).returncode == 0
    assert machine.run("--sandbox", "logout").returncode == 0
    assert '"logged_in": false' in machine.run("--sandbox", "--json", "status").stdout
    # Once more is no error.
    assert machine.run("--sandbox", "logout").returncode == 0


async def the_sandbox_needs_none(machine) -> None:
    """Its keys stand for no money, so a missing keyring needs nobody's word."""
    async with machine.client("--sandbox") as client:
        assert ok(await client.call_tool("login", {}))["stored_in"] == "file"
        ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))


async def test_without_a_bus(keyring_machine):
    await login_fails_with_the_way_out(keyring_machine)
    await the_sandbox_needs_none(keyring_machine)


async def test_with_a_bus_but_no_secret_service(keyring_machine, bare_bus):
    keyring_machine.env["DBUS_SESSION_BUS_ADDRESS"] = bare_bus
    await login_fails_with_the_way_out(keyring_machine)
    await the_sandbox_needs_none(keyring_machine)


async def test_a_service_whose_keyring_was_never_created(keyring_machine, secret_service_without_keyring):
    # It would ask for a new password now, and has no display to do so.
    keyring_machine.env.update(secret_service_without_keyring.env)
    await login_fails_with_the_way_out(keyring_machine, "--sandbox")


@pytest.mark.parametrize("ends", [False, True], ids=["never answered", "closed"])
async def test_a_dialog_for_the_password(keyring_machine, bare_bus, ends):
    machine = keyring_machine
    machine.env["DBUS_SESSION_BUS_ADDRESS"] = bare_bus
    bus, dialog = await fake_secret_service.start(bare_bus, dialog_ends=ends)
    try:
        await login_fails_with_the_way_out(machine, "--sandbox")
        assert dialog.opened >= 1, "the keyring's owner was asked"
        # Nor does a thread that waits for the dialog keep the process alive once its client has gone.
        process = machine.start("--sandbox")
        wire = Wire(process)
        wire.call(1, "login", {})
        await asyncio.to_thread(wire.answer, 1)
        gone = time.monotonic()
        process.stdin.close()
        assert await asyncio.to_thread(process.wait, 10) == 0
        assert time.monotonic() - gone < 2
    finally:
        bus.disconnect()


async def test_an_environment_without_the_bus_finds_it_at_its_usual_place(keyring_machine, secret_service):
    """Codex, and all that is built on the SDKs, hand a server next to nothing of the environment."""
    machine = keyring_machine
    address = secret_service.env["DBUS_SESSION_BUS_ADDRESS"]
    (pathlib.Path(machine.env["XDG_RUNTIME_DIR"]) / "bus").symlink_to(re.search("path=([^,]+)", address)[1])
    del machine.env["DBUS_SESSION_BUS_ADDRESS"]
    async with machine.client("--sandbox") as client:
        assert ok(await client.call_tool("login", {}))["stored_in"] == "keyring"
    assert machine.keys_at_rest() == set()


async def test_a_locked_keyring(keyring_machine, secret_service):
    keyring_machine.env.update(secret_service.env)
    secret_service.lock()
    await login_fails_with_the_way_out(keyring_machine, "--sandbox")


async def test_a_keyring_that_was_locked_after_login(keyring_machine, secret_service):
    machine = keyring_machine
    machine.env.update(secret_service.env)
    async with machine.client("--sandbox") as client:
        ok(await client.call_tool("login", {}))
    secret_service.lock()
    async with machine.client("--sandbox") as client:
        # Not "log in first": the key is there, only locked away, and a new login would not help.
        error = refused(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}), "vault_unavailable")
        assert "lock" in (error["message"] + error["hint"]).lower()
    assert machine.ledger.spend_keys() == 1


async def test_a_keyring_that_never_answers(keyring_machine, secret_service):
    keyring_machine.env.update(secret_service.env)
    secret_service.freeze()
    await login_fails_with_the_way_out(keyring_machine, "--sandbox")


async def test_a_spend_key_from_the_environment_needs_no_keyring(machine):
    # First a key, made by somebody with a working vault.
    async with machine.client("--sandbox") as client:
        made = ok(await client.call_tool("login", {}))
    key = next(key for key in machine.keys_at_rest() if key.startswith("lava_sk_"))
    del machine.env["LAVA_CREDENTIAL_STORE"]
    machine.env["LAVA_SPEND_KEY"] = key
    async with machine.client("--sandbox") as client:
        session = ok(await client.call_tool("login", {}))
        assert session["stored_in"] == "environment"
        assert session["spend_key"]["spend_key_id"] == made["spend_key"]["spend_key_id"]
        ok(await client.call_tool("prompt", {"model": "gpt-4o-mini", "input": "hi"}))


async def test_the_keyring_is_not_touched_before_it_is_needed(keyring_machine, secret_service):
    # Frozen, any touch would cost the whole timeout.
    keyring_machine.env.update(secret_service.env)
    secret_service.freeze()
    began = time.monotonic()
    async with keyring_machine.client("--sandbox") as client:
        await client.list_tools()
        ok(await client.call_tool("search", {"query": "gpt"}))
        assert time.monotonic() - began < 2.5


async def test_a_start_does_not_wait_for_the_keyring(keyring_machine, secret_service):
    """Clients give a server as little as 5 s to start. The same start, with a keyring that answers and with one that does not."""
    keyring_machine.env.update(secret_service.env)

    def first_answer() -> float:
        began = time.monotonic()
        process = keyring_machine.start("--sandbox")
        wire = Wire(process)
        wire.send(1, "server/discover")
        assert "result" in wire.answer(1)
        took = time.monotonic() - began
        process.stdin.close()
        assert process.wait(5) == 0
        return took

    first_answer()
    awake = min(first_answer() for _ in range(3))
    secret_service.freeze()
    assert min(first_answer() for _ in range(3)) < awake + 0.5


def test_the_command_line_names_the_way_out_too(keyring_machine, secret_service):
    keyring_machine.env.update(secret_service.env)
    secret_service.lock()
    for command in ("login", "doctor"):
        done = keyring_machine.run("--sandbox", command)
        said = done.stdout + done.stderr
        assert "LAVA_CREDENTIAL_STORE=file" in said and "lock" in said, f"{command}: {said}"
