# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# For tests of the control socket and the lease: a lease driven verb by verb, a second host,
# records made by hand.

# lease_open TAG VM KIND HOLDER: leasectl in the background; its input is fd ${LEASE[TAG]}, its
# answers $W/TAG.lease.
declare -gA LEASE LEASE_PID LEASE_AT
lease_open() {
	mkfifo "$W/$1.fifo"
	leasectl "$2" "$3" "$4" <"$W/$1.fifo" >"$W/$1.lease" 2>&1 3>&- &
	LEASE_PID[$1]=$!
	PIDS+=("$!")
	exec {fd}>"$W/$1.fifo"
	LEASE[$1]=$fd
	LEASE_AT[$1]=0
	lease_answer "$1"
}

# lease TAG VERB...: does it, leaves the answer in $output; fails when it was not done.
lease() {
	local tag=$1
	shift
	echo "$*" >&"${LEASE[$tag]}"
	lease_answer "$tag"
}
lease_more() { [ "$(wc -l <"$W/$1.lease")" -gt "${LEASE_AT[$1]}" ]; }
lease_answer() {
	until_true 70 lease_more "$1"
	LEASE_AT[$1]=$((LEASE_AT[$1] + 1))
	output=$(sed -n "${LEASE_AT[$1]}p" "$W/$1.lease")
	echo "$1: $output"
	case $output in "ok "*) return 0 ;; *) return 1 ;; esac
}
lease_refused() {      # TAG PATTERN VERB...
	local tag=$1 pattern=$2
	shift 2
	if lease "$tag" "$@"; then return 1; fi
	[[ $output =~ $pattern ]]
}
# Others that were started meanwhile have the fifo open too: it is told to end.
lease_close() { echo end >&"${LEASE[$1]}"; lease_forget "$1"; }
lease_kill() { kill -9 "${LEASE_PID[$1]}"; lease_forget "$1"; }
lease_forget() {
	eval "exec ${LEASE[$1]}>&-"
	wait_gone 10 "${LEASE_PID[$1]}"
	rm -f "$W/$1.fifo"
}

# ctl_refused PATTERN VM COMMAND...
ctl_refused() {
	local pattern=$1
	shift
	run -1 vmrun ctl "$@"
	echo "$output"
	[[ $output =~ $pattern ]]
}

# on HOST COMMAND...: with that host's runtime and state folders.
on() {
	local host=$1
	shift
	VMFERRY_RUNTIME_DIR=$W/$host/run VMFERRY_STATE_DIR=$W/$host/state "$@"
}

uuid_of() { vmrun ctl "$1" query-uuid | jq -r .UUID; }
# steps VM: a number that grows while the one-step guest runs: instructions retired by all harts;
# KVM does not tell that, but the guest looks for keys again and again.
steps() {
	vmrun ctl "$1" inspect |
		jq '[.nodes[].counters | .instructions // ."port-exits" // 0] | add'
}
moves_on() { local n; n=$(steps "$1"); until_true 20 steps_above "$1" "$n"; }
steps_above() { [ "$(steps "$1")" -gt "$2" ]; }

# record FOLDER UUID STATE [GENERATION [MOVE]]
record() {
	local format='{"vm":"%s","move":"%s","state":"%s","generation":%s,"name":"a",'
	format+='"peer":"host:4649","when_ns":1,"outcomes":[]}\n'
	(umask 077; mkdir -p "$1/moves")
	# shellcheck disable=SC2059
	(umask 077; printf "$format" "$2" "${5:-11111111-1111-4111-8111-111111111111}" "$3" \
		"${4:-0}" >"$1/moves/$2.json")
}
record_state() { jq -r .state "$1/moves/$2.json"; }
# exits PID STATUS: not in a subshell, whose children they are not.
exits() {
	local rc=0
	wait "$1" || rc=$?
	echo "$1 exited with $rc"
	[ "$rc" = "$2" ]
}

# vmrun has seen that nobody holds a lease of VM any more.
unleased() { vmrun ctl "$1" query-status | jq -e '."vmferry-lease" == null' >/dev/null; }
