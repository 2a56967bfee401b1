# Listeners as processes of a host: their port, their descriptors, their children.
load ../lib/vm
load ../lib/move

setup() { move_setup; }
teardown() { vm_teardown; }

@test "vmmigrate --listen: a port that is just being given up, as by a listener that was killed, is waited for" {
	need_faults
	listen_b
	VMFERRY_FAULT=vmmigrate.listen.in-use=wait:$W/in-use exec_on b vmmigrate --listen "$BADDR" >"$W/again.log" 2>&1 </dev/null 3>&- &
	PIDS+=("$!")
	until_true 10 test -e "$W/in-use"
	kill -9 "$BL"
	wait "$BL" || true
	rm "$W/in-use"
	wait_line 10 "listening on $BADDR" "$W/again.log"
}
