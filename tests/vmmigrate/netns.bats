# SPDX-License-Identifier: MIT
# bats file_tags=slow,accel
# vmmigrate between two hosts as hosts are: network, mount and PID namespaces of their own, joined
# by a veth.
load ../lib/vm
load ../lib/move
load ../lib/netns

setup() {
	move_setup
	netns_setup
}
teardown() {
	netns_teardown
	vm_teardown
}

web_on_a() {
	exec_on a vmrun --name web --kernel "$STEP" --append "pages=1024 tick=1000 pace=20" \
		--memory 32M --serial "file:$W/both.out" \
		>"$W/web.log" 2>&1 </dev/null 3>&- &
	PIDS+=("$!")
	until_true 20 on_a vmrun ctl web query-status
	wait_line 20 'tick 3$' "$W/both.out"
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
}

@test "vmmigrate: twenty moves over a veth while the guest writes, exactly one step each time" {
	web_on_a
	listen a 10.71.0.1:4649 --insecure -- --serial "file:$W/both.out"
	listen b 10.71.0.2:4649 --insecure -- --serial "file:$W/both.out"
	for i in $(seq 10); do
		on_a vmmigrate --insecure web 10.71.0.2 2>"$W/move.err" || {
			echo "move $i there"
			cat "$W/move.err" "$W/b.log"
			return 1
		}
		on_b vmmigrate --insecure web 10.71.0.1 2>"$W/move.err" || {
			echo "move $i back"
			cat "$W/move.err" "$W/a.log"
			return 1
		}
	done
	n=$(last_tick "$W/both.out")
	until_true 20 tick_above "$W/both.out" $((n + 1))
	ticks_right
	on_a vmsnap --quiet web "$W/check.vms"
	stepcheck "$W/check.vms"
	records_are owned moved
	[ "$(jq .generation "$W/a/state/moves/$UUID.json")" = 20 ]
}

@test "vmmigrate: a link that goes dead in the rounds: exit 4, the VM runs on, the target forgets it" {
	web_on_a
	listen b 10.71.0.2:4649 --insecure -- --serial "file:$W/both.out"
	BADDR=10.71.0.2:4649
	move --insecure --bandwidth 1M
	wait_line 10 'incoming from' "$W/b.log"
	until_true 20 record_is a moving
	# Cut: a reset where the kernel can do that at once, else a link that is dead, which takes
	# its 30 s.
	ip netns exec "${NETNS}a" ss -K dport = :4649 >/dev/null 2>&1 ||
		ip -n "${NETNS}b" link set "${NETNS}b" down
	moved 4
	n=$(last_tick "$W/both.out")
	until_true 20 tick_above "$W/both.out" $((n + 1))
	ticks_right
	until_true 90 no_arrival
	records_are aborted -
}
no_arrival() { ! on_b vmrun ctl web query-status >/dev/null 2>&1; }

# settled_by_listener [move options]: vmmigrate dies after RELEASED; a listener of its host knows
# of that.
settled_by_listener() {
	need_faults
	web_on_a
	listen a 10.71.0.1:4649 --insecure
	listen b 10.71.0.2:4649 --insecure -- --serial "file:$W/both.out"
	BADDR=10.71.0.2
	VMFERRY_FAULT=vmmigrate.source.released=kill move --insecure "$@"
	wait "$MV" || true
	until_true 20 record_is b owned
	n=$(last_tick "$W/both.out")
	until_true 20 tick_above "$W/both.out" $((n + 1))
	ticks_right
	run -0 on_a vmmigrate --insecure resume web
	records_are moved owned
}

@test "vmmigrate: the source dies after RELEASED, its host answers at the default port, the target runs it" {
	settled_by_listener
}

@test "vmmigrate --answer: the source dies after RELEASED, and its port with it: its host answers at the default port" {
	settled_by_listener --answer :0
	[[ "$(jq -r .peer "$W/b/state/moves/$UUID.json")" != *:4649 ]]
}
