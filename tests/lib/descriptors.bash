# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# A process that has no descriptors left for those who connect to it. Its accept4 calls are in a
# trace: strace -f -ttt.

# no_descriptors PID: it can open nothing more, until `descriptors PID`.
no_descriptors() {
	local n=0
	while [ -e "/proc/$1/fd/$n" ]; do n=$((n + 1)); done
	prlimit --pid "$1" --nofile="$n:"
}
descriptors() { prlimit --pid "$1" --nofile=1024:; }

accepted_in_vain() { grep -c EMFILE "$1"; }
accepts_in_vain() { [ "$(accepted_in_vain "$2")" -ge "$1" ]; }

# accepts_rest TRACE: nobody has asked a socket again before a tenth of a second was over; less what
# a clock is read late.
accepts_rest() {
	awk '/EMFILE/ {
		if ($3 in last && $2 - last[$3] < 0.09) {
			print "again after " $2 - last[$3] " s"
			bad = 1
			exit
		}
		last[$3] = $2
	} END { exit bad }' "$1"
}
