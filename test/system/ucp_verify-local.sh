#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Tests the tester: ucp_verify between two processes of this host, over UCX's own tcp transport.
set -eu
port=$((20000 + $$ % 20000))
export UCX_TLS=tcp,self UCX_NET_DEVICES=lo

./ucp_verify --server --port "$port" &
server=$!
./ucp_verify --connect 127.0.0.1 --port "$port" --seed 1 --count 5 --max-size 1000000
wait "$server"
