# SPDX-License-Identifier: MIT
# The jobs of testbed.bats on this machine's own KVM, where that is real VT-x or AMD-V.
bats_require_minimum_version 1.5.0
# bats file_tags=slow,alone

setup() {
	here=$(cd "$BATS_TEST_DIRNAME" && pwd)
	W=$(mktemp -d /tmp/vf-hw.XXXXXX)
	if ! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || [ -e /sys/module/kvm_pvm ] ||
		[ ! -w /dev/kvm ]; then
		skip "not run: no real VT-x or AMD-V here"
	fi
	GUEST=$("$here/../tools/fetch-guest" --arch amd64 2>"$W/fetch.err") ||
		skip "the Debian guest can't be fetched: $(tail -n 1 "$W/fetch.err")"
	export GUEST W
}
teardown() {
	pkill -9 -f -- "$W" 2>/dev/null
	rm -rf "$W"
}

# Every claim of the job holds, and there are as many as the job makes.
job_holds() {
	sh "$here/jobs/$1.sh" >"$W/results" 2>&1 3>&- || { cat "$W/results"; return 1; }
	[ "$(grep -cE '^RESULT [a-z0-9-]+ ok$' "$W/results")" = \
		"$(grep -c '^claim ' "$here/jobs/$1.sh")" ]
}

@test "hardware: Linux boots, is saved while it runs, pulses and is restored" { job_holds circle; }
@test "hardware: poweroff, reset, panic, power button and hibernation end as they should" {
	job_holds endings
}
@test "hardware: a running Linux moves to another vmrun and back" { job_holds move; }
