# SPDX-License-Identifier: MIT
# vminspect verify.
bats_require_minimum_version 1.5.0

setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

@test "vminspect verify: a sound snapshot is said to be so, with all three digests" {
	mksnap a.vms
	run -0 --separate-stderr vminspect verify a.vms
	[ "$stderr" = "" ]
	local size='[0-9.]+ KiB' hash='[0-9a-f]{32}' nl=$'\n'
	local want="a\.vms: valid: 25 pages in 11 chunks, $size"
	want+="${nl}file    $hash${nl}memory  $hash${nl}machine $hash"
	[[ $output =~ ^$want$ ]]
	vminspect verify --json a.vms | jq -e '.sound == true and .pages == 25 and .unknown == []'
}

@test "vminspect verify: the same memory and machine have the same digests at every level, and through a pipe" {
	for level in 0 1 9 -3; do
		mksnap --level "$level" - | vminspect verify --json | jq -r '.memory, .machine'
	done | sort -u >digests
	[ "$(wc -l <digests)" = 2 ]
	mksnap --pages 36 - | vminspect verify --json | jq -r .memory >other
	run -1 grep -qxFf other digests
}

@test "vminspect verify: each of 1000 flipped bits is found, and placed in its header or chunk" {
	mksnap --level 1 a.vms
	damage flip 1000 "${SEED:-$RANDOM}" a.vms vminspect verify
}

@test "vminspect verify: each of 1000 flipped bits of a snapshot with images is found and placed" {
	mksnap --images --pages 4 --level 1 a.vms
	damage flip 1000 "${SEED:-$RANDOM}" a.vms vminspect verify
}

@test "vminspect verify: a snapshot cut at any 100th byte is refused" {
	mksnap --level 1 a.vms
	damage cut 100 a.vms vminspect verify
}

@test "vminspect info, tree, regs, mem: a cut file is refused before anything is shown" {
	mksnap --level 1 a.vms
	for command in info tree regs "mem 0x80000000"; do
		# shellcheck disable=SC2086 # several words
		damage cut 4001 a.vms vminspect $command
	done
}

@test "vminspect verify: bytes behind the end are refused" {
	mksnap a.vms
	size=$(stat -c %s a.vms)
	printf x >>a.vms
	run -3 --separate-stderr vminspect verify a.vms
	[ "$stderr" = "vminspect: a.vms: trailing data after the END chunk (at byte $size)" ]
}

@test "vminspect verify: right hashes over a register that cannot be are refused" {
	mksnap --spoil state a.vms
	run -3 --separate-stderr vminspect verify a.vms
	[ "$stderr" = "vminspect: a.vms: cpu@0: hart: scounteren: \
0xffff out of range (valid: 0x0 to 0x7)" ]
}

@test "vminspect verify: a CPU, a device or the VM without a part of its state is not sound, nor is a part that nothing has" {
	while read -r node message; do
		mksnap --del "$node" a.vms
		run -3 --separate-stderr vminspect verify a.vms
		[[ "$stderr" == "vminspect: a.vms: state chunk: $message (at byte "*")" ]]
		# Nor is it shown or restored.
		run -3 vminspect info a.vms
		run -3 vmrun --accel soft --restore a.vms --trust-paths
	done <<-'END'
	/vm/state/clock vm: missing clock
	/cpus/cpu@1/state cpu@1: missing state
	/cpus/cpu@1/state/hart cpu@1: missing hart
	/soc/sifive-plic@c000000/state/plic-context@1 sifive-plic@c000000: missing plic-context@1
	/soc/virtio-console@10002000/state/virtqueue@1 virtio-console@10002000: missing virtqueue@1
	/soc/virtio-rng@10003000/state virtio-rng@10003000: missing state
	END
	mksnap --x86 --del /vm/state/x86-pic@1 a.vms
	run -3 --separate-stderr vminspect verify a.vms
	[[ "$stderr" == "vminspect: a.vms: state chunk: vm: missing x86-pic@1 (at byte "*")" ]]
	mksnap --spoil stray a.vms
	run -3 --separate-stderr vminspect verify a.vms
	[ "$stderr" = "vminspect: a.vms: vm: state 'moon' not part of this machine" ]
}

# disagreements: mksnap's options | what is named
disagreements() {
	sed -e 's/|H /|config chunk: header and configuration differ: /' \
		-e 's/|S /|state chunk: VM tree: /' <<-'END'
	--spoil vm|H UUID 10223344-5566-7788-99aa-bbccddeeff10, 11223344-5566-7788-99aa-bbccddeeff10
	--arch 62|H architecture 62, machine type riscv64-1
	--x86 --arch 243|H architecture 243, machine type x86-64-1
	--name other|H name other, sample
	--set / model x|S /: model: repeats the configuration
	--set /vm vmferry,name sample|S /vm: vmferry,name: repeats the configuration
	--set /vm vmferry,features x|S /vm: vmferry,features: repeats the configuration
	--set /cpus vmferry,msrs 1234567|S /cpus: vmferry,msrs: repeats the configuration
	--set /cpus/cpu@1 riscv,isa rv64i|S /cpus/cpu@1: riscv,isa: repeats the configuration
	--set /soc ranges x|S /soc: ranges: repeats the configuration
	--set /soc/ns16550a@10000000 reg x|S /soc/ns16550a@10000000: reg: repeats the configuration
	--set /host/root path /etc/shadow|S /host/root: path: repeats the configuration
	--add /memory@80000000|S /memory@80000000: region: repeats the configuration
	--add /cpus/cpu@2|S /cpus/cpu@2: not in the configuration
	--add /cpus/cpu|S /cpus/cpu: not in the configuration
	--add /soc/virtio-rng@10004000|S /soc/virtio-rng@10004000: not in the configuration
	--add /host/data|S /host/data: not in the configuration
	--add /host/console|S /host/console: not a disk in the configuration
	--del /host/root|S missing /host/root
	--del /host|S missing /host/root
	--del /cpus/cpu@0|S missing /cpus/cpu@0
	--del /soc|S missing /soc
	--set /vm vmferry,stopped x|S /vm: vmferry,stopped: invalid length: 2 bytes, expected 0
	END
}

@test "vminspect: header, configuration and state that differ are refused by every command, from a file and a pipe, and by restore" {
	while IFS='|' read -r options what; do
		# shellcheck disable=SC2086 # several words
		mksnap $options a.vms
		for command in verify info "info --json" tree "tree --config" regs \
			"mem 0x80000000"; do
			# shellcheck disable=SC2086
			run -3 --separate-stderr vminspect $command a.vms
			[[ "$stderr" == "vminspect: a.vms: $what (at byte "*")" &&
				"$output" != *sample* ]]
			# shellcheck disable=SC2086
			run -3 --separate-stderr vminspect $command <a.vms
			[[ "$stderr" == *"$what (at byte "*")" ]]
		done
		run -3 --separate-stderr vmrun --accel soft --restore a.vms --trust-paths
		case $what in
		# state comes behind the memory
		config*) [[ "$stderr" == "vmrun: a.vms: $what (at byte "*")" ]] ;;
		esac
	done < <(disagreements)
}

@test "vminspect: a header without a name is refused" {
	mksnap --name "" a.vms
	run -3 --separate-stderr vminspect verify a.vms
	[ "$stderr" = "vminspect: a.vms: invalid VM name (at byte 192)" ]
}

@test "vminspect verify: what a disk was at the pause is in the state alone" {
	mksnap --set /host/root mtime 1234567 a.vms      # 8 bytes
	vminspect verify a.vms
	vminspect tree --config --json a.vms | jq -e '.host.root | has("mtime") | not'
	vminspect info --json a.vms |
		jq -e '.hosts[] | select(.name == "root").mtime_ns > 1000000000000000000'
}

@test "vminspect verify: JSON names kind and place of the damage, exit 3" {
	mksnap a.vms
	printf 'damage' | dd of=a.vms bs=1 seek=20000 conv=notrunc status=none
	run -3 --separate-stderr vminspect verify --json a.vms
	[ "$(jq -c '[.sound, .kind, .at > 4096]' <<<"$output")" = '[false,"corrupt",true]' ]
	[ "$stderr" = \
		"vminspect: $(jq -r '.what + " (at byte " + (.at | tostring) + ")"' <<<"$output")" ]
}

@test "vminspect verify: what is no snapshot is told from one that is cut, exit 3" {
	echo "no snapshot" >text
	run -3 --separate-stderr vminspect verify text
	[ "$stderr" = "vminspect: text: not a snapshot (at byte 0)" ]
	: >empty
	run -3 --separate-stderr vminspect verify empty
	[ "$stderr" = "vminspect: empty: unexpected end of snapshot (at byte 0)" ]
	mksnap - | tr -d '\r' >unix.vms
	run -3 --separate-stderr vminspect verify unix.vms
	[ "$stderr" = "vminspect: unix.vms: snapshot damaged by a text-mode transfer (at byte 0)" ]
}
