# SPDX-License-Identifier: MIT
# The snapshot format against docs/format.md: a reader that has seen only that text.
load ../lib/vm

setup() {
	vm_setup
	VMSREAD=$TOP/tests/format/vmsread.py
	export PYTHONDONTWRITEBYTECODE=1
}
teardown() { vm_teardown; }

# bats file_tags=slow,accel

@test "format: a reader written from docs/format.md alone finds every hash and all digests right, raw, compressed, state-only and from a pipe" {
	truncate -s 1M "$W/disk"
	start_step a "pages=256 tick=256 pace=10" --cpus 2 --rng --disk "root=$W/disk"
	wait_line 20 'tick 1$' "$W/a.out"
	vmsnap a "$W/raw.vms"
	vmsnap --compress a "$W/zstd.vms"
	vmsnap --state-only a "$W/state.vms"
	for s in raw zstd state; do "$VMSREAD" "$W/$s.vms" >"$W/$s.json"; done
	vmsnap --compress=3 a | "$VMSREAD" - >"$W/pipe.json"
	for s in raw zstd state; do jq -e '.header.incomplete == false' "$W/$s.json"; done
	jq -e '.header.incomplete == true' "$W/pipe.json"
	for s in raw zstd pipe; do
		jq -e '.header.name == "a" and .machine.cpus == 2 and
			.machine.regions[0].pages.data >= 256 and
			.machine.regions[0].size == 67108864 and
			.machine.regions[0].pages.untouched > 15000' "$W/$s.json"
	done
	jq -e '.machine.regions[0].pages.data == 0 and .header.required == 1' "$W/state.json"
}

@test "format: it knows every state property of every device, by the text's tables" {
	truncate -s 1M "$W/disk"
	start_step a "pages=16 pace=100" --rng --disk "root=$W/disk"
	vmsnap --state-only a "$W/a.vms"
	"$VMSREAD" "$W/a.vms" >"$W/a.json"
	# Every device and CPU of the machine, but for devices that keep nothing (docs/format.md,
	# "State nodes"), and each part's rows; a property the text lacks is refused by the reader
	# itself.
	jq -e '[.machine.devices[] | select(.type | IN("reset", "pvpanic", "debugexit") |
		not).node] - [.state | keys[] | ltrimstr("/soc/")] == []' "$W/a.json"
	jq -e '.state["/cpus/cpu@0"] | .hart.pc // ."x86-regs".rip | . > 0' "$W/a.json"
	jq -e '.state["/vm"].clock.guest_ns > 0' "$W/a.json"
	jq -e '[.state | to_entries[] | .value["virtio-blk"]?.capacity | numbers] == [2048]' \
		"$W/a.json"
}

# bats file_tags=slow

@test "format: two readers give one memory digest to the same memory at every compression level" {
	for level in -5 0 1 3 9; do
		snapwrite - 4 "$level" packs >"$W/$level.vms"
		"$VMSREAD" "$W/$level.vms" | jq -r .memory_digest
	done >"$W/memory"
	sort -u "$W/memory" | wc -l | grep -qx 1
}

@test "format: a page is found by the index as the text describes it" {
	snapwrite - 4 0 packs >"$W/raw.vms"
	snapwrite - 4 1 packs >"$W/zstd.vms"
	for page in 0 1 511 512 777 1023; do
		cmp <("$VMSREAD" --page 0 "$page" "$W/raw.vms") <("$VMSREAD" --page 0 "$page" \
			"$W/zstd.vms")
		"$VMSREAD" --page 0 "$page" "$W/raw.vms" | sha256sum
	done | sort -u | wc -l | grep -qx 6
}

@test "format: a page is found through a level above the index" {
	mksnap --pages 9000 --ram 64 --level 1 "$W/a.vms"
	"$VMSREAD" "$W/a.vms" | jq -e '.machine.regions[0].pages.data == 4501'
	for page in 0 1 2 3 1024 4095 4096 8192 8999 9001 16382 16383; do
		cmp <("$VMSREAD" --page 0 "$page" "$W/a.vms") \
			<(vminspect mem --raw $((RAM + page * 4096)) 4096 "$W/a.vms")
		"$VMSREAD" --page 0 "$page" "$W/a.vms" | sha256sum
	done | sort -u | wc -l | grep -qx 7
	run -3 "$VMSREAD" --page 0 16384 "$W/a.vms"
}

@test "format: the directory lists what a reader of a file looks for, each where it is" {
	mksnap --images "$W/a.vms"
	"$VMSREAD" --directory "$W/a.vms" >"$W/list"
	jq -e 'map(.type) == [1, 3, 3, 5, 5, 5, 6, 13] and .[0].offset == 4096 and
		map(.round) == [0, 0, 0, 0, 1, 2, 0, 0]' "$W/list"
	flip_bit "$W/a.vms" $(($(jq '.[6].offset' "$W/list") + 100)) 3
	run -3 "$VMSREAD" --directory "$W/a.vms"
}

@test "format: a flipped bit and a cut are refused by the reader of the text too" {
	snapwrite - 1 1 packs >"$W/a.vms"
	size=$(stat -c %s "$W/a.vms")
	for at in 3 40 1000 4090 4100 5000 $((size / 2)) $((size - 300)) $((size - 170)) \
		$((size - 60)) $((size - 1)); do
		cp "$W/a.vms" "$W/b.vms"
		flip_bit "$W/b.vms" "$at" 3
		run -3 "$VMSREAD" "$W/b.vms"
	done
	for cut in 0 4095 4096 5000 $((size - 192)) $((size - 1)); do
		head -c "$cut" "$W/a.vms" >"$W/b.vms"
		run -3 "$VMSREAD" "$W/b.vms"
	done
	{ cat "$W/a.vms"; printf x; } >"$W/b.vms"
	run -3 "$VMSREAD" "$W/b.vms"
}

@test "format: the examples of docs/format.md have valid hashes and the values that the text gives" {
	"$TOP/tests/format/examples.py" check
}

@test "format: each rule has a snapshot that breaks only that, and both readers refuse it" {
	mkdir "$W/bad"
	mksnap --pages 16 --level 3 "$W/a.vms"
	"$TOP/tests/format/vmsedit.py" refused "$W/a.vms" "$W/bad"
	[ "$(wc -l <"$W/bad/expected")" -gt 50 ]
	while IFS='|' read -r name words; do
		run -3 --separate-stderr vminspect verify "$W/bad/$name.vms"
		[[ "$stderr" == *"$words"* ]]
		run -3 "$VMSREAD" "$W/bad/$name.vms"
	done <"$W/bad/expected"
}

@test "format: what is wrong in a table is found by whoever reads that table at random, by both readers" {
	mkdir "$W/bad"
	mksnap --pages 9000 --ram 64 --level 1 "$W/a.vms"
	"$VMSREAD" --page 0 1000 "$W/a.vms" >"$W/page"
	vminspect mem --raw $((RAM + 4096000)) 4096 "$W/a.vms" | cmp - "$W/page"
	"$TOP/tests/format/vmsedit.py" tables "$W/a.vms" "$W/bad"
	for f in "$W"/bad/*.vms; do
		run -3 "$VMSREAD" --page 0 1000 "$f"
		run -3 --separate-stderr vminspect mem --raw $((RAM + 4096000)) 4096 "$f"
		[ "$output" = "" ]
	done
}

@test "format: what the text leaves to a writer is read by both readers, of a file and a pipe" {
	mkdir "$W/good"
	mksnap --pages 16 --level 3 "$W/a.vms"
	"$TOP/tests/format/vmsedit.py" accepted "$W/a.vms" "$W/good"
	memory=$(vminspect verify --json "$W/a.vms" | jq -r .memory)
	for f in "$W"/good/*.vms; do
		vminspect verify --json "$f" | jq -e --arg m "$memory" '.memory == $m'
		"$VMSREAD" - <"$f" | jq -e --arg m "$memory" '.memory_digest == $m'
		vminspect info --json "$f" | jq -e --arg m "$memory" '.digests.memory == $m'
		"$VMSREAD" --directory "$f" | jq -e 'map(select(.type == 6)) | length > 0'
		cmp <("$VMSREAD" --page 0 13 "$f") <(vminspect mem --raw $((RAM + 53248)) 4096 "$f")
	done
}

@test "format: the reader of the text takes no state that repeats the configuration, names what it has not, or lacks a part" {
	for options in "--set /vm uuid x" "--set /host/root path x" "--set /cpus/cpu@1 reg x" \
		"--set /soc ranges x" "--set / compatible x" "--add /cpus/cpu@2" \
		"--add /host/data" "--add /host/console" "--add /soc/uart@0" \
		"--add /memory@0" "--del /host/root" \
		"--del /cpus/cpu@1" "--del /vm/state/clock" "--set /vm vmferry,stopped x" \
		"--del /soc/virtio-rng@10003000/state/virtio" "--name other" \
		"--x86 --del /cpus/cpu@0/state/x86-lapic" \
		"--del /soc/sifive-plic@c000000/state/plic-context@1"; do
		# shellcheck disable=SC2086 # several words
		mksnap $options "$W/a.vms"
		run -3 "$VMSREAD" "$W/a.vms"
		run -3 vminspect verify "$W/a.vms"
	done
	mksnap --add /chosen "$W/a.vms"
	"$VMSREAD" "$W/a.vms" >/dev/null
	vminspect verify "$W/a.vms"
}

@test "format: the reader of the text takes trees in canonical form alone" {
	cd "$TOP/tests/format"
	mksnap --tree config "$W/c.dtb"
	python3 - "$W/c.dtb" <<-'END'
	import struct, sys, vmsread
	good = open(sys.argv[1], 'rb').read()
	strings = struct.unpack_from('>I', good, 12)[0]
	assert vmsread.read_fdt(good, 0)

	def changed(b, **fields):
	    at = {'total': 4, 'strings': 12, 'last': 24, 'boot': 28, 'struct_len': 36}
	    b = bytearray(b)
	    for name, more in fields.items():
	        struct.pack_into('>I', b, at[name], struct.unpack_from('>I', b, at[name])[0] + more)
	    return bytes(b)
	vm = good.index(b'\0\0\0\1vm\0\0')
	bad = {'nop': changed(good[:vm] + b'\0\0\0\4' + good[vm:], total=4, strings=4,
	                      struct_len=4),
	       'gap': changed(good[:strings] + bytes(4) + good[strings:], total=4, strings=4),
	       'hidden gap': changed(good[:strings] + bytes(4) + good[strings:], total=4, strings=4,
	                             struct_len=4),
	       'behind': changed(good + b'\0', total=1), 'last': changed(good, last=1),
	       'boot': changed(good, boot=1), 'reserved': good[:55] + b'\1' + good[56:],
	       'padding': good[:vm + 7] + b'x' + good[vm + 8:]}
	for what, tree in bad.items():
	    try:
	        vmsread.read_fdt(tree, 0)
	    except vmsread.Refused:
	        continue
	    sys.exit(what + ' was read')
	END
}

@test "format: the reader of the text takes one zstd frame, and no legacy, skippable or second one, no dictionary, none larger than its pages" {
	head -c 8192 /dev/zero >"$W/pages"
	zstd -q "$W/pages" -o "$W/frame"
	cd "$TOP/tests/format"
	python3 - "$W/frame" <<-'END'
	import sys, types, vmsread
	good = open(sys.argv[1], 'rb').read()
	chunk = types.SimpleNamespace(encoding=1, at=0)
	assert vmsread.unpack(chunk, good, 2) == bytes(8192)
	skippable = bytes.fromhex('502a4d1800000000')
	where = 5 if good[4] & 0x20 else 6
	fat = good[:4] + bytes([0xa0]) + (8192).to_bytes(4, 'little') + b''.join(
	    bytes([16 | (i == 4095), 0, 0, 0, 0]) for i in range(4096))
	bad = {'behind': good + skippable, 'before': skippable + good, 'twice': good + good,
	       'cut': good[:-1], 'fat': fat, 'empty': b'',
	       'dictionary': good[:4] + bytes([good[4] | 1]) + good[5:where] + b'\0' + good[where:],
	       'legacy': bytes.fromhex('27b52ffd') + good[4:], 'of three pages': None}
	for what, frame in bad.items():
	    try:
	        vmsread.unpack(chunk, good if frame is None else frame, 3 if frame is None else 2)
	    except vmsread.Refused:
	        continue
	    sys.exit(what + ' was read')
	END
}

@test "format: the reader of the text takes an image in order, whole and with its digest, and nothing else as one" {
	mksnap --images "$W/a.vms"
	"$VMSREAD" "$W/a.vms" | jq -e '.images == ["initrd", "kernel"]'
	[ "$("$VMSREAD" --image kernel "$W/a.vms" | wc -c)" = 5000 ]
	cd "$TOP/tests/format"
	python3 - <<-'END'
	import struct, sys, types, vmsread
	image = bytes(i * 7 & 255 for i in range(1000))
	kernel = {'name': 'kernel', 'class': 'kernel', 'size': 1000,
	          'digest': vmsread.xxh3_128(image).hex()}
	root = {'name': 'root', 'class': 'disk', 'size': 1000, 'digest': kernel['digest']}

	def piece(at, n, path=b'/host/kernel', length=1000, b=image):
	    return path.ljust(256, b'\0') + struct.pack('<QQ', at, length) + b[at:at + n]

	def read(pieces, **other):
	    images = vmsread.Images({'hosts': [dict(kernel, **other), root]})
	    for p in pieces:
	        images.piece(types.SimpleNamespace(payload=p, at=0))
	    images.end(0)
	    return bytes(images.came['kernel'])
	assert read([piece(0, 400), piece(400, 600)]) == image and read([piece(0, 1000)]) == image
	spoilt = image[:5] + b'x' + image[6:]
	bad = {
	    'gap': [piece(0, 400), piece(401, 599)],
	    'repeat': [piece(0, 400), piece(0, 400)],
	    'not whole': [piece(0, 400)],
	    'again': [piece(0, 1000), piece(0, 1000)],
	    'total': [piece(0, 400, length=1001)],
	    'empty': [piece(0, 0)],
	    'long': [piece(0, 400), piece(400, 601, b=image + b'x')],
	    'short': [piece(0, 1)[:271]],
	    'digest': [piece(0, 1000, b=spoilt)],
	    'disk': [piece(0, 1000, b'/host/root')],
	    'none': [piece(0, 1000, b'/host/initrd')],
	    'path': [piece(0, 1000, b'/host/kernel\0x')],
	    'full path': [piece(0, 1000, b'/host/kernel'.ljust(256, b'x'))],
	}
	known = {'nil digest': {'digest': '0' * 32}, 'nil size': {'size': 0},
	         'class': {'class': 'initrd'}}
	for what, pieces in list(bad.items()) + [(k, [piece(0, 1000)]) for k in known]:
	    try:
	        read(pieces, **known.get(what, {}))
	    except vmsread.Refused:
	        continue
	    sys.exit(what + ' was read')
	END
}

@test "format: a flat snapshot is, byte by byte, what the text makes of the chunked one" {
	for options in "" "--images --pages 4" "--pages 4200 --ram 17" "--x86 --ram 4096"; do
		# shellcheck disable=SC2086 # several words
		mksnap $options "$W/a.vms"
		# shellcheck disable=SC2086
		mksnap --flat $options "$W/flat.vms"
		"$TOP/tests/format/vmsflat.py" "$W/a.vms" "$W/made.vms"
		[ "$(stat -c %s "$W/made.vms")" = "$(stat -c %s "$W/flat.vms")" ]
		[ "$(du -k "$W/made.vms" | cut -f 1)" -lt 16384 ]
		cmp "$W/flat.vms" "$W/made.vms"
		rm "$W/flat.vms"
	done
	"$VMSREAD" "$W/made.vms" | jq -e \
		'.map == [[0, 786432, 2097152], [1, 262144, 3223322624]]'
}

@test "format: a flat snapshot has the memory and machine digest of the chunked one and its pages, by both readers, from a file and a pipe" {
	# Two chunks of hashes, several of the index.
	mksnap --pages 18000 --ram 80 --level 1 "$W/a.vms"
	mksnap --flat --pages 18000 --ram 80 "$W/flat.vms"
	"$VMSREAD" "$W/a.vms" >"$W/a.json"
	"$VMSREAD" "$W/flat.vms" >"$W/flat.json"
	# shellcheck disable=SC2002 # a pipe, which has no holes
	cat "$W/flat.vms" | "$VMSREAD" - | cmp - "$W/flat.json"
	same='{memory_digest, machine_digest, machine, state, images}'
	cmp <(jq "$same" "$W/a.json") <(jq "$same" "$W/flat.json")
	jq -e '.header.layout == 2 and .map == [[0, 20480, 2097152]] and .rounds == 0' \
		"$W/flat.json"
	[ "$(jq -j '.file_digest, " ", .memory_digest' "$W/flat.json")" = \
		"$(vminspect verify --json "$W/flat.vms" | jq -j '.file, " ", .memory')" ]
	for page in 0 2 3 1000 16384 16385 17999 20479; do
		"$VMSREAD" --page 0 "$page" "$W/flat.vms" >"$W/page"
		"$VMSREAD" --page 0 "$page" "$W/a.vms" | cmp - "$W/page"
		vminspect mem --raw $((RAM + page * 4096)) 4096 "$W/flat.vms" | cmp - "$W/page"
		tail -c +$((2097153 + page * 4096)) "$W/flat.vms" | cmp -n 4096 - "$W/page"
	done
	run -3 "$VMSREAD" --page 0 20480 "$W/flat.vms"
}

@test "format: images and directory of a flat snapshot are found as in a chunked one" {
	mksnap --images "$W/a.vms"
	mksnap --flat --images "$W/flat.vms"
	cmp <("$VMSREAD" --image kernel "$W/a.vms") <("$VMSREAD" --image kernel "$W/flat.vms")
	"$VMSREAD" --directory "$W/flat.vms" | jq -e 'map(.type) == [1, 3, 3, 15, 6, 13]'
}

@test "format: each rule of the flat layout has a snapshot that breaks only that, and both readers refuse it, of a file and a pipe" {
	mkdir "$W/bad"
	mksnap --flat --pages 16 --ram 1 "$W/a.vms"
	"$TOP/tests/format/flatedit.py" refused "$W/a.vms" "$W/bad"
	[ "$(wc -l <"$W/bad/expected")" -gt 60 ]
	while IFS='|' read -r name words; do
		run -3 --separate-stderr vminspect verify "$W/bad/$name.vms"
		[[ "$stderr" == *"$words"* ]]
		run -3 --separate-stderr vminspect verify - < <(cat "$W/bad/$name.vms")
		[[ "$stderr" == *"$words"* ]]
		run -3 "$VMSREAD" "$W/bad/$name.vms"
	done <"$W/bad/expected"
}

@test "format: what is wrong in a flat snapshot is found by whoever reads that page at random, by both readers" {
	mkdir "$W/bad"
	mksnap --flat --pages 4200 --ram 17 "$W/a.vms"
	"$VMSREAD" --page 0 1000 "$W/a.vms" >"$W/page"
	vminspect mem --raw $((RAM + 4096000)) 4096 "$W/a.vms" | cmp - "$W/page"
	"$TOP/tests/format/flatedit.py" tables "$W/a.vms" "$W/bad"
	for f in "$W"/bad/*.vms; do
		run -3 "$VMSREAD" --page 0 1000 "$f"
		run -3 --separate-stderr vminspect mem --raw $((RAM + 4096000)) 4096 "$f"
		[ "$output" = "" ]
	done
}

@test "format: what the text leaves to a writer of the flat layout is read by both readers, of a file and a pipe" {
	mkdir "$W/good"
	mksnap --flat --pages 16 --ram 1 "$W/a.vms"
	"$TOP/tests/format/flatedit.py" accepted "$W/a.vms" "$W/good"
	memory=$(vminspect verify --json "$W/a.vms" | jq -r .memory)
	for f in "$W"/good/*.vms; do
		vminspect verify --json "$f" | jq -e --arg m "$memory" '.memory == $m'
		# shellcheck disable=SC2002 # a pipe, which has no holes
		cat "$f" | "$VMSREAD" - | jq -e --arg m "$memory" '.memory_digest == $m'
		vminspect info --json "$f" | jq -e --arg m "$memory" '.digests.memory == $m'
		cmp <("$VMSREAD" --page 0 13 "$f") <(vminspect mem --raw $((RAM + 53248)) 4096 "$f")
	done
}

@test "format: the reader of the text finds a byte between two regions, whatever the holes of the file, and a cut in one" {
	cd "$TOP/tests/format"
	python3 - "$W/memory" <<-'END'
	import sys, types, vmsread
	sizes, start = {0: 600, 3: 2}, 6560
	entries, end = vmsread.map_of(sizes, start)
	assert entries == [(0, 600, 2 << 20), (3, 2, 6 << 20)] and end == (6 << 20) + 8192
	assert vmsread.map_of({0: 512, 1: 1}, 2 << 20) == (
	    [(0, 512, 2 << 20), (1, 1, 4 << 20)], (4 << 20) + 4096)

	def read(pages, pipe=False, cut=0):
	    """Memory with a byte at each of these file offsets, with holes at all others."""
	    with open(sys.argv[1], 'wb') as f:
	        for at in pages:
	            f.seek(at)
	            f.write(b'\1')
	        f.truncate(end - cut)
	    with open(sys.argv[1], 'rb', buffering=0 if pipe else -1) as f:
	        f.seek(start)
	        source = vmsread.Source(f, start)
	        if pipe:
	            source.extent = lambda: (0, 1 << 63)
	        memory = vmsread.FlatMemory(False)
	        memory.sizes = sizes
	        payload = vmsread.map_payload(entries)
	        memory.map(types.SimpleNamespace(at=0, payload=payload), source)
	    return sorted(memory.pages)

	first, second = 2 << 20, 6 << 20
	for pipe in (False, True):
	    assert read([], pipe) == []
	    assert read([first + 600 * 4096 - 1, second, second + 8191], pipe) == [
	        (0, 599), (3, 0), (3, 1)]
	    assert read([first, first + 4096 * 300 + 7], pipe) == [(0, 0), (0, 300)]
	    for at, cut in ((start, 0), (first - 1, 0), (first + 600 * 4096, 0), (second - 1, 0),
	                    (second, 1), (first, 8192), (first, end - first - 1)):
	        try:
	            read([at], pipe, cut)
	        except vmsread.Refused:
	            continue
	        sys.exit('%d, cut by %d, was read' % (at, cut))
	END
}
