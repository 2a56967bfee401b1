# SPDX-License-Identifier: MIT
# vmsnap --compress=auto.
load ../lib/vm

setup() {
	vm_setup
	READER=$TOP/tests/vmsnap/reader.py
}
teardown() { vm_teardown; }

report() { jq -r "select(.event == \"report\") | $2" "$1"; }

# text DIR: a file of 24 MiB that compresses to a half; each 2 MiB of it by themselves, as chunks.
text() {
	mkdir "$1"
	python3 - "$1/text" <<-'END'
	import random, sys
	r = random.Random(1)
	words = [bytes(r.choices(b'abcdefghijklmnopqrstuvwxyz', k=r.randint(2, 9)))
	         for _ in range(3000)]
	open(sys.argv[1], 'wb').write(b' '.join(r.choices(words, k=400000))[:2 << 20] * 12)
	END
}

@test "vmsnap: --compress=auto compresses more for a slow pipe, reports its levels, and the content is the same" {
	text "$W/initrd"
	start_step a "pages=64 still=1" --memory 128M --initrd "$W/initrd"
	vmrun ctl a stop
	vmsnap --compress=-5 --progress=json a "$W/fastest.vms" 2>"$W/fastest.err"
	[ "$(report "$W/fastest.err" '.levels | map(.level) | join(" ")')" = -5 ]
	# At the fastest level a chunk takes half a second there, and a few ms to compress.
	vmsnap --compress=auto --threads 1 --progress=json a 2>"$W/slow.err" |
		"$READER" slow "$W/slow.vms" 65536 0.02
	report "$W/slow.err" .levels
	[ "$(report "$W/slow.err" '.levels[0].level')" = -5 ]
	[ "$(report "$W/slow.err" '.levels[-1].level > 0')" = true ]
	[ "$(report "$W/slow.err" '.levels | map(.level) | contains([0])')" = false ]
	[ "$(report "$W/slow.err" '(.levels | map(.pages) | add) <= .pages')" = true ]
	[ "$(report "$W/slow.err" '(.levels | map(.pages) | add) > 6144')" = true ]
	[ "$(stat -c %s "$W/slow.vms")" -lt "$(stat -c %s "$W/fastest.vms")" ]
	# With whatever level a fast sink gets.
	vmsnap --compress=auto a "$W/file.vms" 2>"$W/file.err"
	grep -qE ', compress .*(level|raw)' "$W/file.err"
	for f in slow file; do
		vminspect verify "$W/$f.vms"
		stepcheck "$W/$f.vms"
		[ "$(vminspect info --json "$W/$f.vms" | jq -r .digests.memory)" = \
			"$(report "$W/fastest.err" .memory_digest)" ]
	done
	vmrun ctl a quit
	start_vm b --restore "$W/slow.vms" --uuid new
	status_is b paused
	vmsnap --progress=json b 2>"$W/b.err" >"$W/b.vms"
	[ "$(report "$W/b.err" .memory_digest)" = "$(report "$W/fastest.err" .memory_digest)" ]
	[ "$(report "$W/b.err" '.levels | map(.level) | join(" ")')" = 0 ]
}
