# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Helpers for tests that run VMs. Each test has a world of its own: a short folder with runtime
# and state folders, removed, and every vmrun in it killed, by vm_teardown. Waiting is on events
# (a line, a socket, a state), bounded by a deadline.
#
# VMFERRY_ACCEL=kvm runs the VMs of tests tagged "accel" on KVM instead of the software CPU: the
# same claims, the same program as guest. What differs there: STEP, the kernel; MACHINE, its type;
# RAM, where its memory begins; STATE, fields of its saved state that a planted bug can forget.

bats_require_minimum_version 1.5.0

vm_setup() {
	TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
	W=$(mktemp -d /tmp/vf.XXXXXX)
	export VMFERRY_RUNTIME_DIR=$W/run VMFERRY_STATE_DIR=$W/state
	ACCEL=${VMFERRY_ACCEL:-soft}
	# shellcheck disable=SC2034  # STATE is for the tests
	case $ACCEL in
	soft)
		STEP=$TOP/tests/guests/step.elf MACHINE=riscv64-1 RAM=0x80000000 \
			STATE=(hart.pc hart.x hart.stimecmp)
		;;
	kvm)
		STEP=$TOP/tests/guests/step_x86.elf MACHINE=x86-64-1 RAM=0x0 \
			STATE=(x86-regs.rip x86-regs.rsi x86-lapic.regs)
		need_kvm ;;
	esac
	PIDS=()
	export TOP W STEP ACCEL MACHINE RAM
}

vm_teardown() {
	vm_teardown_processes
	[ -z "${W:-}" ] || rm -rf "$W"
	return 0
}

vm_teardown_processes() {
	local p
	for p in ${PIDS[@]+"${PIDS[@]}"}; do kill -9 "$p" 2>/dev/null; done
	for p in "$W"/run* "$W"/*/run; do      # also those that a listener started
		[ ! -d "$p" ] || VMFERRY_RUNTIME_DIR=$p timeout 5 vmrun list --json 2>/dev/null |
			jq -r '.. | .pid? // empty' | xargs -r kill -9
	done 2>/dev/null
	[ -z "${W:-}" ] || pkill -9 -f -- "$W" 2>/dev/null
	return 0
}

# until_true SECONDS COMMAND...: polls until COMMAND succeeds. SECONDS are those of a machine that
# does nothing else: suites share the CPUs, so the bound is three times that, and more on
# sanitizer builds.
until_true() {
	local limit=$(($1 * 3)) start=$SECONDS
	shift
	[ -z "${SAN:-}" ] || limit=$((limit * 3))
	while ! "$@"; do
		[ $((SECONDS - start)) -lt "$limit" ] || {
			echo "waited $limit s in vain for: $*" >&2
			return 1
		}
		command sleep 0.05
	done
}

wait_line() { until_true "$1" grep -qsE -- "$2" "$3"; }
wait_gone() { until_true "$1" not_alive "$2"; }
not_alive() { ! kill -0 "$1" 2>/dev/null; }

# start_vm NAME [vmrun options]: in the background; serial to $W/NAME.out unless --serial is
# given; its pid in $VMPID.
start_vm() {
	local name=$1 serial=(--serial "file:$W/$1.out")
	shift
	case " $* " in *" --serial "*) serial=() ;; esac
	vmrun --name "$name" ${serial[@]+"${serial[@]}"} "$@" >"$W/$name.log" 2>&1 </dev/null 3>&- &
	VMPID=$!
	PIDS+=("$VMPID")
	until_true 30 vm_answers "$name" "$VMPID"
}

vm_answers() {
	if ! kill -0 "$2" 2>/dev/null; then
		cat "$W/$1.log" >&2
		return 0      # it has ended: the caller's next step says what it wanted
	fi
	local status      # a restored VM answers while it is still being read
	status=$(vmrun ctl "$1" query-status 2>/dev/null | jq -r .status) && [ -n "$status" ] &&
		[ "$status" != restore-vm ]
}

# start_step NAME [bootargs] [vmrun options]: the one-step guest, 64 MiB unless --memory is given.
start_step() {
	local name=$1 args=${2:-}
	shift
	[ $# -eq 0 ] || shift
	local memory=(--memory 64M)
	case " $* " in *" --memory "*) memory=() ;; esac
	start_vm "$name" --kernel "$STEP" --append "$args" ${memory[@]+"${memory[@]}"} "$@"
	wait_line 20 'step guest' "$W/$name.out"
}

status_of() { vmrun ctl "$1" query-status | jq -r .status; }
status_is() { [ "$(status_of "$1" 2>/dev/null)" = "$2" ]; }

# last_tick FILE: the number of the last "tick N" line, 0 when there is none. Whole lines only: a
# guest that is stopped in the middle of "tick 1612" has not said "tick 16".
last_tick() {
	local n
	n=$({ tail -c 65536 "$1" 2>/dev/null; echo X; } | sed '$d' | tr -d '\r' |
		grep -aoE '^tick [0-9]+' | tail -n 1 | cut -d' ' -f2)
	echo "${n:-0}"
}
tick_above() { [ "$(last_tick "$1")" -gt "$2" ]; }

# The port a `vmmigrate --listen ADDR:0` says it got.
port_in() { grep -oE 'listening on [^ ]*:[0-9]+' "$1" | head -n 1 | grep -oE '[0-9]+$'; }

# flip_bit FILE BYTE BIT
flip_bit() {
	python3 - "$1" "$2" "$3" <<-'END'
	import sys
	with open(sys.argv[1], 'r+b') as f:
	    f.seek(int(sys.argv[2])); b = f.read(1)[0]
	    f.seek(int(sys.argv[2])); f.write(bytes([b ^ 1 << int(sys.argv[3])]))
	END
}

# The stock Debian guest's folder in $GUEST, or skip.
need_debian() {
	GUEST=$("$TOP/tests/tools/fetch-guest" 2>"$BATS_TEST_TMPDIR/fetch.err") || {
		cat "$BATS_TEST_TMPDIR/fetch.err" >&2
		skip "the Debian guest can't be fetched: $(tail -n 1 "$BATS_TEST_TMPDIR/fetch.err")"
	}
	export GUEST
}
need_kvm() { [ -w /dev/kvm ] || skip "no /dev/kvm"; }
need_root() { [ "$(id -u)" = 0 ] || skip "not root"; }

# Like start_vm, but vmrun reads our stdin (--restore -).
start_vm_stdin() {
	local name=$1
	shift
	vmrun --name "$name" --serial "file:$W/$name.out" "$@" <&0 >"$W/$name.log" 2>&1 3>&- &
	VMPID=$!
	until_true 30 vm_answers "$name" "$VMPID"
}

# lock_bytes FILE: a program that knows nothing of vmferry has locked some of it, until
# unlock_bytes.
lock_bytes() {
	mkfifo "$W/lock.fifo"
	python3 -c 'import fcntl, sys
f = open(sys.argv[1], "r+b")
fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 100)
open(sys.argv[2], "w").close()
sys.stdin.read()' "$1" "$W/lock.held" <"$W/lock.fifo" 3>&- &
	LOCKER=$!
	PIDS+=("$LOCKER")
	exec {LOCK_FD}>"$W/lock.fifo"
	until_true 10 test -e "$W/lock.held"
}
unlock_bytes() {
	exec {LOCK_FD}>&-
	kill "$LOCKER" 2>/dev/null || :      # it ends by itself when its input does
	wait_gone 10 "$LOCKER"
	rm -f "$W/lock.fifo" "$W/lock.held"
}
