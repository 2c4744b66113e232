#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The order of the layers: layers_test.sh [OBJECTS]
#
# In src/kernel a file may include the headers of its own folder, and the public ones (FOLDER/FOLDER.h) of the
# folders below it; base's headers are all public. With OBJECTS, a folder in which the module was built, no object
# refers to a symbol that an object of a layer above it defines either. The headers of src/channel and src/uct need each
# other in one direction only. TAP.
set -u

top=$(cd "${srcdir:-$(dirname "$0")}/../.." && pwd) || exit 1
objects=${1:-}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Lowest first; the last ones are files.
order='base verbs conn link mem chan ep submit file main'

failed=0
number=0
result() {  # name, file with what is wrong
	number=$((number + 1))
	if [ -s "$2" ]; then
		sed 's/^/# /' "$2"
		echo "not ok $number - $1"
		failed=1
	else
		echo "ok $number - $1"
	fi
}

cd "$top/src/kernel" || exit 1
find . -name '*.[ch]' ! -name '*.mod.c' | sed 's|^\./||' | sort > "$work/files"

# FILE INCLUDED, the module's own headers only
while read -r file; do
	sed -n 's/^#include "\(.*\)".*/\1/p' "$file" | sed "s|^|$file |"
done < "$work/files" > "$work/includes"

awk -v order="$order" '
	BEGIN { n = split(order, names, " "); for (i = 1; i <= n; i++) rank[names[i]] = i }
	function layer(path) { sub(/\/.*/, "", path); sub(/\.[ch]$/, "", path); return path }
	function public(path) { return path ~ /^base\// || path !~ /\// || path == layer(path) "/" layer(path) ".h" }
	{
		from = layer($1); to = layer($2)
		if (!(from in rank) || !(to in rank))
			print $1 " includes " $2 ": of no layer"
		else if (rank[to] > rank[from])
			print $1 " includes " $2 ": of a layer above it"
		else if (to != from && !public($2))
			print $1 " includes " $2 ": which is private to " to "/"
	}' "$work/includes" > "$work/wrong"
result 'kernel: no file includes a layer above it' "$work/wrong"

for folder in */; do
	folder=${folder%/}
	grep -q "^$folder/.*\.c$" "$work/files" || continue
	grep -qx "$folder/$folder.h" "$work/files" || echo "$folder/ has no $folder.h"
done > "$work/wrong"
result 'kernel: each folder has one public header' "$work/wrong"

if [ -n "$objects" ]; then
	# OBJECT t|U SYMBOL, but for what the kernel exports
	(cd "$objects" && while read -r file; do
		object=${file%.c}.o
		case $file in *.h) continue ;; esac
		[ -e "$object" ] || { echo "$object missing -"; continue; }
		nm "$object" | awk -v object="$object" '$(NF - 1) ~ /^[A-TV-Z]$/ { print object, "D", $NF } $(NF - 1) == "U" { print object, "U", $NF }'
	done) < "$work/files" > "$work/symbols"
	awk -v order="$order" '
		BEGIN { n = split(order, names, " "); for (i = 1; i <= n; i++) rank[names[i]] = i }
		function layer(path) { sub(/\/.*/, "", path); sub(/\.o$/, "", path); return path }
		$2 == "missing" { print $1 " was not built" }
		FNR == NR { if ($2 == "D") home[$3] = $1; next }
		$2 == "U" && $3 in home && rank[layer(home[$3])] > rank[layer($1)] {
			print $1 " uses " $3 ", which " home[$3] " defines: a layer above it"
		}' "$work/symbols" "$work/symbols" > "$work/wrong"
	result 'kernel: no object uses a symbol of a layer above it' "$work/wrong"
fi

# FILE HEADER, both below src. tsort names what is in a loop.
cd "$top/src" || exit 1
find channel uct -name '*.[ch]pp' | while read -r file; do
	sed -n "s|^#include \"\(.*\)\".*|$file \1|p" "$file"
done > "$work/includes"
[ -s "$work/includes" ] || echo 'no includes found' > "$work/none"
tsort "$work/includes" 2> "$work/wrong" > /dev/null
[ ! -e "$work/none" ] || cat "$work/none" >> "$work/wrong"
result 'channel, uct: no headers that need each other' "$work/wrong"

awk '
	function layer(path) { return path ~ /^uct\/abi\// ? 2 : path ~ /^uct\// ? 3 : path ~ /^channel\// ? 1 : 0 }
	layer($2) > layer($1) || (layer($1) == 2 && layer($2) == 1) { print $1 " includes " $2 }' "$work/includes" > "$work/wrong"
result 'channel, uct: the channel library and uct/abi include nothing of what stands on them' "$work/wrong"

echo "1..$number"
exit $failed
