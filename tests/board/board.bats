# SPDX-License-Identifier: MIT
# The board under a stock Debian guest: its drivers, our devices, and the host's files compared
# behind them.
load ../lib/vm
# bats file_tags=slow

setup() { vm_setup; }
teardown() { vm_teardown; }

# The fetched guest with our init, disks a (ext4), b (raw), c (read-only); $1 harts.
board_guest() {
	need_debian
	cp -a "$GUEST/root" "$W/root"
	cp "$TOP/tests/board/init" "$W/root/init"
	truncate -s 64M "$W/a"
	mkfs.ext4 -q "$W/a"
	truncate -s 32M "$W/b"
	head -c 1M /dev/urandom >"$W/c"
	start_vm web --kernel "$GUEST/vmlinux" --initrd "$W/root" --memory 256M --cpus "$1" \
		--rng --append "console=ttyS0 quiet" \
		--disk "root=$W/a" --disk "data=$W/b" --disk "ro=$W/c,ro" \
		--virtio-console "file:$W/hvc"
	wait_line 90 'ready to work' "$W/web.out"
}

board_is_right() {
	local what
	wait_line 120 'all is done' "$W/web.out"
	wait_gone 20 "$VMPID"
	tr -d '\r' <"$W/web.out" >"$W/out"
	if grep BAD "$W/out"; then false; fi
	for what in 'serial root data' 'cached copy ok' 'direct copy ok' 'after trim ok' \
		'writer 1 ok' 'writer 2 ok' 'writer 3 ok' \
		'writer 4 ok' 'discard ok' 'entropy ok' 'clock ok' \
		"vdc read-only: 1, sum $(sha256sum <"$W/c" | cut -d ' ' -f 1)" \
		"sum of vdb $(sha256sum <"$W/b" | cut -d ' ' -f 1)"; do
		grep -qF "$what" "$W/out" || { echo "not said: $what"; cat "$W/out"; false; }
	done
	grep -q 'hello from hvc0' "$W/hvc"
	e2fsck -fn "$W/a"
	cmp <(tail -c +4194305 "$W/b" | head -c 1048576) <(head -c 1048576 /dev/zero)
}

boots_above() { [ "$(grep -c 'guest ready' "$W/web.out")" -gt "$1" ]; }

@test "disks, entropy, clock and consoles serve Debian's drivers; the host's files hold what the guest wrote" {
	board_guest 1
	board_is_right
}

@test "the same with 4 harts, while the VM is paused, saved, reset and loaded all the time" {
	board_guest 4
	local pulses=0
	while kill -0 "$VMPID" 2>/dev/null && ! grep -q 'all is done' "$W/web.out"; do
		vmrun ctl web pulse >/dev/null 2>"$W/pulse.err" || break
		pulses=$((pulses + 1))
	done
	if grep -E 'differs|field' "$W/pulse.err"; then false; fi
	[ "$pulses" -ge 10 ]
	board_is_right
}

@test "a guest that reboots starts anew; its disk's lock is held all the time" {
	need_debian
	truncate -s 8M "$W/a"
	start_vm web --kernel "$GUEST/vmlinux" --initrd "$GUEST/root" --memory 256M \
		--append "console=ttyS0 quiet vmferry=sh:sleep,1;reboot,-f" \
		--disk "root=$W/a"
	wait_line 90 'guest ready' "$W/web.out"
	until_true 60 boots_above 1
	run -3 --separate-stderr vmrun --name other --kernel "$GUEST/vmlinux" --disk "root=$W/a" \
		--serial none
	# shellcheck disable=SC2154  # of bats
	[[ $stderr == *"already in use by another VM"* ]]
	vmrun ctl web quit
	wait_gone 10 "$VMPID"
	start_vm other --kernel "$STEP" --disk "root=$W/a" --memory 64M
}
