# SPDX-License-Identifier: MIT
# vmmigrate: a VM that runs goes to another host and goes on there as if nothing had been.
load ../lib/vm
load ../lib/move

# bats file_tags=accel

setup() { move_setup; }
teardown() { vm_teardown; }

# bats test_tags=quick-kvm
@test "vmmigrate: a VM that writes all the time goes on at the target, exactly one step each time" {
	start_web
	listen_b --once
	move --progress json
	moved 0
	wait "$BL"
	wait "$AVM" || [ $? = 20 ]
	runs_on b
	ticks_on
	ticks_right
	check_on b
	records_are moved owned
	[ "$(jq .generation "$W/b/state/moves/$UUID.json")" = 1 ]
	jq -es 'map(select(.event == "moved"))[0] | .alive and .downtime_ms > 0 and .rounds >= 1 and
		.resent == 0' "$W/move.err"
}

@test "vmmigrate: twenty moves in a row, to and fro, while the guest writes" {
	start_web
	listen a 127.0.0.1:0 -- --serial "file:$W/both.out"
	local to_a=${LADDR:?}
	listen_b
	for i in $(seq 10); do
		on_a vmmigrate web "$BADDR" --audit 2>"$W/move.err" || {
			echo "move $i there"
			cat "$W/move.err" "$W/b.log"
			return 1
		}
		on_b vmmigrate web "$to_a" --compress 2>"$W/move.err" || {
			echo "move $i back"
			cat "$W/move.err" "$W/a.log"
			return 1
		}
	done
	ticks_on
	ticks_right
	check_on a
	records_are owned moved
	[ "$(jq .generation "$W/a/state/moves/$UUID.json")" = 20 ]
}

@test "vmmigrate: four harts that write all the time, to and fro" {
	start_vm web --kernel "$STEP" --append "pages=1024 tick=1000" --memory 32M --cpus 4 \
		--serial "file:$W/both.out"
	wait_line 20 'tick 3$' "$W/both.out"
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
	listen a 127.0.0.1:0 -- --serial "file:$W/both.out"
	to_a=${LADDR:?}
	listen_b
	for i in 1 2 3; do
		on_a vmmigrate web "$BADDR" --compress=auto 2>"$W/move.err" || {
			echo "move $i there"
			cat "$W/move.err" "$W/b.log"
			return 1
		}
		on_b vmmigrate web "$to_a" 2>"$W/move.err" || {
			echo "move $i back"
			cat "$W/move.err" "$W/a.log"
			return 1
		}
	done
	ticks_on
	ticks_right
	check_on a
}

@test "vmmigrate --audit: both memories are the same at the pause" {
	start_web
	listen_b --once
	move --audit --progress json
	moved 0
	jq -es 'map(select(.event == "moved"))[0].audited' "$W/move.err"
}

@test "vmmigrate: a page chunk damaged on the way is asked for again, and all pages arrive" {
	need_faults
	start_web
	listen_b --once
	VMFERRY_FAULT=vmmigrate.source.damage=hit move --audit --progress json
	moved 0
	jq -es 'map(select(.event == "moved"))[0] | .resent == 1 and .audited' "$W/move.err"
	check_on b
}

@test "vmmigrate: a VM that its user has stopped arrives stopped, and goes on with cont" {
	start_web
	listen_b
	on_a vmrun ctl web stop
	n=$(last_tick "$W/both.out")
	move
	moved 0
	stands_on b
	[ "$(last_tick "$W/both.out")" = "$n" ]
	on_b vmrun ctl web cont
	ticks_on
	ticks_right
}

@test "vmmigrate --pause-deadline: vmrun resumes a VM whose target does not answer in time, exit 4, nothing is left" {
	need_faults
	start_web
	VMFERRY_FAULT=vmmigrate.target.loaded=wait:$W/at listen_b
	move --pause-deadline 500ms
	until_true 10 test -e "$W/at"
	until_true 10 runs_on a
	moved 4
	rm -f "$W/at"
	until_true 10 no_vm b
	records_are aborted -
	ticks_on
	ticks_right
}

@test "vmmigrate: a target that stops reading in the rounds does not hold the guest up" {
	start_web
	listen_b
	move --bandwidth 1M
	wait_line 10 'incoming from' "$W/b.log"
	until_true 10 vm_pid b
	kill -STOP "$(children "$BL")"
	ticks_on
	runs_on a
	kill -TERM "$MV"
	moved 143
	kill -CONT "$(children "$BL")"
	until_true 10 no_vm b
	ticks_right
}

@test "vmmigrate: an unreachable host, exit 4, the VM runs on" {
	start_web
	run -4 on_a vmmigrate web 127.0.0.1:1
	[[ "$output" = "vmmigrate: 127.0.0.1:1: cannot connect: Connection refused" ]]
	runs_on a
	ticks_on
}

@test "vmmigrate: no such VM, exit 4" {
	run -4 on_a vmmigrate nobody 127.0.0.1:1
}

@test "vmmigrate: a target that has a VM of that name refuses in words, exit 4, the VM runs on" {
	start_web
	exec_on b vmrun --name web --kernel "$STEP" --memory 32M --serial none \
		--paused >"$W/other.log" 2>&1 </dev/null 3>&- &
	PIDS+=("$!")
	until_true 10 on_b vmrun ctl web query-status
	listen_b
	move
	moved 4
	grep -q 'refused web: .*already running' "$W/move.err"
	ticks_on
	ticks_right
	records_are - -
}

@test "vmmigrate: a target that can't reach a disk refuses by its name, exit 4, the VM runs on" {
	truncate -s 1M "$W/disk"
	start_vm web --kernel "$STEP" --append "pages=256 tick=100" --memory 32M \
		--serial "file:$W/both.out" --disk "root=$W/disk"
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
	listen_b
	move
	moved 4
	grep -q 'refused web: .*root' "$W/move.err"
	runs_on a
	records_are - -
}

@test "vmmigrate: a disk is locked by whoever runs the VM" {
	truncate -s 1M "$W/disk"
	start_vm web --kernel "$STEP" --append "pages=256 tick=100" --memory 32M \
		--serial "file:$W/both.out" --disk "root=$W/disk"
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
	listen b 127.0.0.1:0 -- --serial "file:$W/both.out" --disk "root=$W/disk"
	BADDR=$LADDR
	move
	moved 0
	runs_on b
	run vmrun --name other --kernel "$STEP" --serial none --disk "root=$W/disk"
	[ "$status" -ne 0 ]
	[[ "$output" = "vmrun: disk root: already in use by another VM" ]]
}

@test "vmmigrate: plain text to another host needs --insecure, on both sides" {
	start_web
	run -2 vmmigrate web 192.0.2.1
	[[ "$output" = *--insecure* ]]
	run -2 vmmigrate --listen 0.0.0.0:0
	[[ "$output" = *--insecure* ]]
	listen a :0
	[[ "$LADDR" = 127.0.0.1:* || "$LADDR" = "[::1]:"* ]]
}

@test "vmmigrate: SIGINT during the rounds ends it with 130, the VM runs on, the target forgets it" {
	start_web
	listen_b
	move --bandwidth 1M
	wait_line 10 'incoming from' "$W/b.log"
	until_true 10 vm_pid b
	kill -INT "$MV"
	moved 130
	runs_on a
	ticks_on
	ticks_right
	until_true 10 no_vm b
	records_are aborted -
}

@test "vmmigrate --max-rounds: a guest that writes faster than the way is moves all the same, and the report says so" {
	start_web
	listen_b --once
	# 4 MiB take a quarter of a second: no machine is so busy that the guest has written
	# nothing then
	move --max-rounds 2 --max-downtime 1us --bandwidth 16M --progress json
	moved 0
	jq -es 'map(select(.event == "moved"))[0] | .rounds == 2 and (.converged | not)' \
		"$W/move.err"
	ticks_right
	check_on b
}

@test "vmmigrate --max-rounds 0: all is sent during the pause; --quiet says nothing of a move that succeeds" {
	start_web
	listen_b --once
	move --max-rounds 0 --quiet --progress line
	moved 0
	[ ! -s "$W/move.err" ] && [ ! -s "$W/move.out" ]
	runs_on b
	ticks_on
	ticks_right
	check_on b
	records_are moved owned
}

@test "vmmigrate --listen: garbage, silence and questions from peers do not stop it" {
	start_web
	listen_b
	port=${BADDR##*:}
	for i in 1 2 3; do
		head -c 4096 /dev/urandom | timeout 5 socat - "TCP:127.0.0.1:$port" >/dev/null ||
			true
	done
	printf 'GET / HTTP/1.0\r\n\r\n' | timeout 5 socat - "TCP:127.0.0.1:$port" >/dev/null || true
	printf '\x89VMM\r\n\x1a\n\1\0\1\0\0\0\0\0%s' \
		'garbage behind a good preamble, long enough to be a header' |
		timeout 5 socat - "TCP:127.0.0.1:$port" >/dev/null || true
	exec 8<>"/dev/tcp/127.0.0.1/$port"      # says nothing
	move
	moved 0
	exec 8>&-
	runs_on b
	ticks_right
}

@test "vmmigrate --spawn: a service manager's command starts vmrun" {
	start_web
	cat >"$W/spawn" <<-END
		#!/bin/sh
		echo "\$@" >"$W/spawned"
		exec 7<&0      # a shell gives background commands no standard input
		setsid "\$@" <&7 7<&- &
	END
	chmod +x "$W/spawn"
	listen_b --spawn "$W/spawn"
	move
	moved 0
	grep -qE 'vmrun --incoming - --token [0-9]+\.[0-9]+\.[0-9a-f-]+ --serial' "$W/spawned"
	runs_on b
	ticks_on
	ticks_right
}

@test "vmmigrate --answer: answers while the move lasts" {
	start_web
	listen_b --once
	move --answer 127.0.0.1:0
	moved 0
	[[ "$(jq -r .peer "$W/b/state/moves/$UUID.json")" = 127.0.0.1:* ]]
	[ "$(jq -r .peer "$W/b/state/moves/$UUID.json")" != 127.0.0.1:4649 ]
}

@test "vmmigrate status: no records, and what an owned VM is" {
	run -0 on_a vmmigrate status
	[[ "$output" = "no records"* ]]
	start_web
	run -0 on_a vmmigrate status web
	[[ "$output" = "web: no record"* ]]
	listen_b --once
	move
	moved 0
	run -0 on_b vmmigrate status web
	[[ "$output" = "web: owned"*"Running here."* ]]
	run -0 on_b vmmigrate status "$UUID"
	run -0 on_a vmmigrate status web
	[[ "$output" = "web: moved"*"Moved to $BADDR."* ]]
}

both_families() {
	local port
	port=$(port_in "$1")
	grep -q "listening on 127.0.0.1:$port " "$1" && grep -q "listening on \[::1\]:$port " "$1"
	python3 -c 'import socket, sys
for host in ("127.0.0.1", "::1"):
	socket.create_connection((host, int(sys.argv[1])), 5)' "$port"
}

@test "vmmigrate: --listen :0 serves IPv4 and IPv6 at one port" {
	listen a :0
	until_true 10 grep -q 'listening on \[' "$W/a.log"
	both_families "$W/a.log"
}

@test "vmmigrate: --listen :0 finds a port that is free for both, a port that one has taken is refused" {
	need_root
	cat >"$W/net" <<-'END'
	ip link set lo up
	sysctl -qw net.ipv4.ip_local_port_range='40000 40003'
	python3 -c '
	import socket, signal
	taken = [socket.create_server(("::1", p), family=socket.AF_INET6)
		 for p in (40000, 40001, 40002)]
	print("taken", flush=True)
	signal.pause()' >taken &
	holder=$!
	until grep -qs taken taken; do sleep 0.02; done
	vmmigrate --listen :40001 2>refused && exit 1
	for i in 1 2 3 4 5; do
		vmmigrate --listen :0 2>log.$i & pid=$!
		until [ "$(grep -c 'listening on' log.$i)" = 2 ] || ! kill -0 $pid 2>/dev/null; do
			sleep 0.02
		done
		kill $pid
		wait $pid || exit 1
		cat log.$i
	done
	kill $holder
	END
	cd "$W"
	run -0 unshare -n bash ./net
	grep -qx 'vmmigrate: :40001: cannot listen: Address already in use' refused
	[ "$(grep -c 'listening on 127.0.0.1:40003' <<<"$output")" = 5 ]
	[ "$(grep -c 'listening on \[::1\]:40003' <<<"$output")" = 5 ]
}
