#!/bin/sh
# nginx, told when an API process has come or gone: edge.sh NAME NGINX-ARGUMENTS...
#
# nginx looks NAME (the API's, one address for each process) up when it reads its configuration, and never again.
# A process that was restarted or added may have another address, so: compare every few seconds, and let nginx read
# again only when something changed. A reload cuts no request off.
set -eu

name=$1
shift
every_s=${EDGE_LOOKUP_S:-5}

addresses() {
    getent ahosts "$name" | cut -d ' ' -f 1 | sort -u
}

nginx "$@" &
nginx=$!
stopping=
sleeper=
# The shell is the container's first process: what stops the container has to reach nginx.
trap 'stopping=yes; kill -s QUIT "$nginx" 2>/dev/null || true' QUIT TERM INT

known=$(addresses || true)
while [ -z "$stopping" ] && kill -0 "$nginx" 2>/dev/null; do
    # A wait is cut short by a signal, a sleep in the foreground is not.
    sleep "$every_s" &
    sleeper=$!
    wait "$sleeper" || true
    now=$(addresses || true)
    # None at all: every API process is away, and nginx would refuse to read a name without an address.
    if [ -z "$stopping" ] && [ -n "$now" ] && [ "$now" != "$known" ]; then
        known=$now
        kill -s HUP "$nginx" 2>/dev/null || true
    fi
done
[ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null || true
wait "$nginx"
