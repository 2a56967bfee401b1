# Listeners as processes of a host: their port, their descriptors, their children.
load ../lib/vm
load ../lib/move
load ../lib/hosts
load ../lib/descriptors

setup() { move_setup; }
teardown() { vm_teardown; }

NOBODY=11111111-1111-4111-8111-111111111111
# listens_at PID: the port.
listens_at() { ss -ltnp | grep "pid=$1," | grep -oE '127.0.0.1:[0-9]+' | head -n 1 | cut -d: -f2; }

@test "vmmigrate --listen: a port that is just being given up, as by a listener that was killed, is waited for" {
	need_faults
	listen_b
	VMFERRY_FAULT=vmmigrate.listen.in-use=wait:$W/in-use exec_on b \
		vmmigrate --listen "$BADDR" >"$W/again.log" 2>&1 </dev/null 3>&- &
	PIDS+=("$!")
	until_true 10 test -e "$W/in-use"
	kill -9 "$BL"
	wait "$BL" || true
	rm "$W/in-use"
	wait_line 10 "listening on $BADDR" "$W/again.log"
}

@test "vmmigrate --listen: without a descriptor for a peer it does not spin, and serves it when there is one" {
	exec_on b strace -D -f -ttt -e trace=accept4 -o "$W/trace" \
		vmmigrate --listen 127.0.0.1:0 >"$W/b.log" 2>&1 </dev/null 3>&- &
	local l=$!
	PIDS+=("$l")
	wait_line 10 'listening on' "$W/b.log"
	no_descriptors "$l"
	peer state "$(port_in "$W/b.log")" "$NOBODY" "$NOBODY" web target >"$W/heard" 2>&1 3>&- &
	PIDS+=("$!")
	until_true 20 accepts_in_vain 3 "$W/trace"
	descriptors "$l"
	wait_line 10 unknown "$W/heard"
	accepts_rest "$W/trace"
}

@test "vmmigrate --answer: without a descriptor for a peer it does not spin, and serves it when there is one" {
	need_faults
	start_web
	listen_b
	VMFERRY_FAULT=vmmigrate.source.agreed=wait:$W/agreed exec_on a \
		strace -D -f -ttt -e trace=accept4 -o "$W/trace" \
		vmmigrate --answer "127.0.0.1:0" web "$BADDR" >"$W/move.err" 2>&1 </dev/null 3>&- &
	MV=$!
	PIDS+=("$MV")
	until_true 20 test -e "$W/agreed"
	local answerer port
	answerer=$(children "$MV")
	port=$(listens_at "$answerer")
	no_descriptors "$answerer"
	peer state "$port" "$NOBODY" "$NOBODY" web target >"$W/heard" 2>&1 3>&- &
	PIDS+=("$!")
	until_true 20 accepts_in_vain 3 "$W/trace"
	descriptors "$answerer"
	wait_line 10 unknown "$W/heard"
	rm "$W/agreed"
	moved 0
	accepts_rest "$W/trace"
}
