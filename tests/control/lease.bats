# SPDX-License-Identifier: MIT
# The lease and the hand-over, verb by verb: docs/control.md 4 and 6 to 8. The one-step guest runs
# meanwhile.
load ../lib/vm
load control

M=22222222-2222-4222-8222-222222222222
OTHER=33333333-3333-4333-8333-333333333333
THIRD=44444444-4444-4444-8444-444444444444

setup() { vm_setup; }
teardown() { vm_teardown; }

step() { start_step "$1" "pages=512 tick=100 pace=20" "${@:2}"; }

# What a second client may do while a lease holds the pause.
second_client_while_paused() {
	local vm=$1 holder=$2 word=$3 h
	h=${holder//[/\\[}     # in a pattern
	h=${h//]/\\]}
	vmrun ctl "$vm" query-status | jq -e --arg s "$word" --arg h "$holder" \
		'.status == $s and .running == false and .["vmferry-lease"] == $h'
	for c in cont system_reset pulse; do ctl_refused "paused by $h" "$vm" "$c"; done
	ctl_refused "paused by $h" "$vm" resolve own=true peer-is-dead=true
	ctl_refused "already in use by $h" "$vm" lease kind=log holder=second
	vmrun ctl "$vm" lease kind=read holder=second
	for c in query-name query-uuid query-version query-commands query-block query-cpus-fast \
		query-memory-size-summary events moves inspect info; do
		vmrun ctl "$vm" $c >/dev/null
	done
	status_is "$vm" "$word"
}

# bats file_tags=slow,accel

@test "lease: one logging lease, the second told who holds the first; reading ones many, and they cannot pause" {
	step a
	lease_open l a log 'vmsnap[1]'
	lease_open r1 a read 'x'
	lease_open r2 a read 'y'
	run -4 leasectl a log 'vmsnap[2]' </dev/null
	[[ $output == *"already in use by vmsnap[1]"* ]]
	for v in "pause 1000" log-start "release $M" "throttle 5" sync; do
		lease_refused r1 'not valid for this kind' $v
	done
	lease r1 config
	lease r1 regions
	[[ $output == *" ro protected" ]]
	lease l regions
	[[ $output == *" ro protected" ]]
	lease_close l
	lease_open l2 a log 'vmsnap[2]'
}

@test "lease: while it only logs, the second client is free; its sync names what the guest wrote, and no more" {
	step a
	lease_open l a log 'vmsnap[1]'
	lease_refused l 'dirty log not started' sync
	lease l log-start
	for c in stop cont system_reset pulse inspect; do vmrun ctl a $c >/dev/null; done
	status_is a running
	lease l sync
	vmrun ctl a stop
	lease l sync
	lease l sync
	[ "$output" = "ok sync 0" ]
	vmrun ctl a cont
	moves_on a
	vmrun ctl a stop
	lease l sync
	n=${output##* }
	[ "$n" -gt 0 ] && [ "$n" -le 600 ]
	lease l clear 0 0 16384
	lease_refused l 'out of range of region' clear 0 16384 1
	lease_refused l 'out of range of region' clear 0 1 18446744073709551615
	lease_refused l 'invalid region' clear 7 0 1
	lease l fill 0 0 1
	lease_refused l '0 to 99' throttle 100
	lease l throttle 99
}

@test "lease: while it holds the pause, a second client's commands are refused or allowed as written" {
	step a
	lease_open l a log 'vmsnap[1]'
	lease l log-start
	lease_refused l 'not valid for a VM' resume
	lease_refused l 'not valid for a VM' state
	lease_refused l '1 to 600000' pause 0
	lease l pause 60000
	second_client_while_paused a 'vmsnap[1]' save-vm
	lease_refused l 'already paused' pause 1000
	lease l state
	lease l sync
	n=$(last_tick "$W/a.out")
	vmrun ctl a stop                     # allowed: a holder of its own
	lease l resume
	status_is a paused
	[ "$(last_tick "$W/a.out")" = "$n" ]
	vmrun ctl a cont
	until_true 20 tick_above "$W/a.out" "$n"
	lease l finish 0
	lease_refused l 'no pending save of snapshot' commit $M
}

@test "lease: a move's pause is finish-migrate; its refusals name it" {
	step a
	lease_open l a log 'vmmigrate[9]'
	lease l moving $M 127.0.0.1:1
	lease l pause 60000
	second_client_while_paused a 'vmmigrate[9]' finish-migrate
	vmrun ctl a stop                     # in time: the state has not been asked for
	lease l resume
	status_is a paused
	vmrun ctl a cont
	lease l pause 60000
	lease l state
	ctl_refused 'stop: .*being sent by vmmigrate\[9].*use stop on the target' a stop
	vmrun ctl a query-status | jq -e '.["vmferry-holders"] == ["lease"]'
	lease l resume
	status_is a running
	vmrun ctl a stop
	status_is a paused
	lease l pause 60000                  # a pause of its own: no state yet
	vmrun ctl a stop
}

@test "lease: past the deadline vmrun takes the pause back, the VM runs, and a release comes too late" {
	step a
	lease_open l a log 'vmmigrate[9]'
	lease l log-start
	lease l pause 300
	vmrun ctl a wait RESUME timeout=20
	lease_refused l 'deadline' lost
	lease_refused l 'deadline' release $M
	moves_on a
	[ ! -e "$VMFERRY_STATE_DIR/moves/$(uuid_of a).json" ]
	lease_open l2 a log 'vmsnap[2]'      # the lost one blocks nobody
}

@test "lease: RENEW moves the deadline of the pause; the deadline that PAUSE had set passes and revokes nothing" {
	step a
	step b
	lease_open l a log 'vmsnap[1]'
	lease_open m b log 'vmsnap[2]'
	lease_refused l 'not valid for a VM' renew 1000
	printf 'pause 2000\nrenew 60000\n' >&"${LEASE[l]}"
	lease_answer l
	lease_answer l
	lease_refused l '1 to 600000' renew 0
	lease_refused l '1 to 600000' renew 600001
	lease m pause 2000                   # ends after the first deadline of the other
	vmrun ctl b wait RESUME timeout=20
	status_is a save-vm
	lease l renew 300
	vmrun ctl a wait RESUME timeout=20
	lease_refused l 'deadline' renew 60000
	moves_on a
}

@test "lease: QUIT ends the VM in its pause and nowhere else; a lease that was lost ends nothing" {
	step a
	lease_open l a log 'vmsnap[1]'
	lease_open r a read 'x'
	lease_refused l 'not valid for a VM' quit
	lease l pause 300
	lease_refused r 'not valid for this kind' quit
	vmrun ctl a wait RESUME timeout=20
	lease_refused l 'deadline' quit
	moves_on a
	lease_open l2 a log 'vmsnap[2]'
	lease l2 pause 60000
	n=$(last_tick "$W/a.out")
	lease l2 quit
	exits "$VMPID" 0
	[ "$(last_tick "$W/a.out")" = "$n" ]
	if lease l2 sync; then false; fi
	[[ $output =~ 'error sync 6: '.*host-qmp-quit ]]
}

@test "lease: its holder is killed or closes: the pause goes, the VM runs, logging ends" {
	step a
	for how in lease_kill lease_close; do
		lease_open l a log 'vmsnap[1]'
		lease l log-start
		lease l throttle 90
		lease l pause 60000
		status_is a save-vm
		$how l
		until_true 20 status_is a running
		moves_on a
		vmrun ctl a inspect | jq -e '.leases == []'
	done
}

@test "lease: its holder has ended: the next one has it at once, though the first one's thread has not looked yet" {
	[ -x "$FAULTS_BUILD/bin/vmrun" ]
	PATH="$FAULTS_BUILD/bin:$PATH" VMFERRY_FAULT=vmrun.lease.ended=wait:$W/late step a
	lease_open l a log 'vmsnap[1]'
	lease l pause 60000
	lease_kill l
	until_true 10 test -e "$W/late"
	vmrun ctl a query-status |
		jq -e '.status == "save-vm" and .["vmferry-lease"] == "vmsnap[1]"'
	lease_open l a log 'vmmigrate[2]'
	vmrun ctl a query-status |
		jq -e '.status == "running" and .["vmferry-lease"] == "vmmigrate[2]"'
	rm "$W/late"
	until_true 10 eval 'vmrun ctl a inspect | jq -e ".leases | length == 1" >/dev/null'
	lease l moving $M 127.0.0.1:1
	lease l pause 60000      # and that thread takes nothing from the second
	status_is a finish-migrate
	lease l resume
	moves_on a
}

@test "lease: quit, SIGTERM and the guest's power-off end it with the reason" {
	for how in quit sigterm poweroff; do
		start_vm $how --kernel "$STEP" --append "pages=64 pace=1000" --memory 64M \
			--serial "unix:$W/$how.serial"
		lease_open l $how log 'vmsnap[1]'
		lease l log-start
		case $how in
		quit)
			lease l pause 60000
			vmrun ctl $how quit
			want='error lost 6: .*host-qmp-quit'
			;;
		sigterm)
			lease l pause 60000
			kill -TERM "$VMPID"
			want='error lost 6: .*host-signal'
			;;
		poweroff)
			printf q | socat -u - "UNIX-CONNECT:$W/$how.serial"
			want='error lost 6: .*guest-shutdown'
			;;
		esac
		if lease l lost; then false; fi
		[[ $output =~ $want ]]
		lease_close l
		wait_gone 10 "$VMPID"
	done
}

@test "lease: a holder that floods and reads nothing loses it, and its pause" {
	step a
	lease_open l a log 'vmsnap[1]'
	lease l pause 60000
	echo "flood 100000" >&"${LEASE[l]}"
	until_true 30 status_is a running
	moves_on a
}

@test "lease: random packets and descriptors leave the VM unhurt" {
	step a
	"$TOP/tests/control/client.py" garbage "$VMFERRY_RUNTIME_DIR/a.sock" "${SEED:-$RANDOM}"
	until_true 20 status_is a running
	moves_on a
	[ "$(ls "/proc/$VMPID/fd" | wc -l)" -lt 40 ]
}

@test "release: recorded before it is said; nothing resumes the VM, no lost lease, no cont, no restart; retake does" {
	step a
	id=$(uuid_of a)
	lease_open l a log 'vmmigrate[9]'
	lease_refused l 'not valid for a VM' release $M
	lease_refused l 'peer' moving $M
	lease l moving $M h:4649
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = moving ]
	lease_refused l 'moving' moving $OTHER h:4649
	lease l pause 60000
	lease_refused l "$M" release $OTHER
	lease l release $M
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = released ]
	lease l release $M
	lease_refused l "$M" release $OTHER
	status_is a postmigrate
	lease_refused l 'released to h:4649' resume
	lease_kill l
	for c in cont system_reset pulse; do ctl_refused "released to h:4649 .move $M" a $c; done
	vmrun ctl a stop
	vmrun ctl a inspect >/dev/null
	status_is a postmigrate
	n=$(steps a)
	lease_open l a log 'vmmigrate[10]'
	for v in log-start sync "pause 1000" state "finish 0"; do
		lease_refused l 'released to h:4649' $v
	done
	lease_refused l "$M" retake $OTHER
	[ "$(steps a)" = "$n" ]
	lease l retaking $M 1
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = retaking ]
	lease_kill l                         # whoever was about to take it back has gone
	until_true 10 unleased a
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = released ]
	lease_open l a log 'vmmigrate[11]'
	lease l retaking $M 1
	lease l retaking $M 0
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = released ]
	lease l retaking $M 1
	lease l retake $M
	status_is a paused                   # the user had said stop meanwhile
	vmrun ctl a cont
	moves_on a
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = retaken ]
	lease_refused l 'duplicate move ID' moving $M h:4649
}

@test "moving: a lease that ends before the release aborts the move, for good" {
	step a
	id=$(uuid_of a)
	lease_open l a log 'vmmigrate[9]'
	lease l moving $M h:4649
	lease l pause 60000
	lease_kill l
	until_true 10 unleased a
	moves_on a
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = aborted ]
	lease_open l a log 'vmmigrate[10]'
	lease l moving $OTHER h:4649
	lease l finish 1
	[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = aborted ]
	lease l pause 60000
	lease_refused l 'aborted' release $OTHER
	jq -e --arg m "$M" \
		'.outcomes | map(select(.move == $m and .outcome == "aborted")) | length == 1' \
		"$VMFERRY_STATE_DIR/moves/$id.json"
}

@test "claim: two vmruns of one UUID are not let run on one host, whatever their names and sockets" {
	step a
	id=$(uuid_of a)
	run -3 vmrun --name b --control "$W/b.sock" --uuid "$id" --kernel "$STEP" --serial none
	[[ $output == *"UUID $id already in use"*"pid $VMPID"* ]]
	vmrun ctl a quit
	exits "$VMPID" 0
	start_vm c --uuid "$id" --kernel "$STEP" --serial none
	vmrun ctl c quit
}

@test "release: done ends vmrun with 20 and records MOVED; killed before, it does not start again" {
	step a
	id=$(uuid_of a)
	lease_open l a log 'vmmigrate[9]'
	lease l pause 60000
	lease l moving $M h:4649
	lease l release $M
	kill -9 "$VMPID"
	wait_gone 10 "$VMPID"
	run -5 vmrun --name a --uuid "$id" --kernel "$STEP" --serial none
	[[ $output == *"released to h:4649 (move $M)"* ]]
	rm "$VMFERRY_STATE_DIR/moves/$id.json"

	step b
	id=$(uuid_of b)
	lease_open m b log 'vmmigrate[9]'
	lease m pause 60000
	lease m moving $M h:4649
	lease m release $M
	lease_refused m '' done $OTHER
	lease m done $M
	exits "$VMPID" 20
	jq -e '.state == "moved" and .generation == 1' "$VMFERRY_STATE_DIR/moves/$id.json"
	run -5 vmrun --name b --uuid "$id" --kernel "$STEP" --serial none
	[[ $output == *"owned by peer h:4649"*"--uuid new"* ]]
	vmrun ctl b wait SHUTDOWN
}

# incoming HOST: a's copy on another host, filled through a lease TAG=HOST as far as its state;
# its pid in $VMPID.
arrive() {
	VMFERRY_RUNTIME_DIR=$W/$1/run VMFERRY_STATE_DIR=$W/$1/state vmrun --incoming "$W/config" \
		--serial "file:$W/$1.out" "${@:2}" >"$W/$1.log" 2>&1 </dev/null 3>&- &
	VMPID=$!
	PIDS+=("$VMPID")
	until_true 20 on "$1" vmrun ctl a query-status
	on "$1" lease_open "$1" a incoming 'vmmigrate[5]'
}
# The source: paused, taken, with a lease TAG=src.
depart() {
	step a
	lease_open src a log 'vmmigrate[4]'
	lease src config "$W/config"
	lease src log-start
	lease src pause 120000
	mkdir "$W/image"
	lease src take "$W/image"
	ID=$(uuid_of a)
}

@test "incoming: filled, ready, released, started: the VM goes on there, and here never again" {
	depart
	arrive dst
	[ "$(on dst vmrun ctl a query-status | jq -r .status)" = inmigrate ]
	for c in cont system_reset pulse; do
		run -1 on dst vmrun ctl a $c
		[[ $output == *"in use by vmmigrate[5]"* ]]
	done
	run -4 on dst leasectl a log x </dev/null
	run -4 on dst leasectl a incoming x </dev/null
	lease dst regions
	[[ $output == *" rw "* ]]
	lease_refused dst 'RAM or state not complete' ready $M h:1 0
	lease dst put "$W/image"
	lease_refused dst 'already' put "$W/image"
	lease dst ready $M src:4649 0
	[ "$(record_state "$W/dst/state" "$ID")" = ready ]
	run -1 on dst vmrun ctl a cont
	[[ $output == *"is unresolved"*"$M"* ]]
	lease src moving $M dst:4649
	lease src release $M
	lease_refused dst "$M" start $OTHER
	lease dst start $M
	jq -e '.state == "owned" and .generation == 1' "$W/dst/state/moves/$ID.json"
	lease dst start $M                   # GO is repeated until it is answered
	lease_refused dst '' abort $M
	lease src done $M
	status_is a postmigrate || true
	n=$(last_tick "$W/a.out")
	until_true 20 tick_above "$W/dst.out" "$n"
	run -1 grep -q BAD "$W/dst.out"
	on dst vmrun ctl a moves | jq -e '.generation == 1'
	[ "$(record_state "$VMFERRY_STATE_DIR" "$ID")" = moved ]
	lease_close dst
	on dst moves_on a
}

@test "incoming: state that repeats the configuration that came before it, or has what that has not, is not loaded" {
	depart
	while read -r host node property text what; do
		arrive "$host"
		mkdir "$W/$host.image"
		cp "$W/image/ram" "$W/$host.image"
		cp "$W/image/tree" "$W/tree"
		fdtput -p -t s "$W/tree" "$node" "$property" "$text"
		# fdtput leaves old bytes behind a value: dtc writes the canonical form.
		dtc -q -I dtb -O dtb -o "$W/$host.image/tree" "$W/tree"
		lease_refused "$host" "VM tree: $what" put "$W/$host.image"
		lease_close "$host"
	done <<-'END'
	d1 /vm append quiet /vm: append: repeats the configuration
	d2 /host/console path file:/etc/profile /host/console: not a disk in the configuration
	d3 /vm vmferry,name b /vm: vmferry,name: repeats the configuration
	d4 /cpus/cpu@9 reg x /cpus/cpu@9: not in the configuration
	END
}

@test "incoming: its lease lost before READY, it exits with 4 and leaves no record; the source goes on" {
	depart
	for step in nothing put; do
		arrive dst
		[ $step = nothing ] || lease dst put "$W/image"
		lease_kill dst
		exits "$VMPID" 4
		[ ! -e "$W/dst/state/moves/$ID.json" ]
	done
	arrive dst
	lease dst put "$W/image"
	lease dst abort $M
	exits "$VMPID" 4
	[ ! -e "$W/dst/state/moves/$ID.json" ]
	lease_close src
	moves_on a
}

@test "incoming: its lease lost after READY, it stays unresolved; a new lease starts or aborts it" {
	depart
	arrive dst
	lease dst put "$W/image"
	lease dst ready $M src:4649 0
	lease_kill dst
	until_true 10 on dst unleased a
	on dst lease_open again a incoming 'vmmigrate[6]'
	lease again regions
	[[ $output == *" ro protected" ]]
	lease_refused again 'Bad file' put "$W/image"
	lease again start $M
	until_true 20 on dst status_is a running
	lease_close again
	until_true 10 on dst unleased a
	on dst lease_open once_more a incoming 'vmmigrate[7]'
	lease once_more start $M
	lease_refused once_more '' start $OTHER

	arrive d2
	lease d2 put "$W/image"
	lease d2 ready $M src:4649 0
	lease_kill d2
	until_true 10 on d2 unleased a
	on d2 lease_open d2b a incoming 'vmmigrate[6]'
	lease_refused d2b "$M" abort $OTHER
	lease d2b abort $M
	exits "$VMPID" 4
	[ "$(record_state "$W/d2/state" "$ID")" = returned ]
}

@test "incoming: unresolved and ended in order it is RETURNED; killed, it stays READY and does not start" {
	depart
	for how in TERM KILL; do
		[ $how = TERM ] && id=$M || id=$OTHER
		arrive dst
		lease dst put "$W/image"
		lease dst ready $id src:4649 0
		kill -$how "$VMPID"
		wait_gone 10 "$VMPID"
		lease_kill dst
		case $how in
		TERM) [ "$(record_state "$W/dst/state" "$ID")" = returned ] ;;
		KILL) [ "$(record_state "$W/dst/state" "$ID")" = ready ] ;;
		esac
	done
	run -5 on dst vmrun --name a --uuid "$ID" --kernel "$STEP" --serial none
	[[ $output == *"is unresolved"* ]]
}

# A source with a disk, and a target that has said READY for it.
ready_with_disk() {
	truncate -s 1M "$W/disk"
	step a --disk "root=$W/disk"
	SRC=$VMPID
	lease_open src a log 'vmmigrate[4]'
	lease src config "$W/config"
	lease src pause 120000
	mkdir "$W/image"
	lease src take "$W/image"
	ID=$(uuid_of a)
	arrive dst --trust-paths             # the disk is opened: the source has it
	lease dst put "$W/image"
	lease dst ready $M src:4649 0
}
# thief_refused REASON: no other VM gets the disk, to write or to read.
thief_refused() {
	for ro in '' ,ro; do
		run -3 timeout 20 vmrun --name thief --kernel "$STEP" --memory 64M --serial none \
			--disk "root=$W/disk$ro"
		[[ $output =~ ^"vmrun: disk root: "$1 ]]
	done
}

@test "hand-over: from READY to DONE nobody else gets the disk, whichever vmrun dies meanwhile" {
	ready_with_disk
	thief_refused 'already (in use|open for writing) by another VM'
	lease src moving $M dst:4649
	lease src release $M
	thief_refused 'already in use by a VM that is being moved: see vmmigrate status'
	kill -9 "$SRC"
	wait_gone 10 "$SRC"
	thief_refused 'already in use by a VM that is being moved: see vmmigrate status'
	lease dst start $M
	on dst moves_on a
	thief_refused 'already (in use|open for writing) by another VM'
	on dst vmrun ctl a quit
	until_true 10 start_vm heir --kernel "$STEP" --memory 64M --disk "root=$W/disk"
}

@test "hand-over: a target that dies leaves the disk to the source alone, which takes it back" {
	ready_with_disk
	lease src moving $M dst:4649
	lease src release $M
	kill -9 "$VMPID"
	wait_gone 10 "$VMPID"
	thief_refused 'already in use by a VM that is being moved: see vmmigrate status'
	lease src retake $M
	moves_on a
	thief_refused 'already (in use|open for writing) by another VM'
}

@test "incoming: a disk that another program has locked at GO: RETURNED before anything ran, and the source takes it back" {
	ready_with_disk
	lease src moving $M dst:4649
	lease src release $M
	lock_bytes "$W/disk"
	lease_refused dst 'already in use by another VM' start $M
	[ "$(record_state "$W/dst/state" "$ID")" = returned ]
	run -1 grep -q tick "$W/dst.out"
	lease_refused src 'already in use by another VM' retake $M
	status_is a postmigrate
	unlock_bytes
	lease src retake $M
	moves_on a
	[ "$(record_state "$VMFERRY_STATE_DIR" "$ID")" = retaken ]
}

@test "incoming: a disk that is cut between READY and GO: RETURNED before anything ran, and the source does not resume over it" {
	ready_with_disk
	lease src moving $M dst:4649
	lease src release $M
	truncate -s 4K "$W/disk"
	lease_refused dst 'root: truncated on the host: 4096 bytes, the guest expects 1048576' \
		start $M
	[ "$(record_state "$W/dst/state" "$ID")" = returned ]
	lease_refused src 'root: truncated on the host: 4096 bytes' retake $M
	ctl_refused 'root: truncated on the host' a resolve own=true peer-is-dead=true \
		disk-changed=accept
	status_is a postmigrate
}

@test "hand-over: a lock that is held for a moment does not stop a retake" {
	ready_with_disk
	lease src moving $M dst:4649
	lease src release $M
	lease dst abort $M
	lock_bytes "$W/disk"
	echo "retake $M" >&"${LEASE[src]}"
	unlock_bytes
	lease_answer src
	moves_on a
}

@test "hand-over: a disk that was written while the VM was released is not resumed over; accepted by hand it is" {
	ready_with_disk
	lease src moving $M dst:4649
	lease src release $M
	lease dst abort $M
	printf x | dd of="$W/disk" conv=notrunc status=none
	for _ in 1 2; do
		lease_refused src 'root \(content\)' retake $M
		status_is a postmigrate
		[ "$(record_state "$VMFERRY_STATE_DIR" "$ID")" = released ]
	done
	thief_refused 'already in use by a VM that is being moved: see vmmigrate status'
	ctl_refused 'root' a resolve own=true peer-is-dead=true
	ctl_refused "expects 'accept'" a resolve own=true peer-is-dead=true disk-changed=yes
	vmrun ctl a resolve own=true peer-is-dead=true disk-changed=accept
	moves_on a
}

@test "hand-over: a disk of which STATE was not asked for is compared as well" {
	truncate -s 1M "$W/disk"
	step a --disk "root=$W/disk"
	lease_open src a log 'vmmigrate[4]'
	lease src pause 120000
	lease src moving $M dst:4649
	lease src release $M
	truncate -s 2M "$W/disk"
	lease_refused src 'root' retake $M
	truncate -s 1M "$W/disk"
	lease_refused src 'root \(modification time\)' retake $M
}

@test "incoming: a host that has released the VM takes it back only as a later generation" {
	depart
	record "$W/dst/state" "$ID" released 3 $OTHER
	arrive dst
	lease dst put "$W/image"
	lease_refused dst 'generation' ready $M src:4649 3
	[ "$(record_state "$W/dst/state" "$ID")" = released ]
	lease dst ready $M src:4649 4
	lease dst start $M
	jq -e '.state == "owned" and .generation == 5' "$W/dst/state/moves/$ID.json"
	# And away again: what is released, and taken back, keeps the generation.
	on dst lease_open up a log 'vmmigrate[8]'
	lease up pause 60000
	lease_refused up 'duplicate move ID' moving $M third:1
	lease up moving $THIRD third:1
	lease up release $THIRD
	jq -e '.state == "released" and .generation == 5' "$W/dst/state/moves/$ID.json"
	lease up retake $THIRD
	jq -e '.state == "retaken" and .generation == 5' "$W/dst/state/moves/$ID.json"
	jq -e --arg m "$M" --arg o "$OTHER" \
		'[.outcomes[] | select((.move == $o and .outcome == "moved") or (.move == $m and
			.outcome == "owned"))] | length == 2' \
		"$W/dst/state/moves/$ID.json"
	on dst moves_on a
}

@test "incoming: a tree that does not fit fails LOAD, and such a VM is never ready" {
	depart
	arrive dst
	cp -r "$W/image" "$W/bad"
	flip_bit "$W/bad/tree" 300 3
	truncate -s -100 "$W/bad/tree"
	lease_refused dst '' put "$W/bad"
	lease_refused dst 'not complete' ready $M src:4649 0
	lease_close dst
	exits "$VMPID" 4
}

@test "resolve: while vmrun lives, the user's decision resolves a released VM and an unresolved one" {
	depart
	lease src moving $M dst:4649
	lease src release $M
	ctl_refused 'peer-is-dead=true' a resolve own=true
	vmrun ctl a resolve own=true peer-is-dead=true
	moves_on a
	ctl_refused 'not valid for a VM' a resolve own=true peer-is-dead=true
	jq -e '.state == "retaken" and .generation == 1' "$VMFERRY_STATE_DIR/moves/$ID.json"
	lease src pause 60000
	lease src moving $OTHER dst:4649
	lease src release $OTHER
	ctl_refused "$OTHER" a resolve own=false "move=$M"
	src=$(jq -r .pid "$VMFERRY_RUNTIME_DIR/a.lock")
	vmrun ctl a resolve own=false
	exits "$src" 20
	jq -e '.state == "moved" and .generation == 2' "$VMFERRY_STATE_DIR/moves/$ID.json"

	arrive d1
	lease d1 put "$W/image"
	lease d1 ready $M src:4649 0
	on d1 vmrun ctl a resolve own=true peer-is-dead=true "move=$M"
	until_true 20 on d1 status_is a running
	[ "$(record_state "$W/d1/state" "$ID")" = owned ]

	arrive d2
	lease d2 put "$W/image"
	lease d2 ready $M src:4649 0
	on d2 vmrun ctl a resolve own=false
	exits "$VMPID" 4
	[ "$(record_state "$W/d2/state" "$ID")" = returned ]
}

@test "release and deadline at once: one of the two wins, each time, and both sides agree which" {
	step a
	id=$(uuid_of a)
	won=0 lost=0
	for i in {1..40}; do
		lease_open "x$i" a log 'vmmigrate[9]'
		# The pause, and the release behind it in the same write: the deadline falls
		# before, between or after.
		move=$(printf '55555555-5555-4555-8555-%012d' "$i")
		lease "x$i" moving "$move" h:1
		printf 'pause %d\nrelease %s\n' $((1 + i % 4)) "$move" >&"${LEASE[x$i]}"
		lease_answer "x$i" || true
		if lease_answer "x$i"; then
			won=$((won + 1))
			[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = released ]
			status_is a postmigrate
			lease "x$i" retake "$move"
		else
			lost=$((lost + 1))
			[[ $output == *deadline* || $output == *"not valid for a VM"* ]]
			[ "$(record_state "$VMFERRY_STATE_DIR" "$id")" = aborted ]
		fi
		until_true 20 status_is a running
		lease_close "x$i"
	done
	echo "released $won, revoked $lost"
	moves_on a
}

@test "kill -9 of vmrun at each point of the hand-over: the record says what the table says, and a restart obeys it" {
	[ -x "$FAULTS_BUILD/bin/vmrun" ]
	export PATH="$FAULTS_BUILD/bin:$PATH"
	# point, lease verb that meets it, record afterwards (none: there is no file), exit status
	# of a restart (0: runs)
	while read -r point verb state restart; do
		VMFERRY_FAULT=vmrun.source.$point=kill start_step s "pages=64 pace=1000"
		id=$(uuid_of s)
		lease_open "s$point" s log 'vmmigrate[9]'
		lease "s$point" pause 60000
		[ "$verb" = moving ] || lease "s$point" moving $M h:1
		[ "$verb" != done ] || lease "s$point" release $M
		if lease "s$point" "$verb" $M h:1; then false; fi
		wait_gone 10 "$VMPID"
		record_is "$VMFERRY_STATE_DIR" "$id" "$state"
		restart_gives "$VMFERRY_STATE_DIR" "$id" "$restart"
	done <<-END
		moving   moving  moving   0
		paused   release moving   0
		released release released 5
		done     done    moved    5
	END

	depart
	while read -r point verb state restart; do
		export VMFERRY_FAULT=vmrun.target.$point=kill
		arrive "t$point"
		unset VMFERRY_FAULT
		lease "t$point" put "$W/image"
		[ "$verb" = ready ] || lease "t$point" ready $M src:1 0
		if lease "t$point" "$verb" $M src:1 0; then false; fi
		wait_gone 10 "$VMPID"
		record_is "$W/t$point/state" "$ID" "$state"
		[ "$point" = running ] || ! grep -q tick "$W/t$point.out"      # no vCPU ran
		restart_gives "$W/t$point/state" "$ID" "$restart"
	done <<-END
		loaded  ready none  0
		ready   ready ready 5
		owned   start owned 0
		running start owned 0
	END
	lease src resume
	moves_on a
}
record_is() {
	if [ "$3" = none ]; then
		[ ! -e "$1/moves/$2.json" ]
	else
		[ "$(record_state "$1" "$2")" = "$3" ]
	fi
}
restart_gives() {
	if [ "$3" = 0 ]; then
		VMFERRY_STATE_DIR=$1 VMFERRY_RUNTIME_DIR=$W/again start_vm again --uuid "$2" \
			--kernel "$STEP" --serial none
		VMFERRY_RUNTIME_DIR=$W/again vmrun ctl again quit
		exits "$VMPID" 0
	else
		VMFERRY_STATE_DIR=$1 VMFERRY_RUNTIME_DIR=$W/again run -"$3" vmrun --name again \
			--uuid "$2" --kernel "$STEP" --serial none
	fi
}
