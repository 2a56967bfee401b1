# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# One host, two runtime folders: a running guest moves from one to the other and back.
. "$(dirname "$0")/lib.sh"

here() { export VMFERRY_RUNTIME_DIR="$W/run" VMFERRY_STATE_DIR="$W/state"; }
there() { export VMFERRY_RUNTIME_DIR="$W/run2" VMFERRY_STATE_DIR="$W/state2"; }
boots() { boot web tick; }
# listen OUT: one move, its serial line to $W/OUT.out
listen() {
	rm -f "$W/listen.log"
	limited 180 vmmigrate --listen 127.0.0.1:0 --once -- \
		--serial "file:$W/$1.out" >"$W/listen.log" 2>&1 &
	wait_line 10 "$W/listen.log" 'listening on'
	port=$(sed -nE 's/.*listening on [^ ]*:([0-9]+).*/\1/p' "$W/listen.log" | head -n 1)
}
goes() {
	tick=$(last_tick web)
	there && listen there && here
	limited 120 vmmigrate --progress none web "127.0.0.1:$port" && wait $! || return 1
	ends_with web 20 && counts_on there "$tick" && continues web there
}
comes_back() {
	tick=$(last_tick there)
	here && listen back && there
	limited 120 vmmigrate --progress none web "127.0.0.1:$port" && wait $! || return 1
	counts_on back "$tick" && continues there back && here && status_is web running
}

claim boot 240 boots
claim move-there 300 goes
claim move-back 300 comes_back
ctl web quit >/dev/null
