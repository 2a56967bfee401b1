# SPDX-License-Identifier: MIT
# Machine type x86-64-1 in a running VM, on KVM.
load ../lib/vm
load ../lib/move

setup() {
	export VMFERRY_ACCEL=kvm
	move_setup
}
teardown() { vm_teardown; }

pm=acpi-pm@10000000000600
# field VM DEVICE NAME: of its state.
field() { vmrun ctl "$1" inspect path="$2" | jq -r ".nodes[0].state | .[].\"$3\""; }
generation_id() { field "$1" vmgenid@fed40000 guid; }

@test "x86: system_powerdown presses the button, the POWERDOWN event says so" {
	start_step a pages=16
	[ "$(field a $pm pm1_status)" = 0x0 ]
	vmrun ctl a system_powerdown
	vmrun ctl a wait POWERDOWN timeout=5
	[ "$(field a $pm pm1_status)" = 0x100 ]
	vmrun ctl a pulse
	status_is a running
}

@test "x86: a restored VM has another generation ID, in its memory too, and an event tells its guest" {
	start_step a pages=16
	local id new
	id=$(generation_id a)
	[[ $id =~ ^[0-9a-f]{32}$ ]]
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	start_vm r --restore "$W/a.vms" --paused
	new=$(generation_id r)
	[[ $new =~ ^[0-9a-f]{32}$ ]]
	[ "$new" != "$id" ]
	[ "$(field r $pm gpe_status)" = 0x20 ]
	vmsnap -q r "$W/r.vms"
	[ "$(vminspect mem --raw 0xe8000 16 "$W/r.vms" | od -An -v -tx1 | tr -d ' \n')" = "$new" ]
	[ "$(vminspect mem --raw 0xe8000 16 "$W/a.vms" | od -An -v -tx1 | tr -d ' \n')" = "$id" ]
}

@test "x86: stop, pulse and a move leave the generation ID as it is" {
	start_web
	local id
	id=$(generation_id web)
	vmrun ctl web stop
	vmrun ctl web cont
	vmrun ctl web pulse
	[ "$(generation_id web)" = "$id" ]
	listen_b --once
	move
	moved 0
	wait "$BL"
	runs_on b
	[ "$(on_b generation_id web)" = "$id" ]
	[ "$(on_b field web $pm gpe_status)" = 0x0 ]
}

@test "x86: 5 GiB of memory are two regions, the second above 4 GiB; saved and restored" {
	start_step a pages=16 --memory 5G
	vmrun ctl a inspect path=cpu@0 |
		jq -e '[.regions[] | [.name, .gpa, .size]] == [["ram", 0, 3221225472], ["ram-high",
			4294967296, 2147483648]]'
	vmsnap -q --stop-after a "$W/a.vms"
	wait_gone 10 "$VMPID"
	start_vm r --restore "$W/a.vms"
	status_is r running
	vmrun ctl r pulse
}

@test "x86: what is wrong with a kernel is said in one line" {
	refused() {
		run -"$1" --separate-stderr vmrun --serial none --memory 64M --kernel "$W/k"
		[ "${#stderr_lines[@]}" -le 2 ]
		[[ ${stderr_lines[0]} == *"$2"* ]] || { echo "$stderr"; false; }
	}
	head -c 4096 /dev/zero >"$W/k"
	printf '\x55\xaaXXHdrS\x0b\x02' | sed 's/XX/\xeb\x6a/' |
		dd of="$W/k" bs=1 seek=510 conv=notrunc status=none
	refused 2 'unsupported bzImage boot protocol 2.11, expected 2.12'
	printf '\x0c' | dd of="$W/k" bs=1 seek=518 conv=notrunc status=none
	refused 2 'bzImage without a 64-bit entry'
	cp "$STEP" "$W/k"
	truncate -s 100 "$W/k"
	refused 3 'truncated: ELF program headers extend past the end of the file'
	run -2 --separate-stderr vmrun --serial none --memory 1M --kernel "$STEP"
	[[ $stderr == *'at least 4 MiB required; increase --memory'* ]]
}
