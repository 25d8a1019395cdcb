#!/bin/sh
# The tests want a MariaDB: an address, Docker, or server binaries. Install them on Debian as root, or say what to do.
set -eu

if [ -n "${FOREACHONCE_MARIADB_URL:-}${FOREACHONCE_SKIP_MARIADB:-}" ]; then
    exit 0
fi
PATH="$PATH:/usr/sbin:/usr/libexec:/usr/local/sbin:/opt/homebrew/bin"
if command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null; then
    exit 0
fi
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    exit 0
fi
if sh "$(dirname "$0")/apt.sh" mariadb-server; then
    exit 0
fi
echo "The tests need MariaDB, and there is none: start Docker, set FOREACHONCE_MARIADB_URL, or install it, for example with" >&2
echo "  sudo apt-get install mariadb-server    or    brew install mariadb" >&2
echo "FOREACHONCE_SKIP_MARIADB=1 leaves its tests out." >&2
exit 1
