#!/bin/sh
# The tests put a PgBouncer before PostgreSQL. Install it on Debian as root, or say what to do.
set -eu

if [ -n "${FOREACHONCE_SKIP_PGBOUNCER:-}" ]; then
    exit 0
fi
PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"
if command -v pgbouncer >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # The package would start one of its own; nobody needs that one.
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; }
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends pgbouncer >&2
    exit 0
fi
echo "The tests need PgBouncer, and there is none: install it, for example with" >&2
echo "  sudo apt-get install pgbouncer    or    brew install pgbouncer" >&2
echo "FOREACHONCE_SKIP_PGBOUNCER=1 leaves its tests out." >&2
exit 1
