#!/bin/sh
# RabbitMQ on a configuration that holds the secret: rabbitmq.sh COMMAND...
#
# The server reads passwords from its configuration alone, and a configuration with a password is no file of the project:
# it is written to the container's memory at each start.
set -eu

umask 077
{
    cat /etc/stampede/rabbitmq.conf
    printf 'default_pass = %s\n' "$(cat /run/secrets/rabbitmq_password)"
} > /tmp/rabbitmq.conf
exec "$@"
