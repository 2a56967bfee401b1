# The snapshot format against docs/format.md: a reader that has seen only that text.
load ../lib/vm

setup() {
	vm_setup
	VMSREAD=$TOP/tests/format/vmsread.py
	export PYTHONDONTWRITEBYTECODE=1
}
teardown() { vm_teardown; }

# bats file_tags=slow,accel

@test "format: a reader written from docs/format.md alone finds every hash and both digests right, raw, compressed, state-only and from a pipe" {
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
		jq -e '.header.name == "a" and .machine.cpus == 2 and .machine.regions[0].pages.data >= 256 and .machine.regions[0].size == 67108864
			and .machine.regions[0].pages.untouched > 15000' "$W/$s.json"
	done
	jq -e '.machine.regions[0].pages.data == 0 and .header.required == 1' "$W/state.json"
}

@test "format: it knows every state property of every device, by the text's tables" {
	truncate -s 1M "$W/disk"
	start_step a "pages=16 pace=100" --rng --disk "root=$W/disk"
	vmsnap --state-only a "$W/a.vms"
	"$VMSREAD" "$W/a.vms" >"$W/a.json"
	# Every device and CPU of the machine, but for devices that keep nothing (docs/format.md, "State nodes"), and each part's
	# rows; a property the text lacks is refused by the reader itself.
	jq -e '[.machine.devices[] | select(.type | IN("reset", "pvpanic", "debugexit") | not).node] - [.state | keys[] | ltrimstr("/soc/")] == []' "$W/a.json"
	jq -e '.state["/cpus/cpu@0"] | .hart.pc // ."x86-regs".rip | . > 0' "$W/a.json"
	jq -e '.state["/vm"].clock.guest_ns > 0' "$W/a.json"
	jq -e '[.state | to_entries[] | .value["virtio-blk"]?.capacity | numbers] == [2048]' "$W/a.json"
}

# bats file_tags=slow

@test "format: two readers give one content digest to the same memory at every compression level" {
	for level in -5 0 1 3 9; do
		snapwrite - 4 "$level" packs >"$W/$level.vms"
		"$VMSREAD" "$W/$level.vms" | jq -r .content_digest
	done >"$W/content"
	sort -u "$W/content" | wc -l | grep -qx 1
}

@test "format: a page is found by the index as the text describes it" {
	snapwrite - 4 0 packs >"$W/raw.vms"
	snapwrite - 4 1 packs >"$W/zstd.vms"
	for page in 0 1 511 512 777 1023; do
		cmp <("$VMSREAD" --page 0 "$page" "$W/raw.vms") <("$VMSREAD" --page 0 "$page" "$W/zstd.vms")
		"$VMSREAD" --page 0 "$page" "$W/raw.vms" | sha256sum
	done | sort -u | wc -l | grep -qx 6
}

@test "format: a flipped bit and a cut are refused by the reader of the text too" {
	snapwrite - 1 1 packs >"$W/a.vms"
	size=$(stat -c %s "$W/a.vms")
	for at in 3 40 1000 4090 4100 5000 $((size / 2)) $((size - 300)) $((size - 170)) $((size - 60)) $((size - 1)); do
		cp "$W/a.vms" "$W/b.vms"
		flip_bit "$W/b.vms" "$at" 3
		run -3 "$VMSREAD" "$W/b.vms"
	done
	for cut in 0 4095 4096 5000 $((size - 176)) $((size - 1)); do
		head -c "$cut" "$W/a.vms" >"$W/b.vms"
		run -3 "$VMSREAD" "$W/b.vms"
	done
	{ cat "$W/a.vms"; printf x; } >"$W/b.vms"
	run -3 "$VMSREAD" "$W/b.vms"
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
	fat = good[:4] + bytes([0xa0]) + (8192).to_bytes(4, 'little') + b''.join(bytes([16 | (i == 4095), 0, 0, 0, 0]) for i in range(4096))
	bad = {'behind': good + skippable, 'before': skippable + good, 'twice': good + good, 'cut': good[:-1], 'fat': fat, 'empty': b'',
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
