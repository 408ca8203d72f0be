#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
for file in @SYSUSERS@; do
    if command -v systemd-sysusers >/dev/null; then systemd-sysusers "$file"; fi
done
for file in @TMPFILES@; do
    if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create "$file"; fi
done
if [ -d /run/systemd/system ]; then
    journalctl --update-catalog || true
    systemctl daemon-reload
fi
for service in @SERVICES@; do
    deb-systemd-helper unmask "$service" >/dev/null || true
    if deb-systemd-helper --quiet was-enabled "$service"; then
        deb-systemd-helper enable "$service" >/dev/null || true
    else
        deb-systemd-helper update-state "$service" >/dev/null || true
    fi
    if [ -d /run/systemd/system ]; then
        if [ -n "$2" ]; then action=restart; else action=start; fi
        deb-systemd-invoke "$action" "$service" >/dev/null || true
    fi
done
