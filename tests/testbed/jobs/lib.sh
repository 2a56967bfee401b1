# shellcheck shell=dash
# What the jobs share. A job runs on a KVM host, in a box (busybox sh) or on real hardware: $GUEST holds vmlinuz and root/, $W is a
# folder of its own. Each claim is a function run by `claim`; the first that fails ends the job: what follows builds on it.
: "${GUEST:?}" "${W:?}"
mkdir -p "$W"
export VMFERRY_RUNTIME_DIR="$W/run" VMFERRY_STATE_DIR="$W/state"

# claim NAME COMMAND...: says RESULT, with the last words of the step and of its VM when it fails.
claim() {
	name=$1
	shift
	read -r began _ </proc/uptime
	if "$@" >"$W/step.log" 2>&1; then
		read -r ended _ </proc/uptime
		echo "RESULT $name ok"
		echo "took $name $((${ended%.*} - ${began%.*})) s"
		return 0
	fi
	echo "RESULT $name not ok: $(tail -n 3 "$W/step.log" | tr '\r\n' '  ')"
	for f in "$W"/*.log "$W"/*.err "$W"/*.out; do
		[ -s "$f" ] || continue
		echo "--- $f"
		tail -n 25 "$f"
	done
	dmesg | tail -n 5
	exit 1
}

# until_true SECONDS COMMAND...
until_true() {
	limit=$1 began_at=$(date +%s)
	shift
	until "$@"; do
		[ $(($(date +%s) - began_at)) -lt "$limit" ] || { echo "waited $limit s in vain for: $*"; return 1; }
		sleep 0.1
	done
}
line() { grep -aqE -- "$2" "$1" 2>/dev/null; }     # line FILE PATTERN
wait_line() { until_true "$1" line "$2" "$3"; }    # wait_line SECONDS FILE PATTERN

# start NAME [vmrun options]: in the background; its serial line is $W/NAME.in (a FIFO) and $W/NAME.out; its pid in $pid, its
# status in $W/NAME.status when it has ended.
start() {
	vm=$1
	shift
	rm -f "$W/$vm".*
	mkfifo "$W/$vm.in"
	(
		rc=0
		vmrun --name "$vm" --serial stdio "$@" <>"$W/$vm.in" >"$W/$vm.out" 2>"$W/$vm.log" || rc=$?
		echo $rc >"$W/$vm.status"
	) &
	until_true 30 answers "$vm"
}
answers() {
	[ -e "$W/$1.status" ] && return
	vmrun ctl "$1" query-status >"$W/$1.answer" 2>/dev/null && ! grep -q restore-vm "$W/$1.answer"
}

# boot NAME WHAT [vmrun options]: the stock kernel, with 128 MiB unless an option says more; WHAT is for guests/linux-init. $GUEST_CPU: its CPU.
boot() {
	vm=$1 what=$2
	shift 2
	start "$vm" --kernel "$GUEST/vmlinuz" --initrd "$GUEST/root" --memory 128M --cpu "${GUEST_CPU:-host}" \
		--append "console=ttyS0 quiet vmferry=$what ${GUEST_APPEND:-}" "$@"
	until_true "${BOOT_LIMIT:-150}" booted "$vm" && [ ! -e "$W/$vm.status" ]
}
booted() { line "$W/$1.out" 'guest ready' || [ -e "$W/$1.status" ]; }

# says NAME COMMAND PATTERN [SECONDS]: types COMMAND into the guest's shell and waits for PATTERN in what comes after.
says() {
	had=$(wc -c <"$W/$1.out")
	echo "$2" >"$W/$1.in"
	until_true "${4:-30}" said "$W/$1.out" "$had" "$3"
}
said() { tail -c "+$(($2 + 1))" "$1" | grep -aqE -- "$3"; }
status_is() { vmrun ctl "$1" query-status 2>/dev/null | grep -q "\"status\": *\"$2\""; }

ends_with() {     # ends_with NAME STATUS [SECONDS]
	until_true "${3:-60}" test -s "$W/$1.status"
	[ "$(cat "$W/$1.status")" = "$2" ] || { echo "$1 ended with $(cat "$W/$1.status"), not $2: $(tail -n 2 "$W/$1.log")"; return 1; }
}
quit() { vmrun ctl "$1" quit; ends_with "$1" 0; }

# ticks NAME: the counter's numbers, whole lines or not: what the shell says comes in between
ticks() { grep -aoE 'tick [0-9]+ up [0-9.]+' "$W/$1.out" | cut -d ' ' -f 2; }
last_tick() { ticks "$1" | awk '{ n = $1 } END { print n + 0 }'; }
tick_above() { [ "$(last_tick "$1")" -gt "$2" ]; }
no_bad() { ! grep -aE 'BAD|panic|Oops|BUG:|stall|lockup|clocksource.*unstable' "$W/$1.out"; }
# counts_on NAME TICK: its counter passes TICK and goes on; it never goes back, and nothing is wrong
counts_on() {
	until_true 60 tick_above "$1" "$(($2 + 3))" && no_bad "$1" &&
		ticks "$1" | awk 'n && $1 <= n { print "tick " $1 " after " n; bad = 1 } { n = $1 } END { exit bad }'
}
# goes_on FROM TO: TO's counter begins where FROM's ended; a line may be cut in two between them
goes_on() {
	from=$(last_tick "$1")
	to=$(ticks "$2" | head -n 1)
	if [ "$to" -le "$from" ] || [ "$to" -gt "$((from + 2))" ]; then
		echo "$1 counted to $from, $2 begins with $to"
		return 1
	fi
}

# counted NAME: says what part of the counter was seen here, for whoever looks at both hosts
counted() { echo "COUNTED $1 $(ticks "$1" | head -n 1) $(last_tick "$1")"; }

# send VM HOST: moves it, as soon as somebody listens there
send() {
	until_true 90 sent "$1" "$2" && [ "$sent" = 0 ]
}
sent() {
	sent=0
	vmmigrate --insecure --progress none "$1" "$2" 2>"$W/move.err" || sent=$?
	[ $sent != 0 ] || return 0
	cat "$W/move.err"
	! grep -q 'Connection refused' "$W/move.err"
}
