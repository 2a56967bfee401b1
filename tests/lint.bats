# SPDX-License-Identifier: MIT
# The tree itself.
load lib/vm
# bats file_tags=slow

@test "lint: scripts, man pages and every header alone are clean" {
	cd "$(dirname "${BATS_TEST_FILENAME}")/.."
	run -0 tests/tools/run-lint
}

@test "make: what is missing is named, and only deps, demo, check and bench install it" {
	stubs=$(mktemp -d)
	printf '#!/bin/sh\nexit 1\n' >"$stubs/dpkg-query"
	printf '#!/bin/sh\ntouch "%s/installed"\n' "$stubs" >"$stubs/apt-get"
	chmod +x "$stubs"/*
	run -1 env PATH="$stubs:$PATH" "$BATS_TEST_DIRNAME/tools/need-packages" --missing check
	[[ $output == *"missing packages:"*" jq "*"make deps installs them"* ]]
	[ ! -e "$stubs/installed" ]
	rm -r "$stubs"
}
