# SPDX-License-Identifier: MIT
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
	# leaks are not to be found under ptrace
	export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
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

@test "vmmigrate --answer: peers that say nothing delay nobody who asks" {
	need_faults
	start_web
	listen_b
	VMFERRY_FAULT=vmmigrate.source.agreed=wait:$W/agreed move --answer 127.0.0.1:0
	until_true 20 test -e "$W/agreed"
	run -0 peer beside "$(listens_at "$(children "$MV")")" "$NOBODY" "$NOBODY" web target 3
	[ "$output" = $'unknown\n3' ]
	rm "$W/agreed"
	moved 0
}

# ---- limits of the protocol (docs/protocol.md 4 and 5), by peers that go beyond them ----

@test "vmmigrate: a target that asks again for a chunk without end is left after 64 times, the VM runs on" {
	start_web
	peer resend >"$W/peer" 2>&1 3>&- &
	local p=$!
	PIDS+=("$p")
	until_true 10 test -s "$W/peer"
	BADDR=127.0.0.1:$(head -n 1 "$W/peer")
	touch "$W/b.log"
	move
	moved 4
	grep -q 'too many damaged chunks: more than 64' "$W/move.err"
	wait "$p"
	cat "$W/peer"
	[[ "$(tail -n 1 "$W/peer")" == "64 "* ]]
	runs_on a
	ticks_on
	ticks_right
	record_is a aborted
}

@test "vmmigrate --listen: more pages than were announced: free memory is looked at again each 64 MiB" {
	need_root
	start_vm web --kernel "$STEP" --append pages=64 --memory 128M --paused
	vmsnap -q web "$W/web.vms"
	vminspect tree --config --dtb "$W/tree" "$W/web.vms"
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
	cp /proc/meminfo "$W/meminfo"
	cat >"$W/host" <<-'END'
	mount --bind "$W/meminfo" /proc/meminfo || exit 77
	exec vmmigrate --listen 127.0.0.1:0 -- --serial none
	END
	unshare -m true 2>/dev/null || skip "no mount namespaces here"
	exec_on b unshare -m bash "$W/host" >"$W/b.log" 2>&1 </dev/null 3>&- &
	PIDS+=("$!")
	until_true 10 eval "grep -q 'listening on' $W/b.log || ! kill -0 $!"
	grep -q 'listening on' "$W/b.log" || skip "no mounts here"
	peer fill "$(port_in "$W/b.log")" "$W/tree" "$UUID" $((128 << 20)) "$W/go" 31 1 >"$W/peer" \
		2>&1 3>&- &
	local p=$!
	PIDS+=("$p")
	wait_line 20 AGREE "$W/peer"
	# The host has filled up meanwhile.
	printf 'MemAvailable: 2048 kB\nSwapFree: 0 kB\n' >"$W/meminfo"
	touch "$W/go"
	wait "$p" || { cat "$W/peer" "$W/b.log"; return 1; }
	[ "$(sed -n 1p "$W/peer")" = "AGREE True " ]
	[ "$(sed -n 2p "$W/peer")" = "ROUND-ACK " ]
	[ "$(sed -n 3p "$W/peer")" = \
		"ABORT not enough memory on the target: 64 MiB needed, 2 MiB available" ]
	until_true 10 no_vm b
	record_is b -
}
