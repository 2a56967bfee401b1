# SPDX-License-Identifier: MIT
# Reboots of a VM whose kernel is not available: it is paused until its user gives one
# (docs/control.md 4). A VM that vmrun booted itself has its images in memory; one that was
# restored or moved has the path at best, and here the file is gone.
load ../lib/vm
load ../lib/move
load ../control/control

setup() {
	vm_setup
	cp "$STEP" "$W/k.elf"
	ARGS="pages=64 pace=1000"
}
teardown() { vm_teardown; }

# bats file_tags=accel

# line_open NAME: a terminal on the VM's serial line; what the guest says is in $W/NAME.out.
declare -gA KEYS
line_open() {
	mkfifo "$W/$1.keys"
	: >"$W/$1.out"
	socat - "UNIX-CONNECT:$W/$1.serial" <"$W/$1.keys" >>"$W/$1.out" 2>&1 3>&- &
	PIDS+=("$!")
	exec {fd}>"$W/$1.keys"
	KEYS[$1]=$fd
	press "$1" p
	wait_line 20 'status steps' "$W/$1.out"
}
press() { printf %s "$2" >&"${KEYS[$1]}"; }
boots() { [ "$(grep -ac 'step guest' "$W/$1.out")" = "$2" ]; }

# A snapshot of a VM whose kernel was $W/k.elf, in $W/bare.vms.
make_bare() {
	start_vm origin --kernel "$W/k.elf" --append "$ARGS" --memory 64M --serial none
	vmsnap -q origin "$W/bare.vms"
	vmrun ctl origin quit
	wait_gone 10 "$VMPID"
}

# start_bare NAME [OPTIONS]: restored, the kernel is not available.
start_bare() {
	local name=$1
	shift
	[ -e "$W/bare.vms" ] || make_bare
	rm -f "$W/k.elf"
	start_vm "$name" --restore "$W/bare.vms" --name "$name" --serial "unix:$W/$name.serial" "$@"
	line_open "$name"
}

boot_is() {      # VM MISSING PENDING
	vmrun ctl "$1" query-status | jq -ce '."vmferry-boot"' | tee "$W/boot.json"
	[ "$(cat "$W/boot.json")" = "{\"missing\":$2,\"reset-pending\":$3}" ]
}
pending() { boot_is "$1" '["kernel"]' true && status_is "$1" paused; }

@test "reboot: without its kernel it pauses the VM, which boots again once one is given" {
	start_bare a
	boot_is a '["kernel"]' false
	[ "$(vmrun list --json | jq -c '.[0].boot')" = \
		'{"missing":["kernel"],"reset-pending":false}' ]
	press a r
	until_true 20 pending a
	kill -0 "$VMPID"
	run -0 vmrun ctl a wait VMFERRY_RESET_PENDING timeout=10
	reason=$(jq -r .data.reason <<<"$output")
	[[ $reason =~ ^"kernel: not available: use 'vmrun ctl a set-boot kernel=PATH'"$ ]]
	vmrun ctl a wait STOP timeout=10
	[ "$(vmrun ctl a query-status | jq -c '."vmferry-holders"')" = '["user"]' ]
	ctl_refused "reset pending: kernel: not available: use 'vmrun ctl a set-boot kernel=PATH'" \
		a cont
	ctl_refused "kernel: not available.*set-boot" a system_reset
	pending a

	run -0 vmrun ctl a set-boot "kernel=$STEP"
	[ "$output" = '{"missing":[],"reset-pending":true}' ]
	status_is a paused
	vmrun ctl a cont
	until_true 20 boots a 1
	boot_is a '[]' false
	status_is a running
	[ "$(vmrun ctl a wait RESET timeout=10 | jq -c .data)" = \
		'{"guest":true,"reason":"guest-reset"}' ]
	# From now on it has one.
	press a r
	until_true 20 boots a 2
	vmrun ctl a system_reset
	until_true 20 boots a 3
	run ! grep -a BAD "$W/a.out"
}

@test "reboot: an arriving VM without its kernel says so, and system_reset leaves it running" {
	start_bare a
	[ "$(grep -c 'not available' "$W/a.log")" = 1 ]
	grep -qF "vmrun: a: kernel: not available: use 'vmrun ctl a set-boot kernel=PATH'; until then a reboot pauses the VM" "$W/a.log"
	ctl_refused "kernel: not available: use 'vmrun ctl a set-boot kernel=PATH'" a system_reset
	status_is a running
	boot_is a '["kernel"]' false
	moves_on a
	press a r
	until_true 20 pending a
	grep -q "a: guest reset pending, VM paused: kernel: not available.*; then use 'vmrun ctl a cont'" "$W/a.log"
	# One that ends at its reboot needs none.
	start_vm b --restore "$W/bare.vms" --name b --uuid new --serial "unix:$W/b.serial" \
		--on-reboot exit
	b=$VMPID
	run ! grep -q 'not available' "$W/b.log"
	line_open b
	press b r
	wait_gone 20 "$b"
	exits "$b" 16
}

@test "reboot: set-boot takes nothing but files that this machine boots, and all or nothing" {
	start_bare a
	other=$TOP/tests/guests/step_x86.elf arch=x86-64-1
	[ "$ACCEL" = soft ] || { other=$TOP/tests/guests/step.elf; arch=riscv64-1; }
	mkfifo "$W/fifo"
	head -c 100 "$STEP" >"$W/cut.elf"
	echo text >"$W/text"
	ctl_refused "the kernel is for $arch, the VM is $MACHINE" a set-boot "kernel=$other"
	ctl_refused 'not a kernel for machine' a set-boot "kernel=$W/text"
	ctl_refused 'kernel: ' a set-boot "kernel=$W/cut.elf"
	ctl_refused 'kernel: .*fifo: not a regular file$' a set-boot "kernel=$W/fifo"
	ctl_refused 'initrd: .*fifo: not a regular file or directory' a set-boot "kernel=$STEP" \
		"initrd=$W/fifo"
	ctl_refused 'kernel: /dev/zero: not a regular file' a set-boot kernel=/dev/zero
	ctl_refused "kernel: $W: not a regular file" a set-boot "kernel=$W"
	ctl_refused 'kernel: .*none: No such file' a set-boot "kernel=$W/none"
	ctl_refused 'initrd: .*none: No such file' a set-boot "kernel=$STEP" "initrd=$W/none"
	ctl_refused 'initrd: .*text: unsupported format' a set-boot "kernel=$STEP" "initrd=$W/text"
	ctl_refused 'append: longer than 2047' a set-boot "kernel=$STEP" \
		"append=$(printf 'x%.0s' {1..2048})"
	ctl_refused 'missing kernel, initrd or append' a set-boot
	ctl_refused "'disk' is unexpected" a set-boot "disk=$W/text"
	printf '%s' '{"execute":"qmp_capabilities"}' \
		'{"execute":"vmferry-set-boot","arguments":{"kernel":"step.elf"}}' |
		socat -t 5 - "UNIX-CONNECT:$VMFERRY_RUNTIME_DIR/a.sock" >"$W/raw"
	grep -q "kernel: 'step.elf': not an absolute path" "$W/raw"
	boot_is a '["kernel"]' false
	[ "$(vmrun ctl a inspect | jq -r .machine)" = "$MACHINE" ]
	vmsnap -q a "$W/same.vms"
	[ "$(vminspect info --json "$W/same.vms" |
		jq -c '[.hosts[] | select(.class == "kernel" or .class == "initrd") | .name]')" = \
		'["kernel"]' ]
	vminspect info "$W/same.vms" | grep -qF "$ARGS"
	status_is a running
}

@test "reboot: set-boot takes a command line as long as --append does, and not one character more" {
	most=1023 says='append: 1024 characters exceed the limit of 1023 of riscv64-1'
	[ "$ACCEL" = soft ] || most=2047 says='append: longer than 2047 characters'
	start_bare a
	line=$(head -c "$most" /dev/zero | tr '\0' x)
	ctl_refused "$says" a set-boot "append=${line}x"
	vmrun ctl a set-boot "append=$line"
	vmsnap -q a "$W/long.vms"
	[ "$(vminspect info --json "$W/long.vms" | jq -r .machine.append)" = "$line" ]
}

@test "reboot: set-boot takes a relative path with a space, an initrd folder, and text that looks like JSON" {
	start_bare a
	mkdir -p "$W/the guest/root"
	cp "$STEP" "$W/the guest/my kernel"
	echo hello >"$W/the guest/root/file"
	(cd "$W/the guest" && vmrun ctl a set-boot "kernel=my kernel" initrd=root append=17)
	boot_is a '[]' false
	vmsnap -q a "$W/set.vms"
	vminspect info --json "$W/set.vms" |
		jq -e --arg w "$W/the guest" '.machine.append == "17" and
			([.hosts[] | select(.class == "kernel" or .class == "initrd") | .path] ==
				[$w + "/my kernel", $w + "/root"])'
	vmrun ctl a set-boot "append=$ARGS"
	press a r
	until_true 20 boots a 1
	vminspect verify "$W/set.vms"
}

@test "reboot: a file that a serial line writes is not taken by set-boot" {
	make_bare
	rm -f "$W/k.elf"
	cp "$STEP" "$W/both"
	start_vm a --restore "$W/bare.vms" --name a --serial "file:$W/both"
	ctl_refused "serial port 'console': .*both is kernel 'kernel' of this VM" a set-boot \
		"kernel=$W/both"
	boot_is a '["kernel"]' false
}

@test "reboot: what does not fit is found at the reset, which stays pending until it does" {
	start_bare a
	{ printf 070701; head -c 1000 /dev/zero; } >"$W/big"
	truncate -s 70M "$W/big"
	echo x >"$W/x"
	(cd "$W" && echo x | cpio -o -H newc 2>/dev/null >small)
	vmrun ctl a set-boot "kernel=$STEP" "initrd=$W/big"
	ctl_refused 'initrd' a system_reset
	until_true 20 boot_is a '[]' true
	status_is a paused
	ctl_refused "reset pending: .*initrd" a cont
	vmrun ctl a set-boot "initrd=$W/small"
	vmrun ctl a cont
	until_true 20 boots a 1
	status_is a running
	boot_is a '[]' false
}

@test "reboot: set-boot is refused while somebody saves the VM, and taken when he has gone" {
	start_bare a
	lease_open l a log saver
	ctl_refused 'set-boot: configuration in use by saver' a set-boot "kernel=$STEP"
	lease l pause 60000
	ctl_refused 'saver' a set-boot "kernel=$STEP"
	lease l resume
	boot_is a '["kernel"]' false
	lease_kill l
	vmrun ctl a set-boot "kernel=$STEP"
	boot_is a '[]' false
}

@test "reboot: a pending reset is saved, restored held, and done by cont or --cont" {
	start_bare a
	press a r
	until_true 20 pending a
	vmrun ctl a pulse
	pending a
	vmsnap -q a "$W/held.vms"
	vminspect verify "$W/held.vms"
	vminspect tree "$W/held.vms" >"$W/tree"
	grep -q 'vmferry,reset-pending' "$W/tree"
	vminspect info "$W/held.vms" | grep -q 'stopped, guest reset pending'
	[ "$(vminspect info --json "$W/held.vms" |
		jq -c '[.machine.stopped, .machine.reset_pending]')" = '[true,true]' ]
	[ "$(vminspect info --json "$W/bare.vms" | jq .machine.reset_pending)" = false ]
	python3 "$TOP/tests/vminspect/agree.py" "$W/held.vms" "$TOP/tests/format/vmsread.py"
	pending a

	# Elsewhere, with its kernel by option.
	start_vm b --restore "$W/held.vms" --name b --uuid new --serial "file:$W/b.out" \
		--kernel "$STEP"
	boot_is b '[]' true
	status_is b paused
	grep -q "b: restored paused: guest reset pending: use 'vmrun ctl b cont'" "$W/b.log"
	vmrun ctl b cont
	until_true 20 boots b 1
	boot_is b '[]' false
	status_is b running

	start_vm c --restore "$W/held.vms" --name c --uuid new --serial "file:$W/c.out" \
		--kernel "$STEP" --cont
	until_true 20 boots c 1
	status_is c running
	boot_is c '[]' false

	# Without one --cont can't.
	start_vm d --restore "$W/held.vms" --name d --uuid new --serial none --cont
	pending d
	grep -q "d: restored paused: guest reset pending: kernel: not available.*set-boot kernel=PATH.*'vmrun ctl d cont'" "$W/d.log"
}

@test "reboot: a VM from another host's pipe reboots with --kernel, and without it pauses" {
	start_vm origin --kernel "$W/k.elf" --append "$ARGS" --memory 64M --serial none
	vmsnap origin >"$W/pipe.vms" 2>/dev/null
	export VMFERRY_STATE_DIR=$W/elsewhere
	start_vm_stdin a --restore - --name a --uuid new --serial "unix:$W/a.serial" <"$W/pipe.vms"
	PIDS+=("$VMPID")
	line_open a
	grep -q 'a: kernel: not available' "$W/a.log"
	press a r
	until_true 20 pending a
	start_vm_stdin b --restore - --name b --uuid new --serial "unix:$W/b.serial" \
		--kernel "$STEP" <"$W/pipe.vms"
	PIDS+=("$VMPID")
	run ! grep -q 'not available' "$W/b.log"
	line_open b
	press b r
	until_true 20 boots b 1
	status_is b running
}

@test "reboot: another file where the kernel was is not booted" {
	make_bare
	start_vm a --restore "$W/bare.vms" --name a --serial "unix:$W/a.serial"
	line_open a
	run ! grep -q 'not available' "$W/a.log"
	# Of the same size: found by its digest.
	printf x | dd of="$W/k.elf" bs=1 seek=4000 conv=notrunc 2>/dev/null
	press a r
	until_true 20 boot_is a '[]' true
	status_is a paused
	ctl_refused "k.elf: digest mismatch: not the image that the VM was started with.*set-boot kernel=PATH" a cont
	rm "$W/k.elf"
	mkfifo "$W/k.elf"
	ctl_refused "kernel: not available" a cont
	vmrun ctl a set-boot "kernel=$STEP"
	vmrun ctl a cont
	until_true 20 boots a 1
}

@test "reboot: in a moved VM without its kernel it pauses it there, also after another move" {
	export VMFERRY_RUNTIME_DIR=$W/a/run VMFERRY_STATE_DIR=$W/a/state
	start_bare web
	listen b 127.0.0.1:0 --once -- --serial "unix:$W/web2.serial"
	vmmigrate web "$LADDR"
	until_true 20 runs_on b
	grep -q "web: kernel: not available: use 'vmrun ctl web set-boot kernel=PATH'; until then a reboot pauses the VM" "$W"/b/run/*.log "$W/b.log"
	VMFERRY_RUNTIME_DIR=$W/b/run VMFERRY_STATE_DIR=$W/b/state
	line_open web2
	ctl_refused 'kernel: not available' web system_reset
	status_is web running
	press web2 r
	until_true 20 pending web

	listen c 127.0.0.1:0 --once -- --serial "unix:$W/web3.serial"
	vmmigrate web "$LADDR"
	VMFERRY_RUNTIME_DIR=$W/c/run VMFERRY_STATE_DIR=$W/c/state
	until_true 20 pending web
	ctl_refused 'kernel: not available' web cont
	vmrun ctl web set-boot "kernel=$STEP"
	: >"$W/web3.out"
	socat -u "UNIX-CONNECT:$W/web3.serial" - >"$W/web3.out" 3>&- &
	PIDS+=("$!")
	vmrun ctl web cont
	until_true 20 boots web3 1
	status_is web running
}

@test "reboot: a listener's --kernel is what a moved VM boots" {
	export VMFERRY_RUNTIME_DIR=$W/a/run VMFERRY_STATE_DIR=$W/a/state
	start_bare web
	listen b 127.0.0.1:0 --once -- --serial "unix:$W/web2.serial" --kernel "$STEP"
	vmmigrate web "$LADDR"
	until_true 20 runs_on b
	VMFERRY_RUNTIME_DIR=$W/b/run VMFERRY_STATE_DIR=$W/b/state
	line_open web2
	boot_is web '[]' false
	press web2 r
	until_true 20 boots web2 1
	status_is web running
}
