#!/usr/bin/env bash
# One broker and controller (KRaft). The storage is formatted once, and the administrator made with it; all
# other users are init.sh's. SCRAM over the internal data network; the controller listens on loopback.
set -euo pipefail
kafka=${KAFKA_HOME:-/opt/kafka}
data=${KAFKA_DATA:-/var/lib/kafka/data}
secrets=${SECRETS:-/run/secrets}
name=${KAFKA_NAME:-kafka}
port=${KAFKA_PORT:-9092}
controller=${KAFKA_CONTROLLER_PORT:-9093}
config=$(mktemp "${TMPDIR:-/tmp}/kafka.XXXXXX")
# shellcheck source=secret.bash
. "$(dirname "${BASH_SOURCE[0]}")/secret.bash"

admin=$(secret kafka_admin_password)
chmod 600 "$config"
cat >"$config" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=CLIENT://0.0.0.0:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=CLIENT://$name:$port
inter.broker.listener.name=CLIENT
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$admin";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
log.dirs=$data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=1000
log.cleaner.backoff.ms=5000
PROPERTIES

if ! [ -e "$data/meta.properties" ]; then
    cluster=$(secret kafka_cluster_id)
    "$kafka/bin/kafka-storage.sh" format -t "$cluster" -c "$config" \
        --add-scram "SCRAM-SHA-512=[name=admin,password=$admin]"
fi
exec "$kafka/bin/kafka-server-start.sh" "$config"
