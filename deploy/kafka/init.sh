#!/usr/bin/env bash
# Users, topics and rights. Ingest may write frames, and how it fares; workers read both and keep checkpoints beside.
# Running it again gives users the passwords of now.
set -euo pipefail
kafka=${KAFKA_HOME:-/opt/kafka}
secrets=${SECRETS:-/run/secrets}
server=${KAFKA:?host:port}
config=$(mktemp "${TMPDIR:-/tmp}/admin.XXXXXX")
chmod 600 "$config"
cat >"$config" <<PROPERTIES
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(tr -d '\r\n' <"$secrets/kafka_admin_password")";
PROPERTIES
# shellcheck source=secret.bash
. "$(dirname "${BASH_SOURCE[0]}")/secret.bash"

user() {
    local value file  # a file, so that no password stands on a command line
    value=$(secret "kafka_$1_password")
    file=$(mktemp "${TMPDIR:-/tmp}/user.XXXXXX")
    printf 'SCRAM-SHA-512=password=%s\n' "$value" >"$file"
    "$kafka/bin/kafka-configs.sh" --bootstrap-server "$server" --command-config "$config" \
        --alter --entity-type users --entity-name "$1" --add-config-file "$file" >/dev/null
    rm "$file"
}

topic() {
    local name=$1 settings=()
    shift
    for setting in "$@"; do settings+=(--config "$setting"); done
    "$kafka/bin/kafka-topics.sh" --bootstrap-server "$server" --command-config "$config" \
        --create --if-not-exists --topic "$name" --partitions "${PARTITIONS:-12}" --replication-factor 1 "${settings[@]}"
}

allow() {
    "$kafka/bin/kafka-acls.sh" --bootstrap-server "$server" --command-config "$config" --add "$@" >/dev/null
}

user ingest
user worker
user alerts

topic frames message.timestamp.type=LogAppendTime max.message.bytes=4194304 retention.ms=2592000000
topic hearthline-checkpoints-changelog cleanup.policy=compact segment.bytes=33554432 segment.ms=600000 \
    min.cleanable.dirty.ratio=0.1 delete.retention.ms=60000
PARTITIONS=1 topic conditions max.message.bytes=4194304 retention.ms=2592000000
PARTITIONS=1 topic actions message.timestamp.type=CreateTime retention.ms=-1
PARTITIONS=1 topic parts retention.ms=3600000 segment.ms=3600000 max.message.bytes=65536

allow --allow-principal User:ingest --operation Write --operation Describe --topic frames
allow --allow-principal User:ingest --operation Write --operation Describe --topic parts
allow --allow-principal User:ingest --operation IdempotentWrite --cluster
allow --allow-principal User:worker --operation Read --operation Describe --topic frames
allow --allow-principal User:worker --operation Read --operation Write --operation Describe \
    --topic hearthline-checkpoints-changelog
allow --allow-principal User:worker --operation Read --group hearthline
allow --allow-principal User:worker --operation Write --operation Describe --topic conditions
allow --allow-principal User:worker --operation Read --operation Describe --topic parts
allow --allow-principal User:alerts --operation Read --operation Describe --topic conditions
allow --allow-principal User:alerts --operation Read --operation Write --operation Describe --topic actions
echo "users, topics and rights are there"
