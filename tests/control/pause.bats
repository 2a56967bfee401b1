# SPDX-License-Identifier: MIT
# Disks and pauses: what a save or a move needs of them is done before the pause, and neither a
# disk that takes its time nor one that fails keeps a VM from being paused, resumed, asked or
# ended (docs/control.md 6, "Disks").
load ../lib/vm
load control

M=22222222-2222-4222-8222-222222222222

setup() {
	vm_setup
	[ -x "$FAULTS_BUILD/bin/vmrun" ]
	export PATH="$FAULTS_BUILD/bin:$PATH"
	truncate -s 1M "$W/disk"
}
teardown() {
	rm -f "$W/hold"
	vm_teardown
}

# The one-step guest with a disk; while $W/hold is there a flush for a save hangs (and makes
# $W/hold.held), while $W/fails is there it fails.
step() {
	VMFERRY_FAULT=vmrun.disk.flush=hold:$W/hold,vmrun.disk.flush-fails=hit:$W/fails \
		start_step "$1" "pages=512 tick=100 pace=20" --disk "root=$W/disk"
}
# counter VM NAME: of its disk.
counter() { vmrun ctl "$1" inspect | jq --arg n "$2" '[.nodes[].counters[$n] // empty] | add'; }
query() { timeout 10 vmrun ctl "$1" query-status | jq -r .status; }

# bats file_tags=slow,accel

@test "lease: flush brings the disks up to date while the VM runs; in the pause there is nothing left to do" {
	step a
	lease_open l a log 'vmsnap[1]'
	lease l flush
	[ "$(counter a flushes) $(counter a samples-read)" = "1 16" ]
	moves_on a
	lease l pause 60000
	lease l state
	[ "$(counter a flushes) $(counter a samples-read)" = "1 16" ]
	lease l resume
	lease_close l
	until_true 10 unleased a
	lease_open l2 a log 'vmsnap[2]'
	lease l2 pause 60000
	# without a flush before: the samples of another lease are not kept
	lease l2 state
	[ "$(counter a flushes) $(counter a samples-read)" = "1 32" ]
}

@test "lease: stop, pulse, reset, inspect and cont flush no disk" {
	step a
	for c in stop pulse inspect cont pulse system_reset; do vmrun ctl a $c >/dev/null; done
	[ "$(counter a flushes) $(counter a samples-read)" = "0 0" ]
}

@test "lease: a disk that hangs in the pause stops no query, and at the deadline the VM runs on" {
	step a
	lease_open l a log 'vmmigrate[9]'
	lease l moving 12345678-1234-4234-8234-123456789abc 127.0.0.1:1
	lease l pause 3000
	touch "$W/hold"
	echo state >&"${LEASE[l]}"
	until_true 10 test -e "$W/hold.held"
	[ "$(query a)" = finish-migrate ]
	vmrun ctl a inspect >/dev/null
	ctl_refused 'paused by vmmigrate' a cont
	vmrun ctl a wait RESUME timeout=20
	if lease_answer l; then false; fi
	[[ $output == *deadline* ]]
	lease_refused l 'deadline' release $M h:1
	moves_on a                           # though the disk hangs still
	vmrun ctl a stop
	vmrun ctl a cont
	rm "$W/hold"
	lease_open l2 a log 'vmmigrate[10]'
	lease l2 pause 60000
	lease l2 state
}

@test "lease: a disk that hangs in the pause: the holder dies, and the VM runs on at once" {
	step a
	lease_open l a log 'vmsnap[1]'
	lease l pause 600000
	touch "$W/hold"
	echo state >&"${LEASE[l]}"
	until_true 10 test -e "$W/hold.held"
	lease_kill l
	until_true 10 status_is a running
	moves_on a
}

@test "lease: a disk that hangs before the pause stops nobody, and quit ends the VM" {
	step a
	lease_open l a log 'vmsnap[1]'
	touch "$W/hold"
	echo flush >&"${LEASE[l]}"
	until_true 10 test -e "$W/hold.held"
	[ "$(query a)" = running ]
	moves_on a
	vmrun ctl a stop
	status_is a paused
	vmrun ctl a quit
	if lease_answer l; then false; fi
	[[ $output == *host-qmp-quit* ]]
	until_true 10 eval '! vmrun ctl a query-status >/dev/null 2>&1'
	rm "$W/hold"
	exits "$VMPID" 0
}

@test "vmsnap: the guest runs while its disks are flushed, however long that takes; in the pause nothing of it is left" {
	step a
	touch "$W/hold"
	vmsnap --quiet a "$W/a.vms" 3>&- &
	pid=$!
	until_true 20 test -e "$W/hold.held"
	[ "$(query a)" = running ]
	moves_on a
	rm "$W/hold"
	wait $pid
	vminspect verify "$W/a.vms"
	[ "$(counter a flushes) $(counter a samples-read)" = "1 16" ]
	vmsnap --quiet --state-only a "$W/b.vms"
	[ "$(counter a flushes) $(counter a samples-read)" = "1 32" ]
}

@test "vmsnap: a disk whose flush fails fails the save, each save until the guest has been told, and nothing else" {
	step a
	touch "$W/fails"
	run -1 vmsnap --quiet a "$W/a.vms"
	[[ $output == *"disk root: flush: Input/output error" ]]
	[ ! -e "$W/a.vms" ]
	rm "$W/fails"
	run -1 vmsnap --quiet a "$W/a.vms"
	[[ $output == *"earlier flush failed"*"Input/output error" ]]
	run -1 vmsnap --quiet --state-only a "$W/a.vms"
	moves_on a
	for c in stop cont pulse system_reset stop cont; do vmrun ctl a $c >/dev/null; done
	moves_on a
	lease_open l a log 'vmmigrate[9]'
	lease l pause 60000
	lease_refused l 'earlier flush failed' state
	lease_refused l 'earlier flush failed' release $M h:1
	[ ! -e "$VMFERRY_STATE_DIR/moves/$(uuid_of a).json" ]
	lease_close l
	until_true 10 status_is a running
	moves_on a
}

@test "quit, SIGTERM and the guest's power-off end a VM whose disk can't be flushed, and say so" {
	for how in quit sigterm poweroff; do
		rm -f "$W/fails"
		VMFERRY_FAULT=vmrun.disk.flush-fails=hit:$W/fails start_vm $how --kernel "$STEP" \
			--append "pages=64 pace=1000" --memory 64M \
			--serial "unix:$W/$how.serial" --disk "root=$W/disk"
		touch "$W/fails"
		rc=0
		case $how in
		quit)     vmrun ctl $how quit ;;
		sigterm)  kill -TERM "$VMPID"; rc=143 ;;
		poweroff) printf q | socat -u - "UNIX-CONNECT:$W/$how.serial" ;;
		esac
		exits "$VMPID" $rc
		grep -q 'disk root: flush: Input/output error' "$W/$how.log"
	done
}
