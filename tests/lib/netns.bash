# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# shellcheck disable=SC2317  # on_a, on_b and exec_on replace those of move.bash; tests call them
# Two hosts as hosts are: network, mount and PID namespaces of their own, joined by a veth. Needs
# root. After netns_setup, on_a and on_b run a command in them; A is 10.71.0.1, B 10.71.0.2.
# netns_teardown removes all of it.

netns_setup() {
	need_root
	NETNS=vf$$
	if ! { netns_make a && netns_make b; }; then
		netns_teardown
		skip "no network namespaces here: $(tail -n 1 "$W/netns.err")"
	fi
	ip link add "${NETNS}a" type veth peer name "${NETNS}b" 2>>"$W/netns.err" || {
		netns_teardown
		skip "no network namespaces here, no veth: $(tail -n 1 "$W/netns.err")"
	}
	netns_join a 10.71.0.1 && netns_join b 10.71.0.2
	# The first process of a PID namespace must take in its orphans.
	netns_init a && netns_init b
	on_a() {
		nsenter -t "$NSA" -n -m -p -- env VMFERRY_RUNTIME_DIR="$W/a/run" \
			VMFERRY_STATE_DIR="$W/a/state" "$@"
	}
	on_b() {
		nsenter -t "$NSB" -n -m -p -- env VMFERRY_RUNTIME_DIR="$W/b/run" \
			VMFERRY_STATE_DIR="$W/b/state" "$@"
	}
	exec_on() {
		local ns=$NSA
		[ "$1" = a ] || ns=$NSB
		set -- "$W/$1" "${@:2}"
		exec nsenter -t "$ns" -n -m -p -- env VMFERRY_RUNTIME_DIR="$1/run" \
			VMFERRY_STATE_DIR="$1/state" "${@:2}"
	}
}

netns_make() {
	ip netns add "$NETNS$1" 2>>"$W/netns.err" && ip -n "$NETNS$1" link set lo up \
		2>>"$W/netns.err"
}
netns_join() {
	ip link set "$NETNS$1" netns "$NETNS$1" && ip -n "$NETNS$1" addr add "$2/24" dev \
		"$NETNS$1" && ip -n "$NETNS$1" link set "$NETNS$1" up
}

netns_init() {
	ip netns exec "$NETNS$1" unshare --mount --pid --fork --mount-proc --kill-child \
		bash -c "touch '$W/init.$1'; trap : TERM; while :; do sleep 1000000 & wait; done" \
		>/dev/null 2>&1 </dev/null 3>&- &
	local p=$!
	PIDS+=("$p")
	until_true 10 test -e "$W/init.$1"
	# `ip netns exec` becomes unshare, whose child is the first process in there.
	if [ "$1" = a ]; then NSA=$(pgrep -P "$p"); else NSB=$(pgrep -P "$p"); fi
}

netns_teardown() {
	[ -n "${NETNS:-}" ] || return 0
	ip netns del "${NETNS}a" 2>/dev/null
	ip netns del "${NETNS}b" 2>/dev/null
	ip link del "${NETNS}a" 2>/dev/null
	return 0
}
