# SPDX-License-Identifier: MIT
# Who runs the VM when people and processes do what nobody planned (docs/protocol.md 7 and 8):
# attempts that overlap, onward moves, answers that come while a human reads, sockets elsewhere,
# replays, disks that fail.
load ../lib/vm
load ../lib/move
load ../lib/hosts

setup() { move_setup; }
teardown() {
	vm_teardown
	# A listener that a test lets somebody else start at B.
	[ -z "${BADDR:-}" ] || pkill -f -- "--listen $BADDR" || true
}

move_id() { jq -r .move "$W/$1/state/moves/$UUID.json"; }
no_children() { [ -z "$(children "$1")" ]; }
no_incoming() { ! pgrep -f -- "--incoming.*$W" >/dev/null && ! pgrep -f -- "$W/spawn" >/dev/null; }

# slow_vmrun: what the listener starts takes its time before it becomes vmrun.
slow_vmrun() {
	printf '#!/bin/sh\nsleep 0.5\nexec "$@"\n' >"$W/spawn"
	chmod +x "$W/spawn"
}

# released_and_forgotten: web is released to B, where it is READY or runs; A's vmmigrate has
# died.
released_and_forgotten() {
	need_faults
	VMFERRY_FAULT=vmmigrate.source.released=kill move --ask "$ASK"
	wait "$MV" || true
	MOVE=$(move_id a)
}

# The listener on B and its children, at once.
kill_listener() {
	local c
	mapfile -t c < <(children "$BL")
	kill -9 "$BL" ${c[@]+"${c[@]}"} 2>/dev/null || true
	wait "$BL" || true
}

# bats file_tags=slow

@test "a move given up while vmrun was starting does no harm to the one that follows at once" {
	start_web
	slow_vmrun
	listen a 127.0.0.1:0 --spawn "$W/spawn" -- --serial "file:$W/both.out"
	AADDR=$LADDR
	listen_b --spawn "$W/spawn"
	for to in b a b; do
		local from=a at=$BADDR n
		[ $to = b ] || from=b at=$AADDR
		n=$(grep -c 'incoming from' "$W/$to.log" || true)
		exec_on $from env --default-signal=INT vmmigrate web "$at" >"$W/first" 2>&1 \
			</dev/null 3>&- &
		MV=$!
		until_true 10 eval "[ \$(grep -c 'incoming from' $W/$to.log) -gt $n ]"
		kill -INT "$MV"
		wait "$MV" || true
		"on_$from" vmmigrate web "$at"
		until_true 30 no_children "$BL"
		runs_on $to
		ticks_on
	done
	ticks_right
}

@test "a listener that is told to end while vmrun is starting leaves no vmrun behind" {
	start_web
	slow_vmrun
	listen_b --spawn "$W/spawn"
	move
	wait_line 10 'incoming from' "$W/b.log"
	kill "$BL"
	moved 4
	until_true 20 no_incoming
	runs_on a
}

@test "an onward move leaves the evidence: the first source hears that it was owned, and cannot take it back" {
	start_web
	listen a 127.0.0.1:0
	ASK=$LADDR
	listen_b
	listen c 127.0.0.1:0 -- --serial "file:$W/both.out"
	CADDR=$LADDR
	released_and_forgotten
	until_true 20 record_is b owned
	on_b vmmigrate web "$CADDR"
	record_is b moved
	[ "$(outcome_on b "$MOVE")" = owned ]
	run -5 on_a vmmigrate resolve web --own --peer-is-dead --yes
	[[ $output == *"reports for this move: owned"* ]]
	record_is a released
	run -0 on_a vmmigrate resume web
	record_is a moved
	[ "$(running_hosts)" = 1 ]
	ticks_on
	ticks_right
}

@test "resolve asks again after the human: a target that hears GO meanwhile keeps the VM" {
	start_web
	listen_b
	ASK=127.0.0.1:1
	released_and_forgotten
	kill_listener
	record_is b ready
	export -f exec_on on_b
	# While he reads: somebody at the target resolves it.
	MEANWHILE="on_b vmmigrate resolve web --own --peer-is-dead --yes
		on_b setsid vmmigrate --listen $BADDR >$W/b2.log 2>&1 </dev/null 3>&- &
		until grep -q listening $W/b2.log; do command sleep 0.05; done"
	run in_tty web env VMFERRY_RUNTIME_DIR="$W/a/run" VMFERRY_STATE_DIR="$W/a/state" vmmigrate \
		resolve web --own --peer-is-dead
	[ "$status" = 5 ] || { echo "status $status: $output"; cat "$W/tty.out"; return 1; }
	grep -q 'cannot be queried' "$W/tty.out"
	grep -q 'would run twice' "$W/tty.out"
	records_are released owned
	[ "$(running_hosts)" = 1 ]
	runs_on b
	ticks_on
	ticks_right
}

@test "resolve: while a human decides, the target hears undecided, and released again when he has gone" {
	need_faults
	start_web
	listen a 127.0.0.1:0
	ASK=$LADDR
	listen_b
	VMFERRY_FAULT=vmmigrate.source.released=wait:$W/at move --ask "$ASK"
	until_true 20 test -e "$W/at"
	kill_listener
	kill -9 "$MV"
	wait "$MV" || true
	records_are released ready
	MOVE=$(move_id b)
	MEANWHILE="python3 '$TOP/tests/vmmigrate/peer.py' state $(port_of \
		"$ASK") $UUID $MOVE web target >$W/heard"
	run -2 in_tty no env VMFERRY_RUNTIME_DIR="$W/a/run" VMFERRY_STATE_DIR="$W/a/state" \
		vmmigrate resolve web --own --peer-is-dead
	[ "$(cat "$W/heard")" = undecided ]
	record_is a released
	[ "$(peer state "$(port_of "$ASK")" "$UUID" "$MOVE" web target)" = released ]
	[ "$(peer state "$(port_of "$ASK")" "$UUID" "$UUID" web target)" = unknown ]
	listen_b
	until_true 20 record_is b owned
	ticks_on
	ticks_right
}

@test "a source that was silent for one unresolved VM delays no other" {
	need_faults
	start_web
	listen a 127.0.0.1:0
	ASK=$LADDR
	listen_b
	# A second VM, whose source answers nothing at all: a hole that takes connections.
	start_vm other --kernel "$STEP" --append "pages=64 tick=1000" --memory 32M
	socat -u TCP-LISTEN:0,bind=127.0.0.1,fork OPEN:/dev/null 2>"$W/socat.err" &
	HOLE=$!
	PIDS+=("$HOLE")
	until_true 10 eval "ss -ltnp | grep -q pid=$HOLE,"
	local hole
	hole=$(ss -ltnp | grep "pid=$HOLE," | grep -oE '127.0.0.1:[0-9]+' | head -n 1)
	VMFERRY_FAULT=vmmigrate.source.ready-heard=kill on_a vmmigrate --ask "$hole" other \
		"$BADDR" || true
	on_a vmrun ctl other quit
	VMFERRY_FAULT=vmmigrate.source.released=kill on_a vmmigrate --ask "$ASK" web "$BADDR" ||
		true
	until_true 15 record_is b owned
	runs_only_on_b
}
runs_only_on_b() { until_true 20 runs_on b && ticks_on && ticks_right; }

@test "VMs whose control socket is elsewhere are moved, asked about, resumed and resolved like any other" {
	need_faults
	start_vm web --control "$W/x.sock" --kernel "$STEP" --append "pages=256 tick=1000 pace=20" \
		--memory 32M --serial "file:$W/both.out" &
	until_true 20 vmrun ctl "$W/x.sock" query-status
	wait_line 20 'tick 3$' "$W/both.out"
	UUID=$(vmrun ctl "$W/x.sock" query-uuid | jq -r .UUID)
	listen a 127.0.0.1:0
	ASK=$LADDR
	listen b 127.0.0.1:0 -- --serial "file:$W/both.out" --control "$W/y.sock"
	VMFERRY_FAULT=vmmigrate.source.released=kill on_a vmmigrate --ask "$ASK" "$W/x.sock" \
		"$LADDR" || true
	# the target asked, and the listener on A knew its vmrun
	until_true 20 record_is b owned
	run -0 on_a vmmigrate status
	[[ $output == *"web: released"*"vmrun running"* ]]
	run -0 on_a vmmigrate resume "$W/x.sock"
	[[ $output == *"running at"* && $output != *"no longer"* ]]
	[ "$(on_b vmrun ctl "$W/y.sock" query-status | jq -r .running)" = true ]
	ticks_on
	ticks_right
	# And back, by a source that is elsewhere too.
	listen a 127.0.0.1:0 -- --serial "file:$W/both.out"
	run -0 on_b vmmigrate "$W/y.sock" "$LADDR"
	record_is a owned
}

@test "taken back at a generation above 0: the target hears it and discards" {
	start_web
	listen a 127.0.0.1:0 -- --serial "file:$W/both.out"
	ASK=$LADDR
	listen_b
	on_a vmmigrate web "$BADDR"
	on_b vmmigrate web "$ASK"
	[ "$(jq .generation "$W/a/state/moves/$UUID.json")" = 2 ]
	need_faults
	kill "$BL"
	wait "$BL" || true
	VMFERRY_FAULT=vmrun.target.ready=wait:$W/at listen_b
	move --ask 127.0.0.1:1
	until_true 20 test -e "$W/at"
	kill_listener
	moved 4
	rm -f "$W/at"
	until_true 20 record_is b ready
	record_is a aborted
	[ "$(jq .generation "$W/a/state/moves/$UUID.json")" = 2 ]
	sed -i "s|127.0.0.1:1\"|$ASK\"|" "$W/b/state/moves/$UUID.json"
	kill -9 "$(vm_pid b)"
	until_true 10 no_vm b
	listen_b
	until_true 20 record_is b returned
	runs_on a
	ticks_on
	ticks_right
}

@test "a stream that was recorded makes no second VM" {
	start_web
	listen_b
	via_recorder "$BADDR"
	run -0 on_a vmmigrate web "$VIA"
	runs_on b
	on_b vmrun ctl web quit
	until_true 10 no_vm b
	run -0 peer replay "$(port_of "$BADDR")" "$W/stream"
	[[ $output == *"AGREE False"*"duplicate move UUID"* ]]
	no_vm b
	record_is b owned
}

@test "GO that is repeated hears RUNNING only once the VM is sure to run" {
	need_faults
	start_web
	export VMFERRY_FAULT=vmrun.target.owned=wait:$W/at
	listen_b
	unset VMFERRY_FAULT
	move --ask 127.0.0.1:1 --handover-timeout 30s
	until_true 20 test -e "$W/at"
	record_is b owned
	local id
	id=$(move_id b)
	peer go "$(port_of "$BADDR")" "$UUID" "$id" 0 >"$W/go" &
	local g=$!
	until_true 10 eval "[ \$(pgrep -c -P $BL) -ge 2 ]"
	[ ! -s "$W/go" ]
	[ "$(running_hosts_quick)" = 0 ]
	rm -f "$W/at"
	wait "$g"
	[[ "$(cat "$W/go")" == RUNNING* ]]
	moved 0
	runs_only_on_b
}
# vmrun is stopped inside START and answers nobody: what its guest has written tells.
running_hosts_quick() {
	local n
	n=$(last_tick "$W/both.out")
	[ "$(last_tick "$W/both.out")" = "$n" ] && echo 0
}

@test "connections that say nothing give way to GO, and SIGTERM ends the listener at once" {
	start_web
	listen a 127.0.0.1:0
	ASK=$LADDR
	listen_b
	peer idle "$(port_of "$BADDR")" 40 "$W/enough" >"$W/idle" 2>&1 &
	PIDS+=("$!")
	wait_line 20 idle "$W/idle"
	run -0 on_a vmmigrate web "$BADDR"
	runs_on b
	kill "$BL"
	wait_gone 5 "$BL"
	touch "$W/enough"
	ticks_on
	ticks_right
}

@test "questions take no lease: saves succeed while a peer asks as fast as it can" {
	start_web
	listen a 127.0.0.1:0
	peer query "$(port_of "$LADDR")" "$UUID" web 4 >"$W/asked" &
	local p=$! n=0
	while kill -0 "$p" 2>/dev/null; do
		on_a vmsnap --quiet --force web "$W/s.vms"
		n=$((n + 1))
	done
	wait "$p"
	[ "$(cat "$W/asked")" -gt 10 ]
	[ "$n" -ge 1 ]
}

# ended_or_leased PID: the saver has ended, or has its lease
ended_or_leased() {
	! kill -0 "$1" 2>/dev/null ||
		[ "$(vmrun ctl web query-status | jq -r '.["vmferry-lease"]')" != null ]
}
@test "a saver that was killed leaves its lease at once, whatever requests of its are queued" {
	start_web
	for i in $(seq 20); do
		vmsnap --quiet web >/dev/null &
		local p=$!
		until_true 10 ended_or_leased "$p"
		kill -9 "$p" 2>/dev/null || true
		wait "$p" || true
		vmsnap --quiet --force web "$W/s.vms"
	done
}

@test "what a record says is on disk before anybody goes by it" {
	start_web
	listen_b
	on_a vmmigrate web "$BADDR"
	# LeakSanitizer does not run under ptrace.
	export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
	on_a strace -f -y -e trace=fsync -o "$W/trace" vmmigrate status web
	grep -q "fsync([0-9]*<.*/moves/$UUID.json>)" "$W/trace"
	grep -q "fsync([0-9]*<.*/moves>)" "$W/trace"
}

# ---- state folders that fail ----

# failing HOST FAULTS EXIT RECORDS: a move with these faults in the vmrun of that host. Called
# where `set -e` does not hold.
failing() {
	need_faults
	[ "$1" = b ] || export VMFERRY_FAULT=$2
	start_web || return 1
	unset VMFERRY_FAULT
	[ "$1" = a ] || export VMFERRY_FAULT=$2
	listen_b || return 1
	unset VMFERRY_FAULT
	move --ask 127.0.0.1:1 --handover-timeout 2s
	moved "$3" || return 1
	until_true 10 records_are $4 || return 1
	[ "$(running_hosts)" = 1 ] || { echo "$(running_hosts) run it"; return 1; }
	ticks_on && ticks_right
}

# failing_at_any_step HOST RECORD EXIT RECORDS COMMAND...: that record cannot be written there,
# whichever step of it fails, and COMMAND holds then.
failing_at_any_step() {
	local step
	for step in write fsync rename fsync-folder; do
		failing "$1" "moves.$2.$step=hit" "$3" "$4" && "${@:5}" || {
			echo "at $step"
			cat "$W/move.err"
			return 1
		}
		vm_teardown || true
		setup
	done
}

@test "the target's state folder fails at any step of OWNED: it is returned, and the source runs on" {
	failing_at_any_step b owned 4 "retaken returned" runs_on a
}

@test "the target's state folder fails at any step of READY: the source runs on" {
	failing_at_any_step b ready 4 "aborted -" runs_on a
}

@test "the source's state folder fails at any step of RELEASED: the move is aborted, the VM runs on and can be moved again" {
	failing_at_any_step a released 4 "aborted returned" runs_on_as_aborted
}
runs_on_as_aborted() {
	local said
	runs_on a && said=$(on_a vmmigrate status web) &&
		[[ $said == *"web: aborted"*"Running here."* ]]
}

@test "the source's state folder fails at any step of MOVED: the VM runs at the target alone" {
	failing_at_any_step a moved 0 "released owned" runs_on_but_noted
}
runs_on_but_noted() { grep -q 'the local record was not updated' "$W/move.err" && runs_on b; }

@test "the target cannot run the VM and cannot record that: it stays, held, and says so; nobody decides before it is on disk" {
	need_faults
	start_web
	VMFERRY_FAULT=moves.owned.rename=hit,moves.returned.fsync=hit listen_b
	move --ask 127.0.0.1:1 --handover-timeout 2s
	moved 5
	records_are released ready
	stands_on a
	stands_on b
	grep -q 'cannot write the record' "$W/b/run/web.log"
	[ "$(on_b vmrun ctl web moves | jq -c '[.record.state, .stale]')" = '["returned",true]' ]
	kill -9 "$(vm_pid b)" "$BL"
	until_true 10 no_vm b
	wait "$BL" || true
	listen_b      # its processes inherit no fault
	run -4 on_a vmmigrate resume web
	records_are retaken returned
	runs_on a
	ticks_on
	ticks_right
}

@test "the source's vmrun cannot record that a move was aborted: it runs on, and the record follows when the disk can" {
	need_faults
	export VMFERRY_FAULT=moves.aborted.fsync=hit
	start_web
	unset VMFERRY_FAULT
	listen_b
	move --ask 127.0.0.1:1 --bandwidth 1M
	wait_line 10 'incoming from' "$W/b.log"
	until_true 10 record_is a moving
	kill -INT "$MV"
	moved 130
	runs_on a
	record_is a moving
	run -0 on_a vmmigrate status web
	[[ $output == *"web: aborted"* ]]
	ticks_on
	on_a vmrun ctl web quit
	until_true 10 no_vm a
	may_start a
	record_is a aborted
}
