# SPDX-License-Identifier: MIT
# A VM of 1 TiB that uses a megabyte of it: work and memory follow what is used. Bounds are counts,
# of what was read and written, or compare with a VM of 64 MiB that uses as many pages.
load lib/vm

setup() {
	[ -z "${SAN:-}" ] || skip "runs on the plain build only"
	vm_setup
	USAGE=$TOP/tests/lib/usage.py
	FILL=$TOP/tests/guests/fill.elf
	# 17 pieces of 64 KiB each, the last one at the end of memory.
	BIG="mib=$((1024 * 1024 - 16)) apart=65536" SMALL="mib=32 apart=2"
}
teardown() { [ -n "${SAN:-}" ] || vm_teardown; }

# start_fill NAME BOOTARGS MEMORY
start_fill() {
	start_vm "$1" --kernel "$FILL" --append "$2" --memory "$3"
	wait_line 20 '^fill guest' "$W/$1.out"
}
peak() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }
words() { vmrun ctl "$1" vmferry-inspect | jq '.. | .["dirty-words"]? // empty'; }
digest() { vminspect info --json "$1" | jq -r .digests.memory; }

# save NAME AS [vmsnap options]: to $W/AS.vms. $W/AS.json is its report, with its usage and, as
# disk_kb, what the file takes.
save() {
	local name=$1 as=$2
	shift 2
	"$USAGE" "$W/$as.use" vmsnap --progress=json "$@" "$name" "$W/$as.vms" 2>"$W/$as.err"
	jq -s --argjson kb "$(du -k "$W/$as.vms" | cut -f 1)" \
		'map(select(.event == "report" or .rchar)) | add + { disk_kb: $kb }' \
		"$W/$as.err" "$W/$as.use" >"$W/$as.json"
	echo "$as: $(jq -c 'del(.levels, .time_ms, .vm, .file)' "$W/$as.json")"
}

# holds AS CONDITION [AS]: of the first save; $o is the other one.
holds() { jq -e --slurpfile other "$W/${3:-$1}.json" "\$other[0] as \$o | $2" "$W/$1.json"; }

# follows AS: what the save read and wrote follows from the pages that it copied, and nothing of
# the space that was reserved for it is left.
follows() {
	holds "$1" '.present_pages < 400 and .bytes < .pages * 4200 + 65536 and
		.rchar < .pages * 4096 + 131072 and .wchar < .bytes + 65536 and
		.syscr < .pages + 128 and .syscw < .pages + 128 and
		.disk_kb < .bytes / 1024 + 256'
}

# reads USAGE BYTES: at most.
reads() { jq -e --argjson most "$2" '.rchar < $most and .syscr < 100 and .rss_kb < 24576' "$1"; }

@test "sparse: a VM of 1 TiB is saved, inspected and restored by the work and memory that its used pages need" {
	start_fill small "$SMALL" 64M
	small=$VMPID
	start_fill big "$BIG" 1T
	big=$VMPID
	vmrun ctl small stop
	vmrun ctl big stop
	save small small
	save big big
	follows small
	follows big
	holds big '.present_pages < $o.present_pages + 16 and .rss_kb < $o.rss_kb + 4096' small
	# Again, as what the first one left must not be touched as a whole; and by a pipe.
	save big again
	follows again
	vmsnap -q --compress=auto big | cat >"$W/pipe.vms"
	echo "vmrun: $(peak "$small") and $(peak "$big") KiB"
	[ "$(peak "$big")" -lt $(($(peak "$small") + 4096)) ]
	holds again '.memory_digest == $o.memory_digest' big
	[ "$(digest "$W/pipe.vms")" = "$(digest "$W/big.vms")" ]

	"$USAGE" "$W/info.use" vminspect info "$W/big.vms" >"$W/info"
	last=$(printf 0x%x $((0x80800000 + (1024 * 1024 - 16 << 20) - 4096)))
	"$USAGE" "$W/mem.use" vminspect mem "$last" 16 "$W/big.vms" >"$W/mem"
	"$USAGE" "$W/verify.use" vminspect verify "$W/big.vms"
	cat "$W/mem" "$W/info.use" "$W/mem.use" "$W/verify.use"
	[ -s "$W/mem" ]
	bytes=$(stat -c %s "$W/big.vms")
	reads "$W/info.use" 65536
	reads "$W/mem.use" 65536
	reads "$W/verify.use" $((bytes + 65536))

	vmrun ctl big quit
	start_vm restored --restore "$W/big.vms" --overcommit
	restored=$VMPID
	status_is restored paused
	echo "restored: $(peak "$restored") KiB, $(grep rchar "/proc/$restored/io")"
	[ "$(peak "$restored")" -lt $(($(peak "$small") + 4096)) ]
	[ "$(awk '/^rchar/ { print $2 }' "/proc/$restored/io")" -lt $((bytes + 131072)) ]
	save restored restored
	follows restored
	holds restored '.memory_digest == $o.memory_digest' big
}

@test "sparse: rounds over 1 TiB look at the bitmaps of what is used" {
	start_fill big "$BIG again=1" 1T
	was=$(words big)
	save big big --max-rounds 8 --max-downtime 0
	follows big
	# For each round and the pause, the start and the flushes: 512 words of 64 pages for each
	# of 17 pieces, and the start of memory. All of 1 TiB are 4194304.
	now=$(words big)
	echo "words: $was, $now"
	[ $((now - was)) -gt 0 ]
	[ $((now - was)) -lt $((($(jq .rounds "$W/big.json") + 12) * 18 * 512)) ]
	vminspect verify "$W/big.vms"
}
