#!/bin/sh
# Install a package on Debian as root, without the service that it would start. Ends with another code than 0 elsewhere.
set -eu

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 1
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; }
apt-get update -q >&2
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$1" >&2
