#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes ./configure from a git checkout. Needs autoconf, automake, libtool and pkg-config.
set -eu
cd "$(dirname "$0")"

missing=
for tool in autoreconf:autoconf automake:automake libtoolize:libtool pkg-config:pkg-config; do
	command -v "${tool%%:*}" >/dev/null 2>&1 || missing="$missing ${tool#*:}"
done
if [ -n "$missing" ]; then
	echo "autogen.sh: missing:$missing" >&2
	echo "autogen.sh: on Debian: apt-get install$missing" >&2
	exit 1
fi

mkdir -p config/build-aux config/m4
exec autoreconf --install --force --warnings=all
