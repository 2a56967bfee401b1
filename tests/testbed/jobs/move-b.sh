# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# The other host, 10.0.0.2: takes the guest of move-a.sh, sees it count on, and sends it back.
. "$(dirname "$0")/lib.sh"

refuses() {
	rc=0
	vmmigrate --listen 10.0.0.2:4649 --once --insecure >"$W/refuse.log" 2>&1 || rc=$?
	cat "$W/refuse.log"
	[ $rc != 0 ] && ! vmrun list | grep -qw wide
}
arrives() {
	vmmigrate --listen 10.0.0.2:4649 --once --insecure -- --serial "file:$W/web.out" >"$W/listen.log" 2>&1 || { cat "$W/listen.log"; return 1; }
	status_is web running
}
lives() { until_true 30 tick_above web 0 && counts_on web "$(last_tick web)"; }
returns() {
	send web 10.0.0.1 && until_true 10 not_running
}
not_running() { ! vmrun ctl web query-status >/dev/null 2>&1; }

claim there-refuses refuses
claim there-arrives arrives
claim there-counts lives
claim there-returns returns
counted web
