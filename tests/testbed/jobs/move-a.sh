# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC1091,SC2154,SC2016,SC2317  # the guest expands what is typed
# Two hosts, this is 10.0.0.1: boots a guest, moves it to 10.0.0.2 (move-b.sh), and gets it back.
. "$(dirname "$0")/lib.sh"

peer() { until_true 90 ping -c 1 -W 1 10.0.0.2; }
# A level that both hosts have; the other one lacks AVX2 (testbed.bats).
boots() { boot web tick --cpu x86-64-v2; }
refused() {
	start wide --kernel "$GUEST/vmlinuz" --memory 64M --paused --cpu x86-64-v3 || return 1
	! send wide 10.0.0.2 || return 1
	cat "$W/move.err"
	[ "$sent" = 4 ] && line "$W/move.err" 'CPUID 7.*EBX bit 5 \(avx2\)' || return 1
	status_is wide prelaunch && quit wide
}
leaves() {
	tick=$(last_tick web)
	send web 10.0.0.2 && ends_with web 20
}
returns() {
	until_true 150 grep -q '"status": *"running"' "$W/back.state" || return 1
	counts_on back "$tick" && [ "$(cat "$W/listen.status")" = 0 ]
}

claim two-hosts 100 peer
claim boot 240 boots
claim model-refused 240 refused
claim move-there 240 leaves
# --once: its status says whether the VM has come
(
	rc=0
	limited 400 vmmigrate --listen 10.0.0.1:4649 --once --insecure -- \
		--serial "file:$W/back.out" >"$W/listen.log" 2>&1 || rc=$?
	echo $rc >"$W/listen.status"
	ctl web query-status >"$W/back.state" 2>&1
) &
claim move-back 300 returns
counted web
counted back
