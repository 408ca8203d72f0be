#!/bin/sh
set -e
if [ "@NAME@" = cupel ] && [ -L /usr/lib/cupel/current ]; then
    echo "cupel was installed by 'cupel install': run 'cupel uninstall' first; it keeps configuration and state" >&2
    exit 1
fi
