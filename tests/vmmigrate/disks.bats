# SPDX-License-Identifier: MIT
# Moves of a VM with a disk: between the two hosts nobody else gets it, and what comes back is
# what was given away.
load ../lib/vm
load ../lib/move

setup() { move_setup; need_faults; }
teardown() { vm_teardown; }

# under_way DISK POINT: `web` with a disk moves from A to B, where the disk is DISK, and waits at
# the point; $W/at removed lets it go on.
under_way() {
	: >"$W/both.out"
	truncate -s 1M "$W/disk"
	start_vm web --kernel "$STEP" --append "pages=256 tick=100" --memory 32M \
		--serial "file:$W/both.out" --disk "root=$W/disk"
	AVM=$VMPID
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
	export VMFERRY_FAULT=$2=wait:$W/at
	listen b 127.0.0.1:0 -- --serial "file:$W/both.out" --disk "root=$1"
	BADDR=$LADDR
	move
	unset VMFERRY_FAULT
	until_true 20 test -e "$W/at"
}

# bats file_tags=slow,accel

@test "move: a third VM never gets the disk, at any point of the hand-over" {
	for at in source.ready-heard source.released source.go-sent source.running-heard \
		target.ready-sent target.go-heard target.started; do
		under_way "$W/disk" vmmigrate.$at
		for ro in '' ,ro; do
			run -3 timeout 20 vmrun --name thief --kernel "$STEP" --memory 32M \
				--serial none --disk "root=$W/disk$ro"
			[[ $output == "vmrun: disk root: a"*" VM"* ]]
		done
		rm -f "$W/at"
		moved 0
		until_true 10 runs_on b
		ticks_right
		on_b vmrun ctl web quit
		until_true 10 no_vm b
		kill "$LPID"
		wait "$LPID" || true
		rm -rf "$W/a" "$W/b"
	done
}

@test "move: a returned VM that can't be taken back says why; resume resolves it" {
	truncate -s 1M "$W/other"
	printf x | dd of="$W/other" conv=notrunc status=none
	under_way "$W/other" vmmigrate.source.released
	lock_bytes "$W/disk"
	rm -f "$W/at"
	moved 5
	cat "$W/move.err"
	grep -q 'web: returned by .*taken back: .*disk root: already in use by another VM' \
		"$W/move.err"
	stands_on a
	records_are released returned
	unlock_bytes
	run -4 on_a vmmigrate resume web
	until_true 10 runs_on a
	ticks_on
	ticks_right
}
