#!/bin/sh
# Bring what the tests start for themselves: Postgres 15 or newer, and Redis; age, for backups;
# Prometheus and Alertmanager, for alerts; Chromium, for the console; and curl, which the runbook types.
# Nothing is started here, and a server that runs already is never used.
set -eu

have_postgres() {
    for folder in /usr/lib/postgresql/*/bin $(echo "$PATH" | tr ':' ' '); do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] || continue
        major=$("$folder/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        [ "$major" -ge 15 ] && return 0
    done
    return 1
}

have_redis() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null
}

have_age() {
    command -v age >/dev/null
}

have_prometheus() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null
}

have_alertmanager() {
    command -v prometheus-alertmanager >/dev/null && command -v amtool >/dev/null
}

have_chromium() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null
}

have_curl() {
    command -v curl >/dev/null
}

missing=
have_postgres || missing="postgresql"
have_redis || missing="$missing redis-server"
have_age || missing="$missing age"
have_prometheus || missing="$missing prometheus"
have_alertmanager || missing="$missing prometheus-alertmanager"
have_chromium || missing="$missing chromium"
have_curl || missing="$missing curl"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    as_root=none
fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null; then
    echo "make test needs Postgres 15 or newer, Redis, age, Prometheus, Alertmanager, Chromium and curl: install the packages$(printf ' %s' $missing)" >&2
    exit 1
fi

# Packages start their servers when they are installed. Ours need none of that, and it may not be
# wanted on this machine: a policy that refuses stands for as long as the installation takes.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null

if ! have_postgres || ! have_redis || ! have_age || ! have_prometheus || ! have_alertmanager ||
    ! have_chromium || ! have_curl; then
    echo "make test needs Postgres 15 or newer, Redis, age, Prometheus, Alertmanager, Chromium and curl; this system's packages do not bring them" >&2
    exit 1
fi
