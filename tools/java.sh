#!/bin/sh
# Spark needs Java 17 or later: use the one that is here, install it on Debian as root, or say what to do.
set -eu

has_java() {
    java=${JAVA_HOME:+$JAVA_HOME/bin/}java
    version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || return 1
    [ "${version:-0}" -ge 17 ]
}

if has_java; then
    exit 0
fi
if sh "$(dirname "$0")/apt.sh" openjdk-17-jre-headless; then
    exit 0
fi
echo "Spark needs Java 17 or later, and there is none: install it, for example with" >&2
echo "  sudo apt-get install openjdk-17-jre-headless    or    brew install openjdk@17" >&2
exit 1
