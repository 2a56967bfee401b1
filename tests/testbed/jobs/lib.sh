# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC3043  # local: dash and busybox have it
# What the jobs share. A job runs on a KVM host, in a box (busybox sh) or on real hardware: $GUEST
# holds vmlinuz and root/, $W is a folder of its own. Each claim is a function run by `claim`; the
# first that fails ends the job: what follows builds on it.
: "${GUEST:?}" "${W:?}"
mkdir -p "$W"
export VMFERRY_RUNTIME_DIR="$W/run" VMFERRY_STATE_DIR="$W/state"

uptime_s() {
	local up
	read -r up _ </proc/uptime
	echo "${up%.*}"
}
# testbed.bats kills a box after 600 s, of which its boot takes some. A step that hangs must be
# named before that: no claim gets more time than what is left of this.
job_end=$(($(uptime_s) + 540))

# claim NAME SECONDS COMMAND...: says RESULT. The command runs in this shell, because later claims
# use what it found out; a watchdog ends the job when it takes longer than SECONDS.
claim() {
	local name=$1 seconds=$2 left began watchdog
	shift 2
	began=$(uptime_s)
	left=$((job_end - began))
	[ "$seconds" -le "$left" ] || seconds=$((left > 1 ? left : 1))
	watch "$name" "$seconds" &
	watchdog=$!
	if "$@" >"$W/step.log" 2>&1; then
		stop_watch "$watchdog"
		echo "RESULT $name ok"
		echo "took $name $(($(uptime_s) - began)) s"
		return 0
	fi
	stop_watch "$watchdog"
	failure "$name"
	exit 1
}

# watch NAME SECONDS: kills the job's shell, which is stuck in a step and can't be asked to end.
watch() {
	local sleeper
	trap 'kill $sleeper; exit 0' TERM
	sleep "$2" &
	sleeper=$!
	wait $sleeper
	echo "the step has not ended after $2 s" >>"$W/step.log"
	failure "$1"
	kill -KILL $$
}

# Its end must not be told on the console, where the results are.
stop_watch() {
	{
		kill "$1"
		wait "$1" || :
	} 2>/dev/null
}

# failure NAME: the result, the step's output, the VMs' logs and consoles, and what our programs do.
failure() {
	local f
	echo "RESULT $1 not ok: $(tail -n 3 "$W/step.log" | tr '\r\n' '  ')"
	for f in "$W"/*.log "$W"/*.err "$W"/*.out; do
		[ -s "$f" ] || continue
		echo "--- $f"
		tail -n 25 "$f"
	done
	for f in "$W"/*.in; do
		[ -p "$f" ] || continue
		f=${f##*/} f=${f%.in}
		echo "--- $f: $(cat "$W/$f.status" 2>/dev/null || echo running), query-status:"
		timeout -s KILL 5 vmrun ctl "$f" query-status 2>&1 || echo "vmrun ctl: exit $?"
	done
	for f in $(pidof vmrun vmsnap vmmigrate); do process "$f"; done
	echo "--- kernel"
	dmesg | tail -n 8
}

# process PID: its threads, and where in the kernel each of them waits
process() {
	local t
	echo "--- pid $1: $(tr '\0' ' ' <"/proc/$1/cmdline")"
	for t in "/proc/$1/task"/*; do
		echo "thread ${t##*/}: $(grep -E '^(Name|State):' "$t/status" | tr '\t\n' '  ')"
		cat "$t/syscall" "$t/stack"
	done 2>/dev/null
}

# limited SECONDS COMMAND...: what is still running after SECONDS is killed, and named.
limited() {
	local seconds=$1 rc=0
	shift
	timeout -s KILL "$seconds" "$@" || rc=$?
	[ $rc != 137 ] || echo "killed after $seconds s: $*" >&2
	return $rc
}
ctl() { limited 20 vmrun ctl "$@"; }
ctl_pulse() { limited 60 vmrun ctl "$1" pulse; }
snap() { limited 90 vmsnap "$@"; }

# until_true SECONDS COMMAND...: the command itself must end in time (ctl, not vmrun ctl).
until_true() {
	local limit=$1 began
	began=$(uptime_s)
	shift
	until "$@"; do
		if [ $(($(uptime_s) - began)) -ge "$limit" ]; then
			echo "waited $limit s in vain for: $*"
			return 1
		fi
		sleep 0.1
	done
}
line() { grep -aqE -- "$2" "$1" 2>/dev/null; }     # line FILE PATTERN
wait_line() { until_true "$1" line "$2" "$3"; }    # wait_line SECONDS FILE PATTERN

# start NAME [vmrun options]: in the background; its serial line is $W/NAME.in (a FIFO) and
# $W/NAME.out, its status is in $W/NAME.status when it has ended.
start() {
	vm=$1
	shift
	rm -f "$W/$vm".*
	mkfifo "$W/$vm.in"
	(
		rc=0
		vmrun --name "$vm" --serial stdio "$@" \
			<>"$W/$vm.in" >"$W/$vm.out" 2>"$W/$vm.log" || rc=$?
		echo $rc >"$W/$vm.status"
	) &
	until_true 60 answers "$vm" && lives "$vm"
}
answers() {
	[ -e "$W/$1.status" ] && return
	ctl "$1" query-status >"$W/$1.answer" 2>/dev/null && ! grep -q restore-vm "$W/$1.answer"
}
lives() {
	[ -e "$W/$1.status" ] || return 0
	echo "$1 ended with $(cat "$W/$1.status"): $(tail -n 2 "$W/$1.log")"
	return 1
}

# boot NAME WHAT [vmrun options]: the stock kernel, with 128 MiB unless an option says more; WHAT is
# for guests/linux-init. $GUEST_CPU: its CPU.
boot() {
	vm=$1 what=$2
	shift 2
	start "$vm" --kernel "$GUEST/vmlinuz" --initrd "$GUEST/root" --memory 128M \
		--cpu "${GUEST_CPU:-host}" \
		--append "console=ttyS0 quiet vmferry=$what ${GUEST_APPEND:-}" "$@" || return 1
	until_true "${BOOT_LIMIT:-150}" booted "$vm" && lives "$vm"
}
booted() { line "$W/$1.out" 'guest ready' || [ -e "$W/$1.status" ]; }

# types NAME TEXT: a line into the guest's serial port. Opening the FIFO blocks for ever when vmrun,
# its only reader, has ended.
types() {
	# shellcheck disable=SC2016  # the inner shell expands them
	lives "$1" && limited 10 sh -c 'echo "$1" >"$2"' sh "$2" "$W/$1.in"
}
# says NAME COMMAND PATTERN [SECONDS]: types COMMAND into the guest's shell and waits for PATTERN in
# what comes after.
says() {
	local had
	had=$(wc -c <"$W/$1.out")
	types "$1" "$2" && until_true "${4:-60}" said "$W/$1.out" "$had" "$3"
}
said() { tail -c "+$(($2 + 1))" "$1" | grep -aqE -- "$3"; }
status_is() { ctl "$1" query-status 2>/dev/null | grep -q "\"status\": *\"$2\""; }

ends_with() {     # ends_with NAME STATUS [SECONDS]
	until_true "${3:-60}" test -s "$W/$1.status" || return 1
	[ "$(cat "$W/$1.status")" = "$2" ] && return
	echo "$1 ended with $(cat "$W/$1.status"), not $2: $(tail -n 2 "$W/$1.log")"
	return 1
}
quit() {
	ctl "$1" quit
	ends_with "$1" 0
}

# ticks NAME: the counter's numbers, whole lines or not: what the shell says comes in between
ticks() { grep -aoE 'tick [0-9]+ up [0-9.]+' "$W/$1.out" | cut -d ' ' -f 2; }
last_tick() { ticks "$1" | awk '{ n = $1 } END { print n + 0 }'; }
tick_above() { [ "$(last_tick "$1")" -gt "$2" ]; }
no_bad() { ! grep -aE 'BAD|panic|Oops|BUG:|stall|lockup|clocksource.*unstable' "$W/$1.out"; }
# counts_on NAME TICK: its counter passes TICK and continues; it never goes back, and nothing is
# wrong.
counts_on() {
	until_true 60 tick_above "$1" "$(($2 + 3))" && no_bad "$1" &&
		ticks "$1" | awk 'n && $1 <= n { print "tick " $1 " after " n; bad = 1 }
			{ n = $1 } END { exit bad }'
}
# continues FROM TO: TO's counter begins where FROM's ended; a line may be cut in two between them
continues() {
	from=$(last_tick "$1")
	to=$(ticks "$2" | head -n 1)
	if [ "$to" -le "$from" ] || [ "$to" -gt "$((from + 2))" ]; then
		echo "$1 counted to $from, $2 begins with $to"
		return 1
	fi
}

# counted NAME: what part of the counter was seen here, for whoever looks at both hosts
counted() { echo "COUNTED $1 $(ticks "$1" | head -n 1) $(last_tick "$1")"; }

# send VM HOST: moves it, as soon as somebody listens there
send() {
	until_true 90 sent "$1" "$2" && [ "$sent" = 0 ]
}
sent() {
	sent=0
	limited 120 vmmigrate --insecure --progress none "$1" "$2" 2>"$W/move.err" || sent=$?
	[ $sent != 0 ] || return 0
	cat "$W/move.err"
	! grep -q 'Connection refused' "$W/move.err"
}
