#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The whole transport without the kernel module: the tests of uct-one and uct-two, and UCP traffic between two processes
# where ucp_verify is built, over the stand-in of loop_kernel.cpp. Each with commands that end at once, with
# commands that end later, and with hardly any receive buffers.

unset UCX_TLS LD_PRELOAD
BULK_UCT_MODULE=$PWD/../../src/uct/.libs/libuct_bulk.so.0
BULK_SHIM=$PWD/../../src/uct/.libs/libbulk_shim.so
BULK_LOOP_WORLD=$(mktemp -d /dev/shm/bulk-loop.XXXXXX 2>/dev/null) || BULK_LOOP_WORLD=$(mktemp -d) || exit 1
export BULK_UCT_MODULE BULK_SHIM BULK_LOOP_WORLD
trap 'rm -rf "$BULK_LOOP_WORLD"' EXIT
loop=$PWD/.libs/libloop_kernel.so
verify=$PWD/../system/ucp_verify
failed=0

pair() {  # over ucp_verify; arguments: of its client
	[ -x "$verify" ] || return 0
	port=$((20000 + ($$ + count) % 20000))
	LD_PRELOAD=$loop:$BULK_SHIM UCX_TLS=bulk timeout 600 "$verify" --server --port $port &
	server=$!
	LD_PRELOAD=$loop:$BULK_SHIM UCX_TLS=bulk timeout 600 "$verify" --connect 127.0.0.1 --port $port --seed 1 \
		--count 5 --max-size 2000000 "$@" || failed=1
	wait $server || failed=1
}

count=0
for setting in BULK_LOOP_LAG=0 BULK_LOOP_LAG=200 'BULK_LOOP_LAG=50 BULK_LOOP_RX=6'; do
	count=$((count + 1))
	echo "=== $setting"
	# shellcheck disable=SC2086 # words are wanted
	export $setting
	LD_PRELOAD=$loop timeout 900 ./uct-one || failed=1
	PEER=local LD_PRELOAD=$loop timeout 900 ./uct-two || failed=1
	pair
done
exit $failed
