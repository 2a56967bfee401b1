# The tree itself.
load lib/vm
# bats file_tags=slow

@test "lint: scripts, man pages and every header alone are clean" {
	cd "$(dirname "${BATS_TEST_FILENAME}")/.."
	run -0 tests/tools/run-lint
}
