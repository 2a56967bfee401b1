# SPDX-License-Identifier: MIT
# What the KVM accelerator says to a user: a warning where a guest can't do well, errors that name
# the limit.
load ../lib/vm

setup() {
	export VMFERRY_ACCEL=kvm
	vm_setup
	need_kvm
}
teardown() { vm_teardown; }

interprets() {
	vmrun info --json |
		jq -e '.accelerators[] | select(.name == "kvm" and .machine == "x86-64-1") |
			.instructions | test("kvm_pvm")' >/dev/null
}
put() { printf '%b' "$2" | dd of="$W/bzImage" bs=1 seek="$1" conv=notrunc status=none; }
# The head of a bzImage of boot protocol 2.15, and one instruction at its 64-bit entry: ud2,
# without an IDT.
bzimage() {
	truncate -s 2048 "$W/bzImage"
	put 497 '\001'
	put 500 '\100'
	put 510 '\125\252'
	put 513 '\142HdrS\017\002'
	put 529 '\001'
	put 566 '\001'
	put 568 '\377\007'
	put 600 '\000\000\000\001'
	put 608 '\000\020'
	put 1536 '\017\013'
}

@test "kvm: where KVM interprets instructions, a Linux image boots with one line of warning, another kernel with none" {
	bzimage
	run -18 --separate-stderr vmrun --name w --kernel "$W/bzImage" --memory 64M --serial none
	echo "$stderr"
	if interprets; then
		[ "${#stderr_lines[@]}" = 2 ]
		[[ ${stderr_lines[0]} = "vmrun: KVM on this host (kvm_pvm) lacks instructions: Linux will not boot" ]]
	else
		[ "${#stderr_lines[@]}" = 1 ]
	fi
	[[ ${stderr_lines[-1]} = "vmrun: VM terminated: vCPU 0: triple fault at 0x1000200" ]]

	start_step quiet pages=16
	ls "$W"
	run ! grep -rq interprets "$W"/*.log
}

@test "kvm: more CPUs than there can be are refused, naming the limit" {
	for n in 129 256; do
		run --separate-stderr timeout 20 vmrun --name c --kernel "$STEP" --cpus $n \
			--serial none
		echo "$stderr"
		[ "$status" = 2 ]
		[ "${#stderr_lines[@]}" = 1 ]
		[[ $stderr = *" 1 to 128"* ]]
	done
}
