#!/bin/sh
# Makes a token for each service, with no more rights than it needs, into ./secrets.
# Once, after the first `docker compose up -d influxdb`: sh deploy/influxdb/tokens.sh
set -eu
umask 077
bucket=$(docker compose exec -T influxdb sh -c \
    'influx bucket list --name hearthline --hide-headers --org hearthline --token "$(cat /run/secrets/influx_admin_token)"' |
    cut -f 1)
token() {
    name=$1
    shift
    docker compose exec -T influxdb sh -c \
        "influx auth create --org hearthline --description $name $* --json --token \"\$(cat /run/secrets/influx_admin_token)\"" |
        sed -n 's/.*"token": "\(.*\)".*/\1/p' >"secrets/influx_${name}_token"
    test -s "secrets/influx_${name}_token" || { echo "tokens.sh: InfluxDB gave no token for $name" >&2; exit 1; }
}
token worker --read-bucket "$bucket" --write-bucket "$bucket"
token board --read-bucket "$bucket"
token grafana --read-bucket "$bucket"
