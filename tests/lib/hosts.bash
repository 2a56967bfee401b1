# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# More than two hosts for move.bash, and what tests of ownership need.

on_c() { VMFERRY_RUNTIME_DIR=$W/c/run VMFERRY_STATE_DIR=$W/c/state "$@"; }

# state_on HOST: web's record there, judged by its live vmrun if there is one.
outcome_on() {
	jq -r --arg m "$2" '[{move, outcome: .state}] + .outcomes |
		map(select(.move == $m)) | last | .outcome' "$W/$1/state/moves/$UUID.json"
}

peer() { python3 "$TOP/tests/vmmigrate/peer.py" "$@"; }
port_of() { echo "${1##*:}"; }

# in_tty ANSWER COMMAND...: runs it at a terminal; when it asks, the command in $MEANWHILE runs
# first, then ANSWER is typed. Its output in $W/tty.out; its status is ours.
in_tty() {
	local answer=$1
	shift
	python3 "$TOP/tests/vmmigrate/at_terminal.py" "$W/tty.out" "$answer" "${MEANWHILE:-:}" "$@"
}

# How many of A, B and C run web now.
running_hosts() {
	local h n=0
	for h in a b c; do
		running=$("on_$h" vmrun ctl web query-status 2>/dev/null | jq -r .running)
		[ "$running" != true ] || n=$((n + 1))
	done
	echo "$n"
}
