#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# `configure' refuses a kernel that is too old for the module at once and says why, takes the oldest that is
# not, and warns of one that nobody has tried. The build trees are make-believe: only their release is read.

configure=$(cd "${srcdir:-.}/../.." && pwd)/configure
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

configure_for() {  # RELEASE; prints what configure says. Without a compiler it goes no further than the kernel.
	mkdir -p "$work/tree/include/config" "$work/build" || exit 1
	echo "$1" >"$work/tree/include/config/kernel.release"
	(cd "$work/build" && "$configure" --with-kernel="$work/tree" CC=false 2>&1)
}

check() {  # RELEASE WHAT EXPECTED
	said=$(configure_for "$1")
	case $said in
	*"rdma_bulk.ko needs Linux 6.1 or later, and $work/tree is for $1."*) got=refused ;;
	*"rdma_bulk.ko is known to work on Linux 6.1 to "*"; $1 is newer"*) got=warned ;;
	*"checking for a kernel build tree... $work/tree ($1)"*) got=taken ;;
	*) got='neither' ;;
	esac
	if [ "$got" = "$3" ]; then
		echo "ok: $2 ($1) is $3"
	else
		printf 'FAILED: %s (%s)\n  expected to be %s, but was %s: configure said\n%s\n' "$2" "$1" "$3" "$got" "$said"
		failed=1
	fi
}

check 5.14.0-503.el9.x86_64 'a kernel before 6' refused
check 6.0.0-6-amd64 'the last kernel that is too old' refused
check 6.1.0-56-amd64 'the oldest kernel' taken
check 6.12.107+deb13-amd64 'a kernel in between' taken
check 7.3.4-um 'the newest kernel' taken
check 7.10.0 'a newer one' warned
check rubbish 'what has no version' refused

exit $failed
