#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# bulk-run and the shim, without a kernel module: the right things are preloaded, the module joins the UCX
# of the program, and programs without UCX are left alone. Skipped (77) where ucx_info is missing.

uct=${1:-../../src/uct}
uct=$(cd "$uct" && pwd) || exit 1
BULK_SHIM=$uct/.libs/libbulk_shim.so
BULK_UCT_MODULE=$uct/.libs/libuct_bulk.so.0
export BULK_SHIM BULK_UCT_MODULE
unset LD_PRELOAD UCX_TLS
failed=0

check() {  # NAME EXPECTED GOT
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		printf 'FAILED: %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"
		failed=1
	fi
}

contains() {  # NAME PART TEXT
	case $3 in
	*"$2"*) echo "ok: $1" ;;
	*)
		printf 'FAILED: %s\n  expected to contain: %s\n  got: %s\n' "$1" "$2" "$3"
		failed=1
		;;
	esac
}

run=$uct/bulk-run

check 'the shim is preloaded' "$BULK_SHIM" "$("$run" sh -c 'echo "$LD_PRELOAD"')"
check 'it stands behind what was preloaded before' "libm.so.6:$BULK_SHIM" \
	"$(LD_PRELOAD=libm.so.6 "$run" sh -c 'echo "$LD_PRELOAD"')"
check 'it is preloaded once, however often bulk-run is used' "$BULK_SHIM" \
	"$("$run" "$run" sh -c 'echo "$LD_PRELOAD"')"
check 'arguments arrive unchanged' 'a b|*|' "$("$run" sh -c 'printf "%s|" "$@"' sh 'a b' '*')"
"$run" sh -c 'exit 7'
check 'the exit status is the command'"'"'s' 7 $?
"$run" 2>/dev/null
check 'without a command it fails' 125 $?
"$run" /nonexistent/program 2>/dev/null
check 'a missing command is 127' 127 $?
contains 'a missing shim is named' '/nonexistent/shim.so is missing' \
	"$(BULK_SHIM=/nonexistent/shim.so "$run" true 2>&1)"
contains 'help says how to use mpirun' 'mpirun' "$("$run" --help)"
check 'a program without UCX gets no UCX' '' "$("$run" sh -c 'grep -h libuc[tsp] /proc/self/maps')"

command -v ucx_info >/dev/null 2>&1 || { echo 'skipped: ucx_info is missing'; exit $((failed ? 1 : 77)); }

contains 'the module registers with the UCX of the program' 'registered transport bulk' \
	"$(UCX_LOG_LEVEL=debug "$run" ucx_info -d 2>&1)"
check 'it says nothing to who did not ask for it' '' "$("$run" ucx_info -d 2>&1 | grep WARN.*bulk)"
contains 'its options are listed' 'UCX_BULK_' "$("$run" ucx_info -c -f 2>&1)"
contains 'a missing module is explained to who asked for it' '/nonexistent/module' \
	"$(BULK_UCT_MODULE=/nonexistent/module UCX_TLS=bulk,self "$run" ucx_info -d 2>&1)"
check 'and to nobody else' '' \
	"$(BULK_UCT_MODULE=/nonexistent/module "$run" ucx_info -d 2>&1 | grep nonexistent)"
if [ ! -e /dev/infiniband/rdma_bulk ]; then
	check 'without a kernel module one warning says why' 1 \
		"$(UCX_TLS=bulk,self "$run" ucx_info -d 2>&1 | grep -c 'WARN.*bulk is not available:')"
fi
exit $failed
