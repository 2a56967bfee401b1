# SPDX-License-Identifier: MIT
# vminspect info.
# shellcheck disable=SC2002 # a pipe is the point
load ../lib/vm

setup() {
	vm_setup
	cd "$BATS_TEST_TMPDIR" || return 1
	export PYTHONDONTWRITEBYTECODE=1
}
teardown() { vm_teardown; }

@test "vminspect info: names machine, devices, regions, host resources, rounds and digests of a file" {
	mksnap a.vms
	run -0 --separate-stderr vminspect info a.vms
	[ "$stderr" = "" ]
	[ "$(sed '/^file  /d; /^memory  /d; /^machine  *[0-9a-f]*$/d; /^size /d' <<<"$output")" = "\
format      version 1, chunked
vm          sample, 11223344-5566-7788-99aa-bbccddeeff10
snapshot    0f0e0d0c-0b0a-4908-8706-050403020100
created     2026-11-21T00:00:01.000000000Z by mksnap
machine     riscv64-1, 2 CPUs, 64.0 MiB memory, timebase 10000000 Hz, on reboot reset
isa         rv64imafdc_zicntr_zicsr_zifencei_sstc
append      console=ttyS0 root=/dev/vda ro
device      sifive-plic@c000000
device      ns16550a@10000000, interrupt 10, host console
device      goldfish-rtc@101000, interrupt 11
device      virtio-blk@10001000, interrupt 1, slot 0, host root
device      virtio-console@10002000, interrupt 2, slot 1, host console
device      virtio-rng@10003000, interrupt 3, slot 2, host rng
region      0 ram ram at 0x80000000, 64.0 MiB: pages 17 data, 8 zero, 16359 untouched
host        console (serial) stdio
host        root (disk) /srv/vm/root.img, read-only, 16.0 MiB, \
modified 2026-11-20T23:59:59.000000000Z
host        rng (rng) -
round       0: 17 data pages, 69.7 KiB in 1 chunk
round       1: 4 data pages, 19.9 KiB in 1 chunk
round       2: 2 data pages, 11.9 KiB in 1 chunk" ]
	vminspect verify --json a.vms | jq -r '"file        \(.file)", "memory      \(.memory)",
		"machine     \(.machine)"' >digests
	[ "$(tail -n 3 <<<"$output")" = "$(cat digests)" ]
}

@test "vminspect info: a pipe tells what the file tells, and has computed the digests" {
	mksnap --level 3 a.vms
	vminspect info --json a.vms >file.json
	cat a.vms | vminspect info --json >pipe.json
	jq -e '.digests.checked == false' file.json
	jq -e '.digests.checked == true' pipe.json
	diff <(jq 'del(.digests.checked)' file.json) <(jq 'del(.digests.checked)' pipe.json)
	mkfifo named
	cat a.vms >named &
	vminspect info named | diff - <(vminspect info a.vms)
}

@test "vminspect info: what a reader written from docs/format.md alone says, it says" {
	for options in "--level 0" "--level 3" "--state-only" "--pages 3000 --ram 16" "--images"; do
		# shellcheck disable=SC2086 # several words
		mksnap $options a.vms
		"$TOP/tests/vminspect/agree.py" a.vms "$TOP/tests/format/vmsread.py"
	done
}

@test "vminspect info: says which images are in the snapshot, of a file and a pipe" {
	mksnap --images a.vms
	cat >want <<-'END'
	host        kernel (kernel) /srv/vm/kernel, read-only, 4.9 KiB, included
	host        initrd (initrd) /srv/vm/initrd, read-only, 300 B, included
	END
	diff <(vminspect info a.vms | grep -E '^host +(kernel|initrd)') want
	diff <(cat a.vms | vminspect info | grep -E '^host +(kernel|initrd)') want
	mksnap b.vms
	run -1 grep included <(vminspect info b.vms)
	for f in a.vms b.vms; do
		vminspect info --json "$f" | jq -c '[.hosts[] | select(.included).name]'
	done >names
	[ "$(cat names)" = '["kernel","initrd"]'$'\n''[]' ]
}

@test "vminspect info: an image that is damaged is refused, at its chunk" {
	mksnap --images a.vms
	at=$(payload_of 3 a.vms)
	flip_bit a.vms $((at + 272 + 100)) 0
	for way in a.vms -; do
		run -3 --separate-stderr vminspect info "$way" <a.vms
		[ "$output" = "" ]
		[[ $stderr == "vminspect: "*": blob chunk: payload checksum mismatch (at byte $((at - 64)))" ]]
	done
}

# bats test_tags=accel
@test "vminspect info: of a running machine's snapshot it says what that reader says" {
	truncate -s 1M "$W/disk"
	start_step a "pages=64 tick=64 pace=10" --cpus 2 --rng --disk "root=$W/disk"
	wait_line 20 'tick 1$' "$W/a.out"
	vmsnap --compress a "$W/a.vms"
	"$TOP/tests/vminspect/agree.py" "$W/a.vms" "$TOP/tests/format/vmsread.py"
	vminspect info --json "$W/a.vms" | jq -e '.unknown == []'
}

@test "vminspect info: the header of a later version is printed, the rest refused, exit 3" {
	mksnap --spoil version a.vms
	for way in "a.vms" "-"; do
		run -3 --separate-stderr vminspect info "$way" <a.vms
		[ "$output" = "\
format      version 7, chunked
vm          sample, 11223344-5566-7788-99aa-bbccddeeff10
snapshot    0f0e0d0c-0b0a-4908-8706-050403020100
created     2026-11-21T00:00:01.000000000Z by mksnap" ]
		[ "${stderr#vminspect: "${way/#-/standard input}"}" = \
			": unsupported format version 7 (this build reads version 1) (at byte 8)" ]
	done
	run -3 --separate-stderr vminspect info --json a.vms
	[ "$(jq -c '[.version, .vm.name, .machine]' <<<"$output")" = '[7,"sample",null]' ]
	run -3 vminspect regs a.vms
}

# payload_of TYPE FILE: the place of the first payload of a chunk type
payload_of() {
	python3 - "$1" "$2" <<-'END'
	import struct, sys
	b, at = open(sys.argv[2], 'rb').read(), 4096
	while struct.unpack_from('<H', b, at + 4)[0] != int(sys.argv[1]):
	    at += 64 + (struct.unpack_from('<I', b, at + 20)[0] + 7 & ~7)
	print(at + 64)
	END
}

@test "vminspect info: the rounds it shows have a hash behind them: flipped numbers are refused" {
	while read -r type byte what; do
		mksnap a.vms
		flip_bit a.vms $(($(payload_of "$type" a.vms) + byte)) 1
		run -3 --separate-stderr vminspect info a.vms
		[[ "$stderr" == "vminspect: a.vms: $what (at byte "*")" && "$output" != *round* ]]
	done <<-'END'
	5 0 round-end chunk: payload checksum mismatch
	2 0 pages chunk: payload checksum mismatch
	2 4 pages chunk: payload checksum mismatch
	2 40 pages chunk: payload checksum mismatch
	END
}

@test "vminspect info: memory is that of all RAM, below and above 4 GiB" {
	mksnap --x86 --ram 4096 a.vms
	run -0 vminspect info a.vms
	grep -q '^machine     x86-64-1, 2 CPUs, 4.0 GiB memory' <<<"$output"
	grep -q '^region      1 ram ram-high at 0x100000000, 1.0 GiB: ' <<<"$output"
}

@test "vminspect info: what this build does not know in the tree is listed by its place" {
	mksnap --spoil stray a.vms
	run -0 vminspect info a.vms
	[ "$(tail -n 2 <<<"$output")" = "\
unknown     /vm: vendor,extra
unknown     /vm/state/moon" ]
	vminspect info --json a.vms | jq -e '.unknown == ["/vm: vendor,extra", "/vm/state/moon"]'
}

@test "vminspect info: a snapshot without memory says so" {
	mksnap --state-only a.vms
	run -0 vminspect info a.vms
	grep -qx 'format      version 1, chunked, state only' <<<"$output"
	grep -qx 'region      0 ram ram at 0x80000000, 64.0 MiB: not saved' <<<"$output"
	vminspect info --json a.vms |
		jq -e '.required == ["state-only"] and .regions[0].untouched == null and
			.rounds == []'
}
