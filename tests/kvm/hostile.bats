# SPDX-License-Identifier: MIT
# Hostile x86-64 machines: state whose hashes are right and whose numbers are not, and guests that
# do what no driver does.
load ../lib/vm

setup() {
	export VMFERRY_ACCEL=kvm
	vm_setup
	need_kvm
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
}
teardown() { vm_teardown; }

# bats test_tags=slow
@test "kvm: 200 snapshots with shaken configuration or state, hashes right, are refused with 3 and one line, or run" {
	start_step a "pages=16" --memory 16M --cpus 2 --rng
	vmsnap -q --stop-after a "$W/a.vms"
	wait_gone 10 "$VMPID"
	# RAM at 0xffffffff00000000
	python3 "$TOP/tests/kvm/harm.py" state "$W/a.vms" "$W" 7031 1
	python3 "$TOP/tests/kvm/harm.py" state "$W/a.vms" "$W" "$seed" 200
}

# bats test_tags=slow
@test "kvm: guests that do by chance what no driver does are saved, restored, stopped and ended as any other" {
	python3 "$TOP/tests/kvm/harm.py" guest "$TOP/tests/guests/chaos_x86.elf" "$W" "$seed" 15
}

@test "kvm: state that KVM calls invalid is refused with 3 and one line that names the vCPU and the call" {
	start_step a "pages=16" --memory 16M
	vmsnap -q --stop-after a "$W/a.vms"
	wait_gone 10 "$VMPID"
	retree "$W/a.vms" "$W/b.vms" /cpus/cpu@0/state/x86-xsave xcr0 1 0
	run -3 --separate-stderr timeout 20 vmrun --name b --restore "$W/b.vms" --serial none
	echo "$stderr"
	[[ ${#stderr_lines[@]} = 1 && $stderr = *"vCPU 0"*KVM_SET_XCRS* ]]
}
