# SPDX-License-Identifier: MIT
# A few kills of `make kills`: random processes of moves A-B-C-A, at random moments. What must hold
# is judged by the tool, after every kill.
load ../lib/vm

setup() { vm_setup; }
teardown() { vm_teardown; }

# bats file_tags=slow

@test "ten random kills while a VM moves between three hosts: never two, never none unexplained" {
	run -0 env KILLS=10 SEED=1 "$TOP/tests/tools/run-kills" "$BUILD"
	echo "$output"
	[[ "$output" == *" 10 kills, "*" 0 violations"* ]]
}
