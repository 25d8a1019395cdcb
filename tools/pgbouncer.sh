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
if sh "$(dirname "$0")/apt.sh" pgbouncer; then
    exit 0
fi
echo "The tests need PgBouncer, and there is none: install it, for example with" >&2
echo "  sudo apt-get install pgbouncer    or    brew install pgbouncer" >&2
echo "FOREACHONCE_SKIP_PGBOUNCER=1 leaves its tests out." >&2
exit 1
