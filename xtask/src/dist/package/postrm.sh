#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
command -v deb-systemd-helper >/dev/null || exit 0
for service in @SERVICES@; do
    case "$1" in
    remove) deb-systemd-helper mask "$service" >/dev/null || true ;;
    purge)
        deb-systemd-helper purge "$service" >/dev/null || true
        deb-systemd-helper unmask "$service" >/dev/null || true
        ;;
    esac
done
