# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Helpers for moves: two hosts, A and B, on this machine, with runtime and state folders of their
# own. VMs write their serial line to one file, $W/both.out, opened O_APPEND by whoever runs them:
# ticks that repeat or leap are two VMs, or a lost one.

move_setup() {
	vm_setup
	export VMFERRY_RUNTIME_DIR=$W/a/run VMFERRY_STATE_DIR=$W/a/state
	: >"$W/both.out"
}

# Faults exist in test builds only.
need_faults() {
	[ -x "${FAULTS_BUILD:-}/bin/vmmigrate" ] || skip "no build with faults (make FAULTS=1)"
	PATH=$FAULTS_BUILD/bin:$PATH
}

on_a() { VMFERRY_RUNTIME_DIR=$W/a/run VMFERRY_STATE_DIR=$W/a/state "$@"; }
on_b() { VMFERRY_RUNTIME_DIR=$W/b/run VMFERRY_STATE_DIR=$W/b/state "$@"; }

# exec_on HOST COMMAND: for background jobs, whose pid must be the command's own.
exec_on() {
	export VMFERRY_RUNTIME_DIR=$W/$1/run VMFERRY_STATE_DIR=$W/$1/state
	shift
	exec "$@"
}

# start_web [bootargs]: the one-step guest `web` on A. Its pid in $AVM.
start_web() {
	start_vm web --kernel "$STEP" --append "pages=1024 tick=1000 pace=20 ${1:-}" --memory 32M \
		--serial "file:$W/both.out"
	wait_line 20 'tick 3$' "$W/both.out"
	export AVM=$VMPID
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
}

# listen HOST ADDRESS [options]: a listener on a or b, its log in $W/HOST.log; its pid in $LPID,
# its address in $LADDR.
listen() {
	local host=$1 address=$2 n
	shift 2
	touch "$W/$host.log"
	n=$(grep -c 'listening on' "$W/$host.log" || true)
	exec_on "$host" setsid vmmigrate --listen "$address" "$@" >>"$W/$host.log" 2>&1 </dev/null \
		3>&- &
	LPID=$!
	PIDS+=("$LPID")
	until_true 10 listening "$host" "$n"
	LADDR=$(grep -oE 'listening on [^ ]+' "$W/$host.log" | tail -n 1 | cut -d' ' -f3)
}
listening() {
	[ "$(grep -c 'listening on' "$W/$1.log")" -gt "$2" ] || {
		! kill -0 "$LPID" 2>/dev/null && cat "$W/$1.log" >&2
	}
}

# listen_b [options]: on B, the serial line to the shared file. Its pid in $BL, its address in
# $BADDR; again on the same port.
listen_b() {
	listen b "${BADDR:-127.0.0.1:0}" "$@" -- --serial "file:$W/both.out"
	export BL=$LPID BADDR=$LADDR
}

# move [options]: from A to B in the background: its pid in $MV, its messages in $W/move.err.
move() {
	exec_on a env --default-signal=INT vmmigrate "$@" web "$BADDR" >"$W/move.out" \
		2>"$W/move.err" </dev/null 3>&- &
	MV=$!
	PIDS+=("$MV")
}

# via_recorder ADDRESS: one connection to $VIA goes there; what its source sends is in $W/stream.
via_recorder() {
	socat -r "$W/stream" TCP-LISTEN:0,bind=127.0.0.1,reuseaddr "TCP:$1" 2>"$W/socat.err" &
	PIDS+=("$!")
	local p=$!
	until_true 10 eval "ss -ltnp | grep -q pid=$p,"
	# shellcheck disable=SC2034  # VIA is for the tests
	VIA=$(ss -ltnp | grep "pid=$p," | grep -oE '127.0.0.1:[0-9]+' | head -n 1)
}

# moved STATUS: waits for the move in the background, which must end so.
moved() {
	local rc=0
	wait "$MV" || rc=$?
	[ "$rc" = "$1" ] || {
		echo "vmmigrate ended with $rc, not $1"
		cat "$W/move.err" "$W/b.log"
		return 1
	}
}

# record HOST: the state of web's record there, "-" for none.
record() {
	[ -e "$W/$1/state/moves/$UUID.json" ] && jq -r .state "$W/$1/state/moves/$UUID.json" ||
		echo -
}
record_is() { [ "$(record "$1")" = "$2" ]; }
records() { echo "$(record a) $(record b)"; }
records_are() { [ "$(records)" = "$*" ] || { echo "records: $(records)"; return 1; }; }

# vm_pid HOST: the process that web's lock file names there, if it lives.
vm_pid() {
	local p
	p=$(jq -r '.pid // empty' "$W/$1/run/web.lock" 2>/dev/null)
	[ -n "$p" ] && kill -0 "$p" 2>/dev/null && [[ "$(ps -o stat= -p "$p")" != Z* ]] && echo "$p"
}
no_vm() { ! vm_pid "$1" >/dev/null; }
runs_on() {
	vm_pid "$1" >/dev/null &&
		[ "$("on_$1" vmrun ctl web query-status 2>/dev/null | jq -r .running)" = true ]
}
stands_on() {
	vm_pid "$1" >/dev/null &&
		[ "$("on_$1" vmrun ctl web query-status 2>/dev/null | jq -r .running)" = false ]
}

# web goes on: more ticks come.
ticks_on() {
	local n
	n=$(last_tick "$W/both.out")
	until_true 20 tick_above "$W/both.out" $((n + 1))
}
# and nobody else's: each tick once, in order, none left out; no page that the guest found wrong.
ticks_right() {
	! grep -a BAD "$W/both.out" || return 1
	# The last line may be half written.
	grep -aoE '^tick [0-9]+$' "$W/both.out" | sed '$d' | cut -d' ' -f2 |
		awk 'NR > 1 && $1 != last + 1 { print "tick " $1 " after " last; bad = 1 }
			{ last = $1 } END { exit bad }'
}

# check_on HOST: saves web there and looks at every page of it.
check_on() {
	"on_$1" vmsnap --quiet web "$W/check.vms" || return 1
	stepcheck "$W/check.vms" >"$W/check.txt" || { cat "$W/check.txt"; return 1; }
	rm -f "$W/check.vms"
}

# may_start HOST: would a vmrun of that VM be let run there? It is started paused, and ended.
may_start() {
	local rc=0
	"on_$1" vmrun --name web --uuid "$UUID" --kernel "$STEP" --memory 32M --serial none \
		--paused >"$W/restart.log" 2>&1 </dev/null 3>&- &
	local p=$!
	PIDS+=("$p")
	until_true 10 started_or_not "$1" "$p"
	if "on_$1" vmrun ctl web quit >/dev/null 2>&1; then
		wait "$p"
		return 0
	fi
	wait "$p" || rc=$?
	return "$rc"
}
started_or_not() {
	! kill -0 "$2" 2>/dev/null || "on_$1" vmrun ctl web query-status >/dev/null 2>&1
}

# children PID: its child processes.
children() { pgrep -P "$1" || true; }
