# SPDX-License-Identifier: MIT
# docs/handover.pml, the hand-over as a Spin model, in its small instances. `make model` runs the
# larger ones.
load lib/vm

setup() { TOP=$(cd "$(dirname "$BATS_TEST_FILENAME")/.." && pwd); }

@test "model: one move with two faults and a human's word: no error, no endless loop, in tens of thousands of states" {
	run -0 env JOBS=2 "$TOP/tests/tools/run-model" small rest
	echo "$output"
	[[ "$output" =~ small[^$'\n']*": "([0-9]+)" states"[^$'\n']*": no error" ]]
	[ "${BASH_REMATCH[1]}" -gt 50000 ]
	[[ "$output" =~ rest[^$'\n']*": no error" ]]
}

# bats test_tags=slow
@test "model: faults that the program or a draft of the protocol had once are found when they are planted" {
	run -0 env JOBS="$(nproc)" "$TOP/tests/tools/run-model" fault-{1..9} fault-start
	echo "$output"
	for n in 1:last 2:two 3:two 4:last 5:doubt 6:old 7:doubt 8:old 9:last start:two; do
		grep -qE "^fault-${n%:*} .*: found: .*${n#*:}" <<<"$output" || {
			echo "not so: $n"
			return 1
		}
	done
}
