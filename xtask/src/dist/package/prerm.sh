#!/bin/sh
set -e
[ "$1" = remove ] || exit 0
for service in @SERVICES@; do
    if [ -d /run/systemd/system ]; then
        deb-systemd-invoke stop "$service" >/dev/null || true
    fi
done
