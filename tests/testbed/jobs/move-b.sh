# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# The other host, 10.0.0.2: takes the guest of move-a.sh, sees it count on, and sends it back.
. "$(dirname "$0")/lib.sh"

refuses() {
	rc=0
	limited 400 vmmigrate --listen 10.0.0.2:4649 --once --insecure \
		>"$W/refuse.log" 2>&1 || rc=$?
	cat "$W/refuse.log"
	[ $rc != 0 ] && ! limited 20 vmrun list | grep -qw wide
}
arrives() {
	rc=0
	limited 240 vmmigrate --listen 10.0.0.2:4649 --once --insecure -- \
		--serial "file:$W/web.out" >"$W/listen.log" 2>&1 || rc=$?
	cat "$W/listen.log"
	[ $rc = 0 ] && status_is web running
}
lives_on() { until_true 30 tick_above web 0 && counts_on web "$(last_tick web)"; }
returns() {
	send web 10.0.0.1 && until_true 10 not_running
}
not_running() { ! ctl web query-status >/dev/null 2>&1; }

# These two wait for what the other host does before: its boot, and its move.
claim there-refuses 420 refuses
claim there-arrives 260 arrives
claim there-counts 120 lives_on
claim there-returns 240 returns
counted web
