#!/bin/sh
# A Redis Sentinel: sentinel.sh ADDRESS
#
# It writes what it learns (who the primary is now) into its own configuration, so it begins with a copy of the rendered
# one and keeps the copy. After a change of addresses or passwords its volume has to be removed.
set -eu

own=${SENTINEL_DIR:-/data}/sentinel.conf
if [ ! -e "$own" ]; then
    umask 077
    cp "${MEMBERS_DIR:-/etc/stampede/members}/$1.conf" "$own.new"
    mv "$own.new" "$own"
fi
exec "${VALKEY_SERVER:-valkey-server}" "$own" --sentinel
