#!/bin/sh
# Make the secrets that compose.yaml names, each once: make_secrets.sh [FOLDER]. What exists is never touched.
#
# The folder is the lock (0700); the files in it are readable, because a container mounts them as they are and reads
# them as a user of its own. Hexadecimal: the same text in a URL, in SQL and in a configuration file.
set -eu

folder=${1:-secrets}
umask 022
mkdir -p "$folder"
chmod 700 "$folder"
# Whatever the project ignores, this folder is not committed.
printf '*\n' > "$folder/.gitignore"

for name in secret_key postgres_admin_password postgres_owner_password postgres_app_password \
            gate_admin_password gate_app_password gate_replica_password gate_sentinel_password \
            rabbitmq_password grafana_admin_password; do
    [ -e "$folder/$name" ] || {
        od -An -v -N 32 -t x1 /dev/urandom | tr -d ' \n' > "$folder/$name.new"
        mv "$folder/$name.new" "$folder/$name"
    }
done
# The mail channel is somebody's account: empty until it is filled in (an apprise URL).
[ -e "$folder/notify_email_url" ] || : > "$folder/notify_email_url"
# Who signs a shop's own tokens is known to the shop alone.
[ -e "$folder/shop_token_key" ] || : > "$folder/shop_token_key"
