# shellcheck shell=bash disable=SC2034,SC2054
# SPDX-License-Identifier: BSD-3-Clause
#
# What the sys-* tests share. They run as root on host1 of the lab, reach the other host as `ssh host2`, and
# print one line per finding: `ok NAME`, `not ok NAME - why`, or `ok NAME # SKIP why`; `#` begins a remark.
# Exit status: 0 all fine, 1 something is not ok, 2 no test was made.

set -u

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peer=${PEER:-host2}
self=${SELF:-$(hostname)}
netdev=${FABRIC:-fabric0}
rdma_device=${RDMA_DEVICE:-rxe0}
counters=/sys/class/misc/rdma_bulk
work=$(mktemp -d)
made=0
failed=0
port=$((20000 + $$ % 10000))

# What every UCX process gets; a test adds to it. BULK_TLS=tcp,self shows whether a failure is bulk's at all.
ucx_env=("UCX_TLS=${BULK_TLS:-bulk,self}" UCX_WARN_UNUSED_ENV_VARS=n)
[ -z "${BULK_TLS:-}" ] || ucx_env+=("UCX_NET_DEVICES=$netdev,$rdma_device:1")

finish() {
	local pid
	for pid in $(jobs -p); do kill "$pid" 2>/dev/null; done
	rm -rf "$work"
}
trap finish EXIT

ok() {
	made=$((made + 1))
	echo "ok $1"
}

not_ok() {
	made=$((made + 1))
	failed=1
	echo "not ok $1 - $2"
}

skip() {
	made=$((made + 1))
	echo "ok $1 # SKIP $2"
}

remark() { printf '%s\n' "$*" | sed 's/^/# /'; }

# remark_file FILE: the end of a log, where a reader may want it.
remark_file() { tail -n 25 "$1" | sed 's/^/#   /'; }

# check NAME WHY COMMAND...: ok if COMMAND succeeds.
check() {
	local name=$1 why=$2
	shift 2
	if "$@"; then ok "$name"; else not_ok "$name" "$why"; fi
}

done_testing() {
	echo "1..$made"
	[ "$made" -gt 0 ] || exit 2
	exit "$failed"
}

next_port() { port=$((port + 1)); }

on_peer() { ssh -o BatchMode=yes "$peer" "$@"; }

# wait_for SECONDS COMMAND...: until COMMAND succeeds; 1 if it does not in time.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

peer_listens() { on_peer "ss -Hltn 'sport = :$1'" | grep -q .; }

# counter NAME: of this host, summed over all channels ever.
counter() { cat "$counters/$1" 2>/dev/null || echo 0; }
peer_counter() { on_peer "cat $counters/$1" 2>/dev/null || echo 0; }

# moving COUNT: this host has sent more messages than COUNT
moving() { [ "$(counter tx_messages)" -gt "$1" ]; }

module_loaded() { [ -d /sys/module/rdma_bulk ]; }

# Nobody has the device open: what processes held has been given back.
module_unused() { [ "$(cat /sys/module/rdma_bulk/refcnt)" = 0 ]; }
peer_module_unused() { [ "$(on_peer cat /sys/module/rdma_bulk/refcnt)" = 0 ]; }

# verify_pair LOG-PREFIX CLIENT-OPTION...: ucp_verify on both hosts; what the client printed is in PREFIX.client.
# The environment is ucx_env's. Returns the client's exit status, or 3 if only the server failed.
verify_pair() {
	local prefix=$1 server status=0 server_status=0
	shift
	next_port
	on_peer env "${ucx_env[@]}" bulk-run timeout 900 "$tests/ucp_verify" --server --stall-limit 300 --port "$port" \
		>"$prefix.server" 2>&1 &
	server=$!
	wait_for 120 peer_listens "$port"
	env "${ucx_env[@]}" bulk-run timeout 900 "$tests/ucp_verify" --connect "$peer" --stall-limit 300 --port "$port" "$@" \
		>"$prefix.client" 2>"$prefix.client-errors" || status=$?
	wait "$server" || server_status=$?
	[ "$status" != 0 ] || [ "$server_status" = 0 ] || status=3
	return "$status"
}

# A short exchange over bulk works.
works() {
	local status=0
	verify_pair "$work/works" --tests tag,put,get --count 3 --max-size 300000 || status=$?
	if [ "$status" != 0 ]; then
		remark "exit status $status; client, its errors, server:"
		remark_file "$work/works.client"
		remark_file "$work/works.client-errors"
		remark_file "$work/works.server"
	fi
	return "$status"
}
