# SPDX-License-Identifier: MIT
# Kernel and initrd travel with their VM, so that it can reboot where its files are not
# (docs/protocol.md 5, "Images").
load ../lib/vm
load ../lib/move

setup() {
	move_setup
	# So large that one can tell from a move's bytes whether it went along.
	{ cat "$STEP"; head -c 12M /dev/urandom; } >"$W/kernel"
}
teardown() { vm_teardown; }

start_big() { STEP=$W/kernel start_web; }

cached() { find "$W/$1/state/images" -type f 2>/dev/null | wc -l; }

# arrives: web moves to B, where it runs; the bytes that went in $BYTES.
arrives() {
	move --progress json
	moved 0
	until_true 10 runs_on b
	BYTES=$(jq -s 'map(select(.event == "moved"))[0].bytes' "$W/move.err")
}

# away: web ends on B.
away() {
	on_b vmrun ctl web quit
	until_true 10 no_vm b
}

# reboots HOST: web starts anew there: its steps begin at 1 once more.
reboots() {
	: >"$W/both.out"
	run -0 "on_$1" vmrun ctl web system_reset
	wait_line 20 'tick 1$' "$W/both.out"
	wait_line 20 'tick 3$' "$W/both.out"
}

# bats file_tags=accel

@test "images: a VM that has moved reboots where its kernel's file is not, and moves on with it" {
	start_big
	rm "$W/kernel"
	listen_b
	arrives
	reboots b
	# Back: A's cache is empty, its vmrun has gone.
	listen a 127.0.0.1:0 -- --serial "file:$W/both.out"
	run -0 on_b vmmigrate web "$LADDR"
	until_true 10 runs_on a
	reboots a
	[ "$(cached a) $(cached b)" = "1 1" ]
	[ "$(stat -c %a "$W"/b/state/images/*)" = 400 ]
	[ "$(basename "$W"/b/state/images/*)" = \
		"$(sha256sum <"$W"/b/state/images/* | cut -d' ' -f1)" ]
}

@test "images: what the target has is not sent again; damaged, it is; the oldest ones go" {
	listen b 127.0.0.1:0 --image-cache 30M -- --serial "file:$W/both.out"
	BADDR=$LADDR
	for what in first again damaged; do
		start_big
		[ $what != damaged ] || {
			chmod 600 "$W"/b/state/images/*
			printf x | dd of="$(echo "$W"/b/state/images/*)" conv=notrunc seek=99 \
				status=none
		}
		arrives
		echo "$what: $BYTES bytes"
		if [ $what = again ]; then [ "$BYTES" -lt $((12 << 20)) ]; else [ \
			"$BYTES" -gt $((12 << 20)) ]; fi
		reboots b
		away
	done
	[ "$(cached b)" = 1 ]
	old=$(echo "$W"/b/state/images/*)
	for k in 2 3; do
		printf %s $k >>"$W/kernel"
		start_big
		arrives
		away
		[ "$(cached b)" = 2 ]
	done
	[ ! -e "$old" ]
}

@test "images: a VM whose kernel's file is gone or unreadable moves without it, and the target says so" {
	start_big
	vmsnap -q web "$W/web.vms"
	vmrun ctl web quit
	wait_gone 10 "$VMPID"
	for how in gone folder; do
		rm -rf "$W/kernel"
		[ $how = gone ] || mkdir "$W/kernel"
		start_vm web --restore "$W/web.vms" --serial "file:$W/both.out"
		UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
		listen b "${BADDR:-127.0.0.1:0}" --once -- --serial "file:$W/both.out"
		BADDR=$LADDR
		arrives
		grep -q 'kernel: not available' "$W/b/run/web.log"
		[ "$(cached b)" = 0 ]
		away
		run -0 on_a vmmigrate resolve web --disown --yes
		run -0 on_b vmmigrate resolve web --disown --yes
	done
}

@test "images: an image that is not what HELLO or the tree says is refused, nothing of it is kept, nothing runs" {
	start_big
	listen_b
	via_recorder "$BADDR"
	run -0 on_a vmmigrate web "$VIA"
	away
	run -0 on_b vmmigrate resolve web --disown --yes
	rm -r "$W/b/state/images"
	for how in sha256:"SHA-256 mismatch" size:"differs from the VM tree" \
			name:"differs from the VM tree" twice:"duplicate image" \
			bytes:"digest mismatch" gap:"expected from 0" \
			unwanted:"unexpected image, not requested" none:"unexpected state chunk"; do
		run -0 python3 "$TOP/tests/vmmigrate/peer.py" images "${BADDR##*:}" "$W/stream" \
			"${how%%:*}"
		echo "$how: $output"
		[[ $output == *"${how#*:}"* ]]
		[ "$(cached b)" = 0 ] || [ "${how%%:*}" = none ]
		until_true 10 no_vm b
	done
}

@test "images: a listener with a kernel of its own takes none, and keeps as much as it is told to" {
	cp "$W/kernel" "$W/other"
	start_big
	listen b 127.0.0.1:0 --image-cache 0 -- --serial "file:$W/both.out" --kernel "$W/other"
	BADDR=$LADDR
	arrives
	[ "$BYTES" -lt $((12 << 20)) ]
	reboots b
	[ "$(cached b)" = 0 ]
	listen a 127.0.0.1:0 --image-cache 0 -- --serial "file:$W/both.out"
	run -0 on_b vmmigrate web "$LADDR"
	reboots a
	[ "$(cached a)" = 0 ]
}
