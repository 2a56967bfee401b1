# SPDX-License-Identifier: MIT
# vmsnap convert, between the layouts, levels, files and pipes. The snapshots are made by mksnap and
# changed by tests/format/vmsedit.py; reading them back is vminspect's and vmsread.py's.
load ../lib/vm

setup() {
	vm_setup
	VMSREAD=$TOP/tests/format/vmsread.py
	export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$TOP/tests/format
	mkdir "$W/out"
}
teardown() {
	[ -z "${MOUNTED:-}" ] || umount "$MOUNTED"
	vm_teardown
}

# Both readers find everything right.
sound() {
	local f
	for f; do
		vminspect verify "$f" && "$VMSREAD" "$f" >/dev/null || { echo "$f"; return 1; }
	done
}
# digests FILE: of memory and machine
digests() { vminspect verify --json "$1" | jq -c '[.memory, .machine]'; }
# chunks FILE: type and round of each, but for END, and the file offset of its payload
chunks() {
	python3 - "$1" <<-'END'
	import struct, sys
	b, at = open(sys.argv[1], 'rb').read(), 4096
	while at < len(b) - 192:
	    kind, round, n = struct.unpack_from('<H10xII', b, at + 4)
	    print(kind, round, at + 64)
	    at += 64 + (n + 7 & ~7)
	END
}
# same_but_incomplete FILE PIPED: the flag of what was written to a pipe, and the header's hash
same_but_incomplete() {
	python3 - "$@" <<-'END'
	import sys
	a, b = (bytearray(open(f, 'rb').read()) for f in sys.argv[1:])
	if a[48] != 0 or b[48] != 1:
	    sys.exit('INCOMPLETE')
	for x in a, b:
	    x[48:52], x[4088:4096] = bytes(4), bytes(8)
	sys.exit('they differ' if a != b else 0)
	END
}
# edit IN OUT < PYTHON: s is the snapshot; the file digest, offsets and hashes follow from it
edit() {
	python3 -c "import struct, sys
from vmsedit import *
from vmsread import BLOB
s = Snapshot(open(sys.argv[1], 'rb').read())
exec(sys.stdin.read())
s.of(END).payload[16:32] = b'\1' * 16
open(sys.argv[2], 'wb').write(s.bytes())" "$@"
}
# report: of what was printed as JSON
report() { grep '^{"event": "report"'; }
# nothing_out: no file has come into being, not even a hidden one
nothing_out() { [ -z "$(ls -A "$W/out")" ]; }
free() { stat -f -c '%a %S' "$W/out" | awk '{ print $1 * $2 }'; }

@test "vmsnap convert: the result has one round, each page once with its last contents, in ascending order, zero ones as such" {
	mksnap --pages 4000 --images "$W/a.vms"
	vmsnap convert -q "$W/a.vms" "$W/b.vms"
	sound "$W/b.vms"
	[ "$(digests "$W/a.vms")" = "$(digests "$W/b.vms")" ]
	[ "$(stat -c %s "$W/b.vms")" -lt "$(stat -c %s "$W/a.vms")" ]
	[ "$(chunks "$W/a.vms" | grep -c '^5 ')" = 3 ]
	[ "$(chunks "$W/b.vms" | cut -d' ' -f1 | uniq | xargs)" = "1 3 2 5 6 13 8 12" ]
	"$VMSREAD" "$W/a.vms" | jq -S '.machine.regions[].pages' >"$W/a.pages"
	"$VMSREAD" "$W/b.vms" | jq -S '.machine.regions[].pages' | cmp - "$W/a.pages"
	for page in 0 1 4 5 3996 16383; do
		"$VMSREAD" --page 0 $page "$W/a.vms" | cmp - <("$VMSREAD" --page 0 $page "$W/b.vms")
	done
	python3 - "$W/b.vms" <(chunks "$W/b.vms") <<-'END'
	import struct, sys
	b, last, full = open(sys.argv[1], 'rb').read(), -1, 0
	for kind, _, at in (map(int, l.split()) for l in open(sys.argv[2])):
	    if kind != 2:
	        continue
	    runs, data, begin = struct.unpack_from('<3I', b, at)
	    full += data == 512
	    if data and (at + begin) % 4096:
	        sys.exit('raw pages are not aligned')
	    for i in range(runs):
	        first, count, _ = struct.unpack_from('<QII', b, at + 16 + 16 * i)
	        if first <= last:
	            sys.exit('not ascending')
	        last = first + count - 1
	sys.exit(0 if full >= 3 else 'chunks are not filled')
	END
}

@test "vmsnap convert: header and trees are kept, but for layout, INCOMPLETE and optional features" {
	mksnap --x86 --images --uuid 12345678-1234-1234-1234-123456789abc --created 77 "$W/m.vms"
	edit "$W/m.vms" "$W/a.vms" <<<"s.header[32:40] = b'\x80' * 8; s.header[96:128] = bytes(range(32))"
	cat "$W/a.vms" | vmsnap convert -q - "$W/b.vms"
	vmsnap convert -q --layout flat "$W/a.vms" "$W/f.vms"
	for f in b f; do
		vminspect verify "$W/$f.vms"
		python3 - "$W/a.vms" "$W/$f.vms" <<-'END'
		import sys
		a, b = (bytearray(open(f, 'rb').read(4096)) for f in sys.argv[1:])
		a[32:40], a[44:48], a[4088:], b[4088:] = bytes(8), b[44:48], b'', b''
		sys.exit(a != b)
		END
		for tree in "" --config; do
			cmp <(vminspect tree $tree --dtb - "$W/a.vms") \
				<(vminspect tree $tree --dtb - "$W/$f.vms")
		done
	done
}

@test "vmsnap convert: the same snapshot gives the same bytes, from a file and a pipe, to a file and a pipe, by whatever layout and level" {
	for options in "" "--level 3" "--images" "--pages 4000 --level 1" "--pages 4000" "--x86"; do
		# shellcheck disable=SC2086 # several words
		mksnap $options "$W/a.vms"
		rm -f "$W"/[b-z]*.vms
		vmsnap convert -q "$W/a.vms" "$W/b.vms"
		vmsnap convert -q --layout flat "$W/a.vms" "$W/f.vms"
		vmsnap convert -q --compress=3 "$W/a.vms" "$W/z.vms"
		sound "$W/b.vms" "$W/f.vms" "$W/z.vms"
		# from each of them, and from a pipe
		for from in a b f z; do
			vmsnap convert -q --force "$W/$from.vms" "$W/x.vms"
			cmp "$W/x.vms" "$W/b.vms"
			cat "$W/$from.vms" | vmsnap convert -q --force - "$W/x.vms"
			cmp "$W/x.vms" "$W/b.vms"
			vmsnap convert -q --force --layout flat "$W/$from.vms" "$W/x.vms"
			cmp "$W/x.vms" "$W/f.vms"
			cat "$W/$from.vms" | vmsnap convert -q --force --layout flat - "$W/x.vms"
			cmp "$W/x.vms" "$W/f.vms"
			vmsnap convert -q --force --compress=3 --threads 1 "$W/$from.vms" "$W/x.vms"
			cmp "$W/x.vms" "$W/z.vms"
		done
		# to standard output: a file, and a pipe
		vmsnap convert -q - <"$W/a.vms" >"$W/y.vms"
		cmp "$W/y.vms" "$W/b.vms"
		vmsnap convert -q --layout flat "$W/b.vms" - >"$W/y.vms"
		cmp "$W/y.vms" "$W/f.vms"
		vmsnap convert -q "$W/f.vms" | cat >"$W/y.vms"
		same_but_incomplete "$W/b.vms" "$W/y.vms"
		vmsnap convert -q --compress=3 - <"$W/f.vms" | cat >"$W/y.vms"
		same_but_incomplete "$W/z.vms" "$W/y.vms"
		# What a pipe keeps is not kept any longer.
		vmsnap convert -q --force "$W/y.vms" "$W/x.vms"
		cmp "$W/x.vms" "$W/b.vms"
	done
}

@test "vmsnap convert: the flat form is, byte for byte, the one that a program written from docs/format.md makes" {
	for options in "" "--level 3" "--images" "--x86" "--pages 4000"; do
		# shellcheck disable=SC2086
		mksnap $options "$W/a.vms"
		vmsnap convert -q --force --layout flat "$W/a.vms" "$W/f.vms"
		"$TOP/tests/format/vmsflat.py" "$W/a.vms" "$W/g.vms"
		cmp "$W/f.vms" "$W/g.vms"
	done
}

@test "vmsnap convert: zero runs of 8 TiB take no time, no memory and no space" {
	mksnap --ram 8388608 "$W/small.vms"
	edit "$W/small.vms" "$W/a.vms" <<-'END'
	# All pages between those of mksnap and the last one, by the chunk of the last round.
	first, count = 1 << 20, (1 << 31) - (1 << 20) - 1
	c, end = s.of(PAGES, s_n := sum(c.type == PAGES for c in s.chunks) - 1), s.of(ROUND_END, 2)
	runs, data, begin, length = struct.unpack_from('<4I', c.payload)
	table = c.payload[16:16 + 16 * runs] + struct.pack('<QII', first, count, 2)
	rest = c.payload[16 + 16 * runs:16 + 16 * runs + 8 * data]
	pages = c.payload[begin:]
	begin = 16 + len(table) + len(rest)
	c.payload[:] = struct.pack('<4I', runs + 1, data, begin, length) + table + rest + pages
	c.hashed = begin
	struct.pack_into('<Q', end.payload, 0, struct.unpack_from('<Q', end.payload)[0] + count)
	index = s.of(INDEX).payload
	index[-32:-32] = struct.pack('<4H3Q', 0, 2, 0, 0, first, count, 0)
	END
	vminspect verify "$W/a.vms"
	(
		# Sanitizers take address space without end.
		[ -n "${SAN:-}" ] || ulimit -v 1000000
		vmsnap convert --progress=json "$W/a.vms" "$W/b.vms" 2>"$W/err"
		cat "$W/a.vms" | vmsnap convert -q - "$W/c.vms"
		vmsnap convert -q --layout flat "$W/a.vms" "$W/f.vms"
		vmsnap convert -q "$W/f.vms" "$W/d.vms"
		vmsnap convert -q --compress "$W/a.vms" "$W/z.vms"
	)
	cmp "$W/b.vms" "$W/c.vms"
	cmp "$W/b.vms" "$W/d.vms"
	for f in b f z; do vminspect verify "$W/$f.vms"; done
	report <"$W/err" | jq -e '.zero_pages > 2146000000'
	[ $(($(stat -c '%b * %B' "$W/f.vms"))) -lt 1000000 ]
}

@test "vmsnap convert: a snapshot without memory is converted, not to the flat layout" {
	mksnap --state-only "$W/a.vms"
	vmsnap convert -q "$W/a.vms" "$W/b.vms"
	cat "$W/a.vms" | vmsnap convert -q --compress - "$W/c.vms"
	cmp "$W/b.vms" "$W/c.vms"
	sound "$W/b.vms"
	vmsnap convert -q "$W/b.vms" "$W/d.vms"
	cmp "$W/b.vms" "$W/d.vms"
	run -2 --separate-stderr vmsnap convert --layout flat "$W/a.vms" "$W/out/f.vms"
	[ "$stderr" = "vmsnap: $W/a.vms: snapshot without memory (saved with --state-only): use --layout chunked" ]
	nothing_out
}

@test "vmsnap convert: images are kept, in pieces of one size at one place, wherever they were" {
	mksnap --images "$W/a.vms"
	edit "$W/a.vms" "$W/late.vms" <<-'END'
	# Each image in two pieces, alternating, behind the pages.
	whole = [c for c in s.chunks if c.type == BLOB]
	for c in whole:
	    s.chunks.remove(c)
	for half in 0, 1:
	    for c in whole:
	        head, body = c.payload[:256], c.payload[272:]
	        at, end = (0, 100) if half == 0 else (100, len(body))
	        head += struct.pack('<QQ', at, len(body))
	        s.before(STATE, Chunk(BLOB, head + body[at:end]))
	END
	sound "$W/late.vms"
	vmsnap convert -q "$W/a.vms" "$W/b.vms"
	vmsnap convert -q "$W/late.vms" "$W/c.vms"
	cat "$W/late.vms" | vmsnap convert -q - "$W/d.vms"
	cat "$W/late.vms" | vmsnap convert --progress=json - 2>"$W/err" >"$W/e.vms"
	for f in c d e; do cmp "$W/b.vms" "$W/$f.vms"; done
	report <"$W/err" | jq -e '.images == 2 and .image_bytes == 5300'
	for i in kernel initrd; do
		cmp <("$VMSREAD" --image $i "$W/a.vms") <("$VMSREAD" --image $i "$W/b.vms")
	done
}

@test "vmsnap convert: the report has pages, bytes and digests, as a line and as JSON; -q prints nothing" {
	mksnap --pages 4000 "$W/a.vms"
	run -0 --separate-stderr vmsnap convert --layout flat "$W/a.vms" "$W/f.vms"
	read -r memory machine < <(digests "$W/f.vms" | jq -r 'join(" ")')
	[[ ${stderr_lines[0]} == "vmsnap: sample: flat, 3001 pages (1000 zero), "*" MiB read, "*" MiB written, total time "*", memory $memory, machine $machine" ]]
	run -0 --separate-stderr vmsnap convert --progress=json "$W/f.vms" "$W/b.vms"
	report <<<"$stderr" | jq -e --arg in "$W/f.vms" --arg out "$W/b.vms" \
		--arg memory "$memory" --arg machine "$machine" \
		--argjson read "$(stat -c %s "$W/f.vms")" \
		--argjson written "$(stat -c %s "$W/b.vms")" '
		.input == $in and .file == $out and .vm == "sample" and .layout == "chunked" and
		.memory_digest == $memory and .machine_digest == $machine and .pages == 3001 and
		.zero_pages == 1000 and .bytes_in == $read and .bytes == $written and
		.left_out == 0 and .authenticated == false and .total_ms > 0'
	run -0 --separate-stderr vmsnap convert -q "$W/f.vms" "$W/c.vms"
	[ -z "$stderr" ]
	[ -z "$output" ]
}

@test "vmsnap convert: chunks that it does not know are left out and counted; padding is no loss" {
	mksnap --level 3 "$W/m.vms"
	vmsnap convert -q "$W/m.vms" "$W/good.vms"
	mkdir "$W/accepted"
	"$TOP/tests/format/vmsedit.py" accepted "$W/m.vms" "$W/accepted"
	for f in "$W"/accepted/*.vms; do
		name=${f##*/}
		left="" said=2
		case $name in
		rewrite-feature.vms | created-before-1970.vms) continue ;;
		optional-unknown.vms | private.vms)
			left="vmsnap: $f: 1 chunk of unknown meaning left out" said=3 ;;
		esac
		run -0 --separate-stderr vmsnap convert --force "$f" "$W/b.vms"
		[ "${#stderr_lines[@]}" = $said ]
		[ -z "$left" ] || [ "${stderr_lines[1]}" = "$left" ]
		cmp "$W/b.vms" "$W/good.vms"
		run -0 --separate-stderr bash -c "vmsnap convert --force - '$W/b.vms' < <(cat '$f')"
		[ "${#stderr_lines[@]}" = $said ]
		[ -z "$left" ] || [ "${stderr_lines[1]}" = "${left/"$f"/standard input}" ]
		cmp "$W/b.vms" "$W/good.vms"
	done
}

@test "vmsnap convert: a rewrite feature that it does not know is refused" {
	mksnap "$W/m.vms"
	edit "$W/m.vms" "$W/a.vms" <<<"s.header[24:32] = struct.pack('<Q', 1 << 63)"
	vminspect verify "$W/a.vms"
	run -3 --separate-stderr vmsnap convert "$W/a.vms" "$W/out/b.vms"
	[ "$stderr" = "vmsnap: $W/a.vms: unsupported rewrite features 0x8000000000000000: this build must not convert the snapshot (at byte 24)" ]
	nothing_out
}

@test "vmsnap convert: what breaks a rule of the format is refused with 3 and the offset, through a pipe; by a file it is, or it changes nothing" {
	mksnap --level 3 --pages 64 "$W/m.vms"
	vmsnap convert -q "$W/m.vms" "$W/good.vms"
	mkdir "$W/refused"
	"$TOP/tests/format/vmsedit.py" refused "$W/m.vms" "$W/refused"
	n=0
	for f in "$W"/refused/*.vms; do
		for layout in chunked flat; do
			run --separate-stderr vmsnap convert -q --layout $layout - "$W/out/b.vms" \
				< <(cat "$f")
			echo "$f: $status: $stderr"
			case $f in
			*/trailing-data.vms) [ "$status" = 0 ]; rm "$W/out/b.vms" ;;
			*)
				[ "$status" = 3 ]
				[[ $stderr == "vmsnap: standard input: "*" (at byte "*")" ]]
				;;
			esac
			nothing_out
		done
		run --separate-stderr vmsnap convert -q "$f" "$W/out/b.vms"
		echo "$f: $status: $stderr"
		if [ "$status" = 0 ]; then
			cmp "$W/out/b.vms" "$W/good.vms"
			rm "$W/out/b.vms"
		else
			[ "$status" = 3 ]
			[[ $stderr == "vmsnap: $f: "*" (at byte "*")" ]]
		fi
		nothing_out
		n=$((n + 1))
	done
	[ $n -gt 50 ]
}

# bats file_tags=slow

@test "vmsnap convert: a flipped bit is refused with 3 at its offset, or has no effect" {
	SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
	echo "# SEED=$SEED" >&2
	mksnap --images "$W/m.vms"
	mksnap --images --level 3 "$W/z.vms"
	vmsnap convert -q --layout flat "$W/m.vms" "$W/f.vms"
	vmsnap convert -q "$W/m.vms" "$W/good.vms"
	damage flip 150 "$SEED" "$W/good.vms" sh -c 'cat "$1" | vmsnap convert -q - - >/dev/null' x
	for f in m z f; do
		python3 - "$SEED" "$W/$f.vms" "$W/good.vms" "$W/out" <<-'END'
		import os, random, re, subprocess, sys
		seed, source, good, out = sys.argv[1:]
		rng, good = random.Random(int(seed)), open(good, 'rb').read()
		b = bytearray(open(source, 'rb').read())
		parts = [i for i in range(0, len(b), 512) if any(b[i:i + 512])]
		refused = 0
		for turn in range(150):
		    at, bit = rng.choice(parts) + rng.randrange(512), 1 << rng.randrange(8)
		    if at >= len(b):
		        continue
		    b[at] ^= bit
		    with open(source + '.bad', 'wb') as f:
		        f.write(b)
		    b[at] ^= bit
		    r = subprocess.run(['vmsnap', 'convert', '-q', source + '.bad', out + '/b.vms'],
		                       stderr=subprocess.PIPE)
		    if r.returncode == 0:
		        got = open(out + '/b.vms', 'rb').read()
		        os.remove(out + '/b.vms')
		        if got != good:
		            sys.exit(f'byte {at}: another result')
		    elif r.returncode != 3 or not re.search(rb' \(at byte \d+\)\n$', r.stderr):
		        sys.exit(f'byte {at}: {r.returncode}: {r.stderr}')
		    refused += r.returncode == 3
		    if os.listdir(out):
		        sys.exit(f'byte {at}: left behind: {os.listdir(out)}')
		sys.exit(0 if refused > 75 else f'{refused} refused only')
		END
	done
}

# bats file_tags=

@test "vmsnap convert: a memory that is not the one that END states is refused before state, MAC and END, in a file and a pipe" {
	mksnap "$W/m.vms"
	edit "$W/m.vms" "$W/a.vms" <<-'END'
	# The index lacks the last page.
	del s.of(INDEX).payload[-32:]
	s.of(ROUND_END)
	END
	at=$(($(stat -c %s "$W/a.vms") - 192))
	for layout in chunked flat; do
		run -3 --separate-stderr vmsnap convert --layout $layout "$W/a.vms" "$W/out/b.vms"
		[ "$stderr" = "vmsnap: $W/a.vms: memory digest mismatch (at byte $at)" ]
		nothing_out
	done
	run -3 --separate-stderr bash -c "set -o pipefail; vmsnap convert '$W/a.vms' | cat >'$W/b.vms'"
	[ "$stderr" = "vmsnap: $W/a.vms: memory digest mismatch (at byte $at)" ]
	[ "$(tail -c 192 "$W/b.vms" | head -c 4)" != VMSc ]
	run -3 vminspect verify "$W/b.vms"
}

@test "vmsnap convert: files that are cut anywhere are refused, and nothing is published" {
	mksnap "$W/m.vms"
	vmsnap convert -q --layout flat "$W/m.vms" "$W/f.vms"
	for f in m f; do
		size=$(stat -c %s "$W/$f.vms")
		for bytes in 0 1 4095 4096 4160 $((size / 2)) $((size - 193)) $((size - 1)); do
			head -c $bytes "$W/$f.vms" >"$W/cut.vms"
			run -3 --separate-stderr vmsnap convert -q "$W/cut.vms" "$W/out/b.vms"
			[[ $stderr == "vmsnap: $W/cut.vms: "* ]]
			run -3 --separate-stderr vmsnap convert -q - "$W/out/b.vms" \
				< <(cat "$W/cut.vms")
			[[ $stderr == "vmsnap: standard input: unexpected end of snapshot (at byte "* ]]
			nothing_out
		done
	done
	mksnap - | zstd -q >"$W/a.vms.zst"
	run -3 --separate-stderr vmsnap convert "$W/a.vms.zst" "$W/out/b.vms"
	[ "$stderr" = "vmsnap: $W/a.vms.zst: compressed with zstd: use zstd -dc $W/a.vms.zst | vmsnap convert - OUT" ]
	for f in "$W" "$W/none" /dev/null; do
		run --separate-stderr vmsnap convert "$f" "$W/out/b.vms"
		[ "$status" = 1 ] || [ "$status" = 3 ]
		[[ $stderr == "vmsnap: $f: "* ]]
	done
	nothing_out
}

@test "vmsnap convert: IN is never overwritten, other files by --force only, with the mode that is asked for" {
	mksnap "$W/a.vms"
	cp "$W/a.vms" "$W/a.was"
	ln "$W/a.vms" "$W/hard.vms"
	for out in a hard; do
		run -1 --separate-stderr vmsnap convert "$W/a.vms" "$W/$out.vms"
		[ "$stderr" = "vmsnap: $W/$out.vms: already exists; use --force to overwrite" ]
		run -2 --separate-stderr vmsnap convert --force "$W/a.vms" "$W/$out.vms"
		[ "$stderr" = "vmsnap: $W/$out.vms: is the snapshot to be converted, not overwritten; name another file" ]
		run -2 --separate-stderr vmsnap convert --force - "$W/$out.vms" <"$W/a.vms"
		run -2 --separate-stderr bash -c "vmsnap convert '$W/a.vms' >>'$W/$out.vms'"
		[ "$stderr" = "vmsnap: standard output: is the snapshot to be converted, not overwritten; name another file" ]
	done
	cmp "$W/a.vms" "$W/a.was"
	echo mine >"$W/b.vms"
	run -1 vmsnap convert "$W/a.vms" "$W/b.vms"
	[ "$(cat "$W/b.vms")" = mine ]
	vmsnap convert -q --force "$W/a.vms" "$W/b.vms"
	vminspect verify "$W/b.vms"
	vmsnap convert -q "$W/a.vms" "$W/c.vms"
	[ "$(stat -c %a "$W/c.vms")" = 400 ]
	vmsnap convert -q --mode 0640 "$W/a.vms" "$W/d.vms"
	[ "$(stat -c %a "$W/d.vms")" = 640 ]
	# Behind something else in a file, as through a pipe.
	printf 'first ' >"$W/e"
	vmsnap convert -q "$W/a.vms" >>"$W/e"
	tail -c +7 "$W/e" >"$W/e.vms"
	same_but_incomplete "$W/c.vms" "$W/e.vms"
	[ -z "$(find "$W" -name '.*.*')" ]
}

@test "vmsnap convert: options that do not go together, or with a conversion, are refused with 2" {
	mksnap "$W/a.vms"
	while IFS='|' read -r words message; do
		# shellcheck disable=SC2086 # several words
		run -2 --separate-stderr vmsnap convert $words "$W/a.vms" "$W/out/b.vms"
		[ "${stderr_lines[0]}" = "vmsnap: $message" ]
	done <<-'END'
		--layout flat --compress|--layout flat and --compress are mutually exclusive
		--compress=auto|--compress=auto is for saves: specify a level (-100 to 19)
		--layout round|--layout round: invalid value (valid: chunked, flat)
		--stop-after|convert: --stop-after not supported by this command
		--with-images|convert: --with-images not supported by this command
		--max-rounds 3|convert: --max-rounds not supported by this command
		--mode 1|--mode 1: invalid value (valid: octal, read and write bits, such as 0440)
	END
	nothing_out
	run -2 --separate-stderr vmsnap convert
	[ "${stderr_lines[0]}" = "vmsnap: convert: missing IN operand" ]
	run -2 --separate-stderr vmsnap convert --force "$W/a.vms"
	[ "${stderr_lines[0]}" = "vmsnap: --force requires OUT" ]
	run -2 --separate-stderr bash -c "set -o pipefail; vmsnap convert --layout flat '$W/a.vms' | cat"
	[ "$stderr" = "vmsnap: standard output: --layout flat requires an empty file; specify OUT, or use --layout chunked" ]
	echo x >"$W/x"
	run -2 --separate-stderr bash -c "vmsnap convert --layout flat '$W/a.vms' >>'$W/x'"
	[ "$(cat "$W/x")" = x ]
	run -2 --separate-stderr bash -c "vmsnap convert --layout flat '$W/a.vms' 1<>'$W/x'"
	[ "$(cat "$W/x")" = x ]
	vmsnap convert -q --layout flat --compress=0 "$W/a.vms" "$W/out/b.vms"
}

@test "vmsnap convert: a reader that goes away is said; a full device and a limit on file size too" {
	mksnap --pages 4000 "$W/a.vms"
	for bytes in 0 5000 300000 4000000; do
		run -1 --separate-stderr bash -c \
			"set -o pipefail; vmsnap convert '$W/a.vms' | head -c $bytes >/dev/null"
		[ "$stderr" = "vmsnap: standard output: write: Broken pipe" ]
	done
	run -1 --separate-stderr bash -c "vmsnap convert '$W/a.vms' >/dev/full"
	[ "$stderr" = "vmsnap: standard output: write: No space left on device" ]
	for layout in chunked flat; do
		run -1 --separate-stderr bash -c \
			"ulimit -f 1000; vmsnap convert --layout $layout '$W/a.vms' '$W/out/b.vms'"
		[[ $stderr == "vmsnap: $W/out/b.vms: "*"File too large" ]]
		nothing_out
	done
}

@test "vmsnap convert: a disk that is too small is said before it is full, leaves nothing, for OUT and for a temporary file" {
	need_root
	mksnap --pages 4000 --images "$W/a.vms"
	vmsnap convert -q "$W/a.vms" "$W/good.vms"
	mount -t tmpfs -o size=4m none "$W/out" || skip "not root enough to mount a tmpfs"
	MOUNTED=$W/out
	was=$(free)
	while IFS='|' read -r layout in what advice; do
		run -1 --separate-stderr bash -c "cat '$W/a.vms' |
			vmsnap convert --layout $layout '${in/FILE/"$W/a.vms"}' '$W/out/b.vms'"
		echo "$stderr"
		[[ $stderr == "vmsnap: $what$W/out/b.vms: No space left on device: up to "*" needed, "*" free, "*" of it reserved; free up space$advice" ]]
		nothing_out
		[ "$(free)" = "$was" ]
	done <<-'END'
		chunked|FILE||, or use --compress
		flat|FILE||, or use --layout chunked with --compress
		chunked|-|temporary file for |
		flat|-|temporary file for |
	END
	vmsnap convert -q --compress "$W/a.vms" "$W/out/b.vms"
	vminspect verify "$W/out/b.vms"
	rm "$W/out/b.vms"
	# What is reserved and not needed is given back, and a flat file takes what its data takes.
	mount -o remount,size=64m "$W/out"
	was=$(free)
	for layout in chunked flat; do
		vmsnap convert -q --layout $layout "$W/a.vms" "$W/out/b.vms"
		[ "$(free)" -ge $((was - $(stat -c %s "$W/good.vms") - 131072)) ]
		rm "$W/out/b.vms"
	done
}

# interrupted SIGNAL POINT INPUT: vmsnap convert gets the signal at its fault point; its status.
interrupted() {
	rm -f "$W/at"
	VMFERRY_FAULT=${NO_TMPFILE:-}vmsnap.$2=wait:$W/at env --default-signal=INT,TERM \
		"$FAULTS_BUILD/bin/vmsnap" convert - "$W/out/b.vms" < <(cat "$W/a.vms") 2>"$W/err" \
		3>&- &
	pid=$!
	until_true 20 test -e "$W/at"
	kill "-$1" $pid
	case $2 in published) rm "$W/at" ;; esac
	rc=0
	wait $pid || rc=$?
}

@test "vmsnap convert: interrupted or killed before the rename nothing is there, after it the result is complete" {
	mksnap --images "$W/a.vms"
	for NO_TMPFILE in "" "publish.no-tmpfile=hit,"; do
		for sig in INT TERM KILL; do
			for point in spooled converted before-publish; do
				interrupted $sig $point
				[ $rc = $((128 + $(kill -l $sig))) ]
				[ $sig = KILL ] || [ "$(cat "$W/err")" = \
					"vmsnap: interrupted by SIG$sig: no snapshot written" ]
				# Only what cannot be without a name, after kill -9.
				[ $sig$NO_TMPFILE != "KILLpublish.no-tmpfile=hit," ] ||
					rm -f "$W"/out/.b.vms.??????
				nothing_out
			done
		done
		interrupted INT published
		[ $rc = 0 ]
		sound "$W/out/b.vms"
		rm "$W/out/b.vms"
	done
}

@test "vmsnap convert: a signal is heard while the writer of the pipe has stalled" {
	mksnap "$W/a.vms"
	mkfifo "$W/pipe"
	for sig in INT TERM; do
		env --default-signal=INT,TERM vmsnap convert - "$W/out/b.vms" <"$W/pipe" \
			2>"$W/err" 3>&- &
		pid=$!
		exec 9>"$W/pipe"
		head -c 60000 "$W/a.vms" >&9
		until_true 20 grep -q pipe "/proc/$pid/task/$pid/wchan" || true
		kill "-$sig" $pid
		rc=0
		wait $pid || rc=$?
		exec 9>&-
		[ $rc = $((128 + $(kill -l $sig))) ]
		[ "$(cat "$W/err")" = "vmsnap: interrupted by SIG$sig: no snapshot written" ]
		nothing_out
	done
}

@test "vmsnap convert: what standard output needs a temporary file for has it in TMPDIR, and leaves none" {
	mksnap --images "$W/a.vms"
	mkdir "$W/tmp"
	export TMPDIR=$W/tmp
	vmsnap convert -q "$W/a.vms" >"$W/b.vms"
	VMFERRY_FAULT=publish.no-tmpfile=hit "$FAULTS_BUILD/bin/vmsnap" convert -q - \
		< <(cat "$W/a.vms") >"$W/c.vms" 2>/dev/null
	cmp "$W/b.vms" "$W/c.vms"
	[ -z "$(ls -A "$W/tmp")" ]
	rmdir "$W/tmp"
	run -1 --separate-stderr bash -c "set -o pipefail; vmsnap convert '$W/a.vms' | cat"
	[ "$stderr" = "vmsnap: temporary file in $W/tmp: No such file or directory" ]
}

# auth FILE: what the MACs in it that are valid under this host's key cover
auth() { "$VMSREAD" --key "$W/state/snapshot.key" "$1" | jq -c .auth; }
requires() { echo "vmsnap: snapshot complete, but a restore requires --trust-paths: $1"; }

# bats file_tags=accel

@test "vmsnap convert: only what this host has authenticated, and all of it, is authenticated again" {
	start_step a "pages=64 tick=100 pace=10"
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	[ "$(auth "$W/a.vms")" = '["configuration","all"]' ]
	run -0 --separate-stderr vmsnap convert --layout flat "$W/a.vms" "$W/f.vms"
	[ "${#stderr_lines[@]}" = 1 ]
	vmsnap convert --compress "$W/f.vms" "$W/b.vms" 2>/dev/null
	cat "$W/f.vms" | vmsnap convert --progress=json - 2>"$W/err" | cat >"$W/c.vms"
	report <"$W/err" | jq -e .authenticated
	for f in f b c; do [ "$(auth "$W/$f.vms")" = '["configuration","all"]' ]; done

	# On a host without a key, and on one with another.
	for host in none other; do
		mkdir -m 700 "$W/$host"
		[ $host = none ] || (umask 077; head -c 32 /dev/urandom >"$W/other/snapshot.key")
		for from in a f; do
			for in in "$W/$from.vms" -; do
				VMFERRY_STATE_DIR=$W/$host run -0 --separate-stderr vmsnap convert \
					--force "$in" "$W/d.vms" < <(cat "$W/$from.vms")
				[[ ${stderr_lines[1]} == "$(requires '')"* ]]
				[ "$(auth "$W/d.vms")" = '[]' ]
			done
		done
		[ $host = other ] || [ -z "$(ls "$W/none")" ]
	done
	other="authenticated by another host or user"
	[ "${stderr_lines[1]}" = "$(requires "standard input: $other")" ]

	# One whose header, or state, is another; one without the second MAC.
	edit "$W/a.vms" "$W/header.vms" <<<"s.header[136 - 8] ^= 1"
	edit "$W/a.vms" "$W/one.vms" <<<"s.chunks.remove(s.of(AUTH, 1))"
	edit "$W/a.vms" "$W/all.vms" <<<"s.of(AUTH, 1).payload[40] ^= 1"
	edit "$W/a.vms" "$W/config.vms" <<<"s.of(AUTH).payload[40] ^= 1"
	altered="altered since this host has authenticated it"
	for change in "header|$altered" "one|not authenticated" "all|$altered" "config|$altered"; do
		f=$W/${change%%|*}.vms
		run -0 --separate-stderr vmsnap convert --force "$f" "$W/d.vms"
		[ "${stderr_lines[1]}" = "$(requires "$f: ${change##*|}")" ]
		[ "$(auth "$W/d.vms")" = '[]' ]
		run -0 --separate-stderr vmsnap convert --force - "$W/d.vms" < <(cat "$f")
		[ "${stderr_lines[1]}" = "$(requires "standard input: ${change##*|}")" ]
		[ "$(auth "$W/d.vms")" = '[]' ]
	done
}

@test "vmsnap convert: a forged memory never gets a MAC, not even one without END" {
	start_step a "pages=64 tick=100 pace=10"
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	edit "$W/a.vms" "$W/forged.vms" <<<"del s.of(INDEX).payload[-32:]"
	run -3 bash -c "set -o pipefail; vmsnap convert -q '$W/forged.vms' | cat >'$W/b.vms'"
	# The MAC over the configuration, which is authentic; not the one over all.
	[ "$(chunks "$W/b.vms" 2>/dev/null | grep -c '^10 ')" = 1 ]
}
