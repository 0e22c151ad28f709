#!/bin/sh
# Makes Redis servers one cluster, the first half of them primaries: form.sh HOST[:PORT]...
# Servers that are one already are told each other's addresses, which helps after all of them were
# away at the same time. Doing it again changes nothing.
set -eu

nodes=""
for server in "$@"; do
    host=${server%%:*}
    case $server in *:*) port=${server##*:} ;; *) port=6379 ;; esac
    # CLUSTER MEET takes no names.
    case $host in
        *[!0-9.]*) address=$(getent hosts "$host" | awk 'NR == 1 { print $1 }') ;;
        *) address=$host ;;
    esac
    [ -n "$address" ] || { echo "form.sh: no address of $host" >&2; exit 1; }
    nodes="$nodes $address:$port"
done
# shellcheck disable=SC2086 # one word for each node
set -- $nodes
first_host=${1%:*}
first_port=${1##*:}

first() {
    redis-cli -h "$first_host" -p "$first_port" "$@"
}

if first cluster info | grep -q '^cluster_slots_assigned:0'; then
    redis-cli --cluster create "$@" --cluster-replicas 1 --cluster-yes
fi
for node in "$@"; do
    first cluster meet "${node%:*}" "${node##*:}"
done

attempts=60
until redis-cli --cluster check "$1" && first cluster info | grep -q '^cluster_state:ok' &&
    ! first cluster nodes | grep -Eq 'fail|handshake|disconnected'; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || { echo "form.sh: the cluster is not whole" >&2; exit 1; }
    sleep 1
done
