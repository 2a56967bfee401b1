# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# Two hosts, this is 10.0.0.1: boots a guest, moves it to 10.0.0.2 (move-b.sh), and gets it back.
. "$(dirname "$0")/lib.sh"

peer() { until_true 90 ping -c 1 -W 1 10.0.0.2; }
boots() { boot web tick; }
leaves() {
	tick=$(last_tick web)
	send web 10.0.0.2 && ends_with web 20
}
returns() {
	until_true 150 grep -q '"status": *"running"' "$W/back.state" || return 1
	counts_on back "$tick" && [ "$(cat "$W/listen.status")" = 0 ]
}

claim two-hosts peer
claim boot boots
claim move-there leaves
# --once: its status says whether the VM has come
(
	rc=0
	vmmigrate --listen 10.0.0.1:4649 --once --insecure -- --serial "file:$W/back.out" >"$W/listen.log" 2>&1 || rc=$?
	echo $rc >"$W/listen.status"
	vmrun ctl web query-status >"$W/back.state" 2>&1
) &
claim move-back returns
counted web
counted back
