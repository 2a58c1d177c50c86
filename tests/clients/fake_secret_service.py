"""A Secret Service with a locked keyring, as on a desktop: to unlock it, it opens a dialog, and the test decides what becomes of that.

gnome-keyring itself shows a dialog only where there is a display, and then waits for a person.
"""

import secrets
from typing import Annotated

from dbus_fast import RequestNameReply, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusObjectPath, DBusSignature, DBusStr, DBusVariant
from dbus_fast.constants import PropertyAccess
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

ROOT = "/org/freedesktop/secrets"
KEYRING = f"{ROOT}/collection/login"
DIALOG = f"{ROOT}/prompt/1"

Paths = Annotated[list[str], DBusSignature("ao")]
Attributes = Annotated[dict[str, str], DBusSignature("a{ss}")]


class Dialog(ServiceInterface):
    """Asks for the password."""

    def __init__(self, ends: bool):
        super().__init__("org.freedesktop.Secret.Prompt")
        self._ends = ends
        self.opened = 0

    @dbus_method(name="Prompt")
    def prompt(self, window: DBusStr) -> None:
        self.opened += 1
        if self._ends:
            # Closed without a password.
            self.completed(True)

    @dbus_method(name="Dismiss")
    def dismiss(self) -> None:
        self.completed(True)

    @dbus_signal(name="Completed")
    def completed(self, dismissed) -> Annotated[tuple, DBusSignature("bv")]:
        return dismissed, Variant("ao", [])


class Service(ServiceInterface):
    def __init__(self):
        super().__init__("org.freedesktop.Secret.Service")

    @dbus_method(name="OpenSession")
    def open_session(self, algorithm: DBusStr, input: DBusVariant) -> Annotated[tuple, DBusSignature("vo")]:
        # Half of a key exchange; what it would protect never comes.
        return Variant("ay", secrets.token_bytes(128)), f"{ROOT}/session/1"

    @dbus_method(name="SearchItems")
    def search_items(self, attributes: Attributes) -> Annotated[tuple, DBusSignature("aoao")]:
        # One that is there, and locked away.
        return [], [f"{KEYRING}/1"]

    @dbus_method(name="Unlock")
    def unlock(self, objects: Paths) -> Annotated[tuple, DBusSignature("aoo")]:
        return [], DIALOG

    @dbus_method(name="ReadAlias")
    def read_alias(self, name: DBusStr) -> DBusObjectPath:
        return KEYRING

    @dbus_property(name="Collections", access=PropertyAccess.READ)
    def collections(self) -> Paths:
        return [KEYRING]


class Keyring(ServiceInterface):
    def __init__(self):
        super().__init__("org.freedesktop.Secret.Collection")

    @dbus_property(name="Locked", access=PropertyAccess.READ)
    def locked(self) -> DBusBool:
        return True

    @dbus_property(name="Label", access=PropertyAccess.READ)
    def label(self) -> DBusStr:
        return "login"

    @dbus_property(name="Items", access=PropertyAccess.READ)
    def items(self) -> Paths:
        return [f"{KEYRING}/1"]


class Item(ServiceInterface):
    def __init__(self):
        super().__init__("org.freedesktop.Secret.Item")

    @dbus_property(name="Locked", access=PropertyAccess.READ)
    def locked(self) -> DBusBool:
        return True


async def start(address: str, *, dialog_ends: bool) -> tuple[MessageBus, Dialog]:
    """Serves it on a bus; disconnect the bus to end it."""
    bus = await MessageBus(bus_address=address).connect()
    dialog = Dialog(dialog_ends)
    for path, interface in ((ROOT, Service()), (KEYRING, Keyring()), (f"{KEYRING}/1", Item()), (DIALOG, dialog)):
        bus.export(path, interface)
    assert await bus.request_name("org.freedesktop.secrets") == RequestNameReply.PRIMARY_OWNER
    return bus, dialog
