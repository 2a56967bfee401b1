# SPDX-License-Identifier: MIT
# The host's side of a disk: block devices, and files that the host changes under a running VM.
load lib/vm
load lib/move

setup() { move_setup; LOOPS=(); }
teardown() {
	vm_teardown_processes
	for l in ${LOOPS[@]+"${LOOPS[@]}"}; do umount "$l" 2>/dev/null; done
	umount "$W/small" 2>/dev/null
	for l in ${LOOPS[@]+"${LOOPS[@]}"}; do losetup -d "$l"; done
	vm_teardown
}

need_loops() {
	[ "$(id -u)" = 0 ] || skip "not root"
	losetup -f >/dev/null 2>&1 || skip "no loop devices here"
}
# loop FILE SIZE: a block device over a file of that size, in $LOOP.
loop() {
	truncate -s "$2" "$1"
	LOOP=$(losetup -f --show "$1")
	LOOPS+=("$LOOP")
}
# start_disked PATH: the one-step guest `web` on A with that disk.
start_disked() {
	start_vm web --kernel "$STEP" --append "pages=256 tick=100" --memory 32M \
		--serial "file:$W/both.out" --disk "root=$1"
	export AVM=$VMPID
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
}
# other DISK: a second VM with that disk; it must not come to run.
other() {
	timeout 20 vmrun --name other --kernel "$STEP" --memory 32M --serial none --disk "root=$1"
}

# bats file_tags=accel

@test "disk: a block device is one VM's, by whichever node it is opened" {
	need_loops
	loop "$W/back" 1M
	mknod "$W/node" b "$((0x$(stat -c %t "$LOOP")))" "$((0x$(stat -c %T "$LOOP")))"
	start_disked "$LOOP"
	run -3 other "$LOOP"
	[ "$output" = "vmrun: disk root: already in use by another VM" ]
	run -3 other "$W/node"
	[ "$output" = \
		"vmrun: disk root: already in use: mounted, or locked by another VM or program" ]
	on_a vmrun ctl web quit
	wait_gone 10 "$AVM"
	start_disked "$W/node"
}

@test "disk: a block device that the host has mounted is refused to a writer" {
	need_loops
	command -v mkfs.ext4 >/dev/null || skip "no mkfs.ext4"
	loop "$W/back" 8M
	mkfs.ext4 -q "$LOOP"
	mkdir "$W/mnt"
	mount "$LOOP" "$W/mnt" 2>/dev/null || skip "no mounts here"
	run -3 other "$LOOP"
	[[ $output == *"disk root: already in use: mounted,"* ]]
	run -3 other "$W/back"
	[[ $output == *"disk root: $LOOP (a loop device on it) already in use: mounted,"* ]]
	umount "$W/mnt"
	start_disked "$LOOP"
	run -32 mount "$LOOP" "$W/mnt"
}

@test "disk: a block device moves with its VM between two vmruns of one host, and comes back when the target can't run" {
	need_loops
	loop "$W/back" 1M
	mknod "$W/node" b "$((0x$(stat -c %t "$LOOP")))" "$((0x$(stat -c %T "$LOOP")))"
	start_disked "$LOOP"
	loop "$W/other" 1M
	printf x | dd of="${LOOPS[1]}" conv=notrunc status=none
	listen b 127.0.0.1:0 -- --serial "file:$W/both.out" --disk "root=${LOOPS[1]}"
	BADDR=$LADDR
	move
	moved 4
	until_true 10 runs_on a
	run -3 other "$W/node"
	kill "$LPID"
	wait "$LPID" || true
	listen b 127.0.0.1:0 -- --serial "file:$W/both.out" --disk "root=$W/node"
	BADDR=$LADDR
	move
	moved 0
	until_true 10 runs_on b
	ticks_right
	run -3 other "${LOOPS[0]}"
}

@test "disk: a loop device and the file behind it are one VM's, whichever is opened first" {
	need_loops
	loop "$W/back" 1M
	start_disked "$LOOP"
	run -3 other "$W/back"
	[[ $output == "vmrun: disk root: $LOOP (a loop device on it) already in use: "* ]]
	run -3 other "$W/back,ro"
	[[ $output == "vmrun: disk root: $LOOP (a loop device on it) already in use: "* ]]
	on_a vmrun ctl web quit
	wait_gone 10 "$AVM"
	start_disked "$W/back"
	run -3 other "$LOOP"
	[[ $output == "vmrun: disk root: $W/back (its backing file) already in use: "* ]]
	run -3 other "$LOOP,ro"
	on_a vmrun ctl web quit
	wait_gone 10 "$AVM"
	# readers share it
	start_disked "$LOOP,ro"
	run -3 other "$W/back"
	start_vm reader --kernel "$STEP" --memory 32M --disk "root=$W/back,ro"
	status_is reader running
}

@test "disk: the file behind a loop device is the disk too: no save replaces it, no serial line writes to it" {
	need_loops
	loop "$W/back" 1M
	start_disked "$LOOP"
	sum=$(sha256sum "$W/back")
	run -2 vmsnap --force web "$W/back"
	[[ $output == *"$W/back: is disk 'root' of web, not overwritten; name another file" ]]
	on_a vmrun ctl web quit
	wait_gone 10 "$AVM"
	run -2 timeout 20 vmrun --name other --kernel "$STEP" --memory 32M --serial "file:$W/back" \
		--disk "root=$LOOP"
	echo "$output"
	[[ $output == *": $W/back is disk 'root' of this VM; name another file" ]]
	[ "$(sha256sum "$W/back")" = "$sum" ]
}

@test "disk: a file that the host has cut is refused by name at a save and at a move, and the VM runs on" {
	truncate -s 1M "$W/disk"
	start_disked "$W/disk"
	truncate -s 512K "$W/disk"
	run -1 on_a vmsnap web "$W/web.vms"
	echo "$output"
	[[ $output == *"disk root: truncated on the host: 524288 bytes, the guest expects 1048576"* ]]
	[ ! -e "$W/web.vms" ]
	truncate -s 1M "$W/copy"
	listen b 127.0.0.1:0 -- --serial "file:$W/both.out" --disk "root=$W/copy"
	BADDR=$LADDR
	move
	moved 1
	grep -q 'disk root: truncated on the host: 524288 bytes' "$W/move.err"
	runs_on a
	ticks_on
	ticks_right
	truncate -s 1M "$W/disk"
	on_a vmsnap web "$W/web.vms"
}

@test "disk: one that has grown under its VM is saved and restored as the guest knows it" {
	truncate -s 1M "$W/disk"
	start_disked "$W/disk"
	truncate -s 2M "$W/disk"
	on_a vmsnap web "$W/web.vms"
	on_a vmrun ctl web quit
	wait_gone 10 "$AVM"
	start_vm web --restore "$W/web.vms"
	[ "$(vmrun ctl web inspect | jq -c '[.nodes[].state["virtio-blk"].capacity // empty]')" = \
		'[2048]' ]
}

# small SIZE: a file system of that size at $W/small.
small() {
	[ "$(id -u)" = 0 ] || skip "not root"
	mkdir "$W/small"
	mount -t tmpfs -o "size=$1" none "$W/small" 2>/dev/null || skip "no mounts here"
}

# bats file_tags=slow

@test "disk: a file system that is full holds the VM, as it is and as it is saved; with room the guest finds nothing wrong" {
	need_debian
	small 1M
	truncate -s 16M "$W/small/disk"
	local cmd='head,-c,2097152,/dev/urandom>/tmp/f;sha256sum,/tmp/f;'
	cmd+='dd,if=/tmp/f,of=/dev/vda,bs=64k,conv=fsync;echo,written,$?'
	start_vm web --kernel "$GUEST/vmlinux" --initrd "$GUEST/root" --memory 256M \
		--rng --disk "root=$W/small/disk" \
		--append "console=ttyS0 quiet vmferry=sh:$cmd"
	vmrun ctl web wait BLOCK_IO_ERROR timeout=240
	vmrun ctl web wait STOP timeout=20
	status_is web io-error
	vmrun ctl web events | jq -e '.events | map(select(.event == "BLOCK_IO_ERROR"))[0].data ==
		{device: "root", operation: "write", action: "stop", nospace: true,
			reason: "No space left on device"}'
	vmrun ctl web query-block | jq -e '.[0]["io-status"] == "nospace"'
	vmrun ctl web query-status | jq -e '.["vmferry-holders"] == ["io-error"]'
	n=$(vmrun ctl web events | jq .seq)
	vmrun ctl web cont
	until_true 20 stalled_again web "$n"

	vmsnap web "$W/web.vms"
	vmrun ctl web query-status | jq -e '.["vmferry-holders"] == ["io-error"]'
	vmrun ctl web quit
	wait_gone 10 "$VMPID"
	mount -o remount,size=8M "$W/small"
	start_vm web2 --restore "$W/web.vms"
	wait_line 120 'written 0' "$W/web2.out"
	[ "$(head -c 2097152 "$W/small/disk" | sha256sum | cut -d' ' -f1)" = \
		"$(grep -aoE '^[0-9a-f]{64}' "$W/web.out")" ]
	run -1 grep -aE 'I/O error|rror,' "$W/web.out" "$W/web2.out"
}
stalled_again() {
	status_is "$1" io-error &&
		[ "$(vmrun ctl "$1" events |
		jq '.events | map(select(.event == "BLOCK_IO_ERROR"))[0]["vmferry-seq"]')" \
		-gt "$2" ]
}

@test "disk: a block device that was written to anywhere since the save is refused, and one that was not is taken" {
	need_loops
	loop "$W/back" 64M
	[ -r "/sys/block/${LOOP#/dev/}/diskseq" ] || skip "no loop devices here that count"
	start_disked "$LOOP"
	vmsnap web "$W/web.vms"
	vmrun ctl web quit
	wait_gone 10 "$AVM"
	for _ in 1 2; do
		start_vm again --restore "$W/web.vms"
		moves_beyond again 3
		vmrun ctl again quit
		wait_gone 10 "$VMPID"
	done
	# between the samples
	printf x | dd of="$LOOP" bs=1 seek=100000 conv=notrunc status=none
	run -3 timeout 20 vmrun --name again --restore "$W/web.vms" --serial none
	[[ $output == *"disk changed since the state was saved: root (written to)"* ]]
	start_vm again --restore "$W/web.vms" --disk-changed=accept
}
moves_beyond() { until_true 20 tick_above "$W/$1.out" "$2"; }
