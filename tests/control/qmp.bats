# SPDX-License-Identifier: MIT
# The control socket: docs/control.md 1 to 5 and 9.
load ../lib/vm
load ../lib/descriptors
load control

setup() {
	vm_setup
	CLIENT=$TOP/tests/control/client.py
}
teardown() { vm_teardown; }

# bats file_tags=accel

@test "control: a QMP client written from the document is answered as written" {
	start_step a "pages=64 pace=1000"
	"$CLIENT" session "$VMFERRY_RUNTIME_DIR/a.sock"
}

@test "control: events reach every client that has negotiated, before the answer they belong to" {
	start_step a "pages=64 pace=1000"
	"$CLIENT" events "$VMFERRY_RUNTIME_DIR/a.sock"
}

@test "control: socat is a client, and one that closes its sending side gets its answers" {
	start_step a "pages=64 pace=1000"
	"$CLIENT" half "$VMFERRY_RUNTIME_DIR/a.sock"
	command -v socat >/dev/null || skip "no socat"
	printf '{"execute":"qmp_capabilities"}\n{"execute":"query-status","id":5}\n' |
		socat -t 5 - "UNIX-CONNECT:$VMFERRY_RUNTIME_DIR/a.sock" >"$W/out"
	jq -e 'select(.id == 5) | .return.status == "running"' "$W/out"
}

@test "control: a request spoilt by a control character, and a bare word, are errors of their own" {
	start_step a "pages=64 pace=1000"
	"$CLIENT" spoilt "$VMFERRY_RUNTIME_DIR/a.sock"
}

@test "control: a request of 1 MiB or nested 65 deep is refused and its client dropped" {
	start_step a "pages=64 pace=1000"
	"$CLIENT" long "$VMFERRY_RUNTIME_DIR/a.sock"
	status_is a running
}

@test "control: a client that reads nothing is dropped, and nobody waits for it" {
	start_step a "pages=64 pace=1000"
	"$CLIENT" slow "$VMFERRY_RUNTIME_DIR/a.sock"
	moves_on a
}

@test "control: the 33rd client is turned away until one leaves" {
	start_step a "pages=64 pace=1000"
	"$CLIENT" many "$VMFERRY_RUNTIME_DIR/a.sock"
	until_true 20 status_is a running
}

@test "control: another user's connection is closed without a word" {
	need_root
	vmrun --name a --kernel "$STEP" --append "pages=64 pace=1000" --memory 64M --serial none \
		--control "$W/open.sock" 3>&- &
	PIDS+=("$!")
	until_true 20 vmrun ctl "$W/open.sock" query-status
	[ "$(stat -c %a "$W/open.sock")" = 600 ]
	chmod 755 "$W"
	chmod 666 "$W/open.sock"
	"$CLIENT" foreign "$W/open.sock"
	vmrun ctl "$W/open.sock" query-status
}

@test "control: the folder is made 0700, the socket 0600; a folder open to others, a link, a long path, a bad name are refused" {
	start_step a "pages=64 pace=1000"
	[ "$(stat -c %a "$VMFERRY_RUNTIME_DIR")" = 700 ]
	[ "$(stat -c %a "$VMFERRY_RUNTIME_DIR/a.sock")" = 600 ]
	mkdir -m 755 "$W/lax"
	VMFERRY_RUNTIME_DIR=$W/lax run -1 vmrun --name b --kernel "$STEP" --serial none
	[[ $output == *"chmod 700"* ]]
	ln -s "$VMFERRY_RUNTIME_DIR" "$W/link"
	VMFERRY_RUNTIME_DIR=$W/link run -1 vmrun --name b --kernel "$STEP" --serial none
	VMFERRY_RUNTIME_DIR=$W/$(printf 'x%.0s' {1..100}) run -2 vmrun --name b --kernel "$STEP" \
		--serial none
	run -2 vmrun --name ../b --kernel "$STEP" --serial none
	run -1 env -u VMFERRY_RUNTIME_DIR -u XDG_RUNTIME_DIR setpriv --reuid 65534 --clear-groups \
		"$(command -v vmrun)" list
	[[ $output == *VMFERRY_RUNTIME_DIR* ]]
}

@test "control: a live VM of the same name is refused with its pid, a dead one's socket is taken over" {
	start_step a "pages=64 pace=1000"
	first=$VMPID
	run -3 vmrun --name a --kernel "$STEP" --serial none
	echo "$output"
	[[ $output == *"a: already running (pid $first"* ]]
	kill -9 "$first"
	wait_gone 10 "$first"
	[ -S "$VMFERRY_RUNTIME_DIR/a.sock" ]
	[ "$(vmrun list --json | jq -r '.[0].status')" = stale ]
	run -4 vmrun ctl a query-status
	start_step a "pages=64 pace=1000"
	status_is a running
}

@test "control: a file that is no socket and a socket another program listens on are left alone" {
	mkdir -m 700 "$VMFERRY_RUNTIME_DIR"
	echo precious >"$VMFERRY_RUNTIME_DIR/a.sock"
	run -3 vmrun --name a --kernel "$STEP" --serial none
	[ "$(cat "$VMFERRY_RUNTIME_DIR/a.sock")" = precious ]
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(1)
print("up", flush=True)
s.accept()
sys.stdin.read()' \
		"$W/b.sock" >"$W/up" 3>&- &
	PIDS+=("$!")
	wait_line 10 up "$W/up"
	run -3 vmrun --name b --control "$W/b.sock" --kernel "$STEP" --serial none
	[[ $output == *"already in use by another program"* ]]
}

@test "control: without a descriptor for a client vmrun does not spin, and serves it when there is one" {
	strace -D -f -ttt -e trace=accept4 -o "$W/trace" vmrun --name a --kernel "$STEP" \
		--append "pages=64 tick=1000 pace=20" --memory 64M --serial "unix:$W/serial" \
		>"$W/a.log" 2>&1 </dev/null 3>&- &
	VMPID=$!
	PIDS+=("$VMPID")
	until_true 30 vm_answers a "$VMPID"
	no_descriptors "$VMPID"
	socat -u "UNIX-CONNECT:$VMFERRY_RUNTIME_DIR/a.sock" - >"$W/greeting" 2>&1 3>&- &
	PIDS+=("$!")
	until_true 20 accepts_in_vain 3 "$W/trace"
	descriptors "$VMPID"
	wait_line 10 QMP "$W/greeting"
	n=$(accepted_in_vain "$W/trace")
	no_descriptors "$VMPID"
	socat -u "UNIX-CONNECT:$W/serial" - >"$W/said" 2>&1 3>&- &
	PIDS+=("$!")
	until_true 20 accepts_in_vain $((n + 3)) "$W/trace"
	descriptors "$VMPID"
	wait_line 10 tick "$W/said"
	accepts_rest "$W/trace"
}

@test "control: after stop has returned nothing moves, with 1, 2 and 4 harts; cont goes on" {
	for n in 1 2 4; do
		start_step "s$n" "pages=1024 tick=1000000" --cpus "$n"
		moves_on "s$n"
		vmrun ctl "s$n" stop
		for i in 1 2 3; do
			vmrun ctl "s$n" inspect |
				jq -S '[.nodes[] | {path, state}] | del(.. | .realtime_ns?)' \
				>"$W/stop.$n.$i"
			lease_open "r$n$i" "s$n" log test
			lease "r$n$i" pause 10000
			mkdir -p "$W/ram.$n.$i"
			lease "r$n$i" take "$W/ram.$n.$i"
			lease_close "r$n$i"
		done
		cmp "$W/stop.$n.1" "$W/stop.$n.2"
		cmp "$W/stop.$n.1" "$W/stop.$n.3"
		cmp "$W/ram.$n.1/ram" "$W/ram.$n.3/ram"
		status_is "s$n" paused
		vmrun ctl "s$n" cont
		moves_on "s$n"
		vmrun ctl "s$n" quit
		rm -rf "$W"/ram.*
	done
}

@test "control: a wait that comes late is answered, even when the VM has gone; one for what never came says so" {
	start_step a "pages=64 pace=1000"
	run -4 vmrun ctl a wait RESET timeout=0.2
	vmrun ctl a system_reset
	vmrun ctl a wait RESET | jq -e '.data.reason == "host-qmp-system-reset"'
	vmrun ctl a stop
	vmrun ctl a wait STOP timeout=5
	run -4 vmrun ctl a wait RESUME timeout=0.2
	vmrun ctl a cont
	vmrun ctl a wait RESUME timeout=5
	vmrun ctl a wait GUEST_PANICKED >"$W/never" 2>&1 3>&- &
	waiter=$!
	vmrun ctl a wait SHUTDOWN >"$W/down" 3>&- &
	early=$!
	vmrun ctl a quit
	exits "$early" 0
	exits "$waiter" 6
	wait_gone 10 "$VMPID"
	vmrun ctl a wait SHUTDOWN | jq -e '.data.reason == "host-qmp-quit"'
	run -6 vmrun ctl a wait GUEST_PANICKED
	run -4 vmrun ctl b wait SHUTDOWN
}

@test "control: a guest's power-off and reboot are events with QEMU's words; vmrun's status is the suite's" {
	start_vm a --kernel "$STEP" --append "pages=64 pace=1000" --memory 64M \
		--serial "unix:$W/a.serial"
	python3 - "$W/a.serial" <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(30)
	s.connect(sys.argv[1])
	s.send(b'r')
	seen = b''
	while b'step guest' not in seen:
	    seen += s.recv(65536)
	s.send(b'q')
	END
	vmrun ctl a wait RESET timeout=20 |
		jq -e '.data == {"guest": true, "reason": "guest-reset"}'
	vmrun ctl a wait SHUTDOWN timeout=20 |
		jq -e '.data == {"guest": true, "reason": "guest-shutdown"}'
	exits "$VMPID" 0
}

@test "control: list shows who runs, ctl adds the prefix and sends JSON values" {
	run -0 vmrun list
	[ -z "$output" ]
	start_step a "pages=64 pace=1000"
	start_vm b --kernel "$STEP" --append pages=64 --memory 64M --paused
	vmrun list --json |
		jq -e 'length == 2 and .[0].name == "a" and .[0].status == "running" and
			.[1].status == "prelaunch" and .[1].holders == ["user"] and
			.[0].memory == 67108864'
	vmrun list | grep -E '^a +[0-9]+ +running +1 +64M +'"$ACCEL"' +[0-9a-f-]{36}$'
	vmrun ctl a moves | jq -e '. == {"record": null, "generation": 0, "stale": false}'
	vmrun ctl a inspect path=cpu@0 | jq -e '.nodes | length == 1'
	run -1 vmrun ctl a lease kind=7 holder=x
	[[ $output == *"expected: string"* ]]
	if [ "$MACHINE" = riscv64-1 ]; then     # tests/board/x86.bats has the other's
		run -1 vmrun ctl a system_powerdown
		[[ $output == *"poweroff"* ]]
	fi
	run -1 vmrun ctl a no-such-command
	run -2 vmrun ctl a stop x
	run -2 vmrun ctl a
	vmrun ctl a pulse
	status_is a running
}

@test "control: a VM that is released, unresolved or has a damaged record is not started" {
	id=6b347b17-37bd-4fc1-90c7-127aab469d89
	for state in released ready; do
		record "$VMFERRY_STATE_DIR" $id $state
		run -5 vmrun --name a --uuid $id --kernel "$STEP" --serial none
		echo "$output"
		[[ $output == *"11111111-1111-4111-8111-111111111111"*"resolve"* ]]
	done
	echo damaged >"$VMFERRY_STATE_DIR/moves/$id.json"
	run -5 vmrun --name a --uuid $id --kernel "$STEP" --serial none
	for state in returned moved; do
		record "$VMFERRY_STATE_DIR" $id $state 3
		run -5 vmrun --name a --uuid $id --kernel "$STEP" --serial none
		[[ $output == *"owned by peer host:4649"*"--uuid new"* ]]
	done
	for state in owned aborted retaken; do
		record "$VMFERRY_STATE_DIR" $id $state 3
		start_step a "pages=64 pace=1000" --uuid $id
		vmrun ctl a moves | jq -e '.generation == 3'
		vmrun ctl a quit
		wait_gone 10 "$VMPID"
		[ "$(record_state "$VMFERRY_STATE_DIR" $id)" = $state ]
	done
}
