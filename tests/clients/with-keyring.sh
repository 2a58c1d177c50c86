#!/bin/sh
# with-keyring.sh COMMAND...: runs COMMAND in a D-Bus session of its own whose Secret Service is real (gnome-keyring) and unlocked.
# KEYRING_PASSWORD is the keyring's password, empty if unset; a keyring without one cannot be locked again.
# KEYRING_NEVER_CREATED=1: the service as it is before its user has ever logged in, with no keyring at all.
# Exit code 97: the Secret Service did not come up.
set -eu

if [ -z "${WITH_KEYRING_INNER:-}" ]; then
    home=$(mktemp -d)
    # Before dbus-run-session: a daemon that D-Bus activates looks for its keyrings in the home that the bus was started with.
    export HOME="$home" XDG_RUNTIME_DIR="$home/run" WITH_KEYRING_INNER=1
    # With a display the daemon would ask a person, and wait for one.
    unset XDG_DATA_HOME XDG_CACHE_HOME XDG_CONFIG_HOME DISPLAY WAYLAND_DISPLAY DBUS_SESSION_BUS_ADDRESS GNOME_KEYRING_CONTROL
    mkdir -m 700 "$XDG_RUNTIME_DIR"
    code=0
    dbus-run-session -- "$0" "$@" || code=$?
    rm -rf "$home"
    exit "$code"
fi

if [ -n "${KEYRING_NEVER_CREATED:-}" ]; then
    gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1
else
    # The newline is the password's end: with nothing at all on standard input the daemon stays locked.
    printf '%s\n' "${KEYRING_PASSWORD:-}" | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
fi

# The daemon returns before it owns its name. Asking too early makes D-Bus start a second daemon, a locked one.
tries=0
until dbus-send --session --print-reply --dest=org.freedesktop.DBus / \
    org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets 2>/dev/null | grep -q 'boolean true'; do
    tries=$((tries + 1))
    if [ "$tries" -ge 200 ]; then
        echo 'with-keyring.sh: no Secret Service after 10 seconds' >&2
        exit 97
    fi
    sleep 0.05
done

exec "$@"
