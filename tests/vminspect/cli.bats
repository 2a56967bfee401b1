# SPDX-License-Identifier: MIT
# vminspect: command line, pipes, statuses.
bats_require_minimum_version 1.5.0

setup() {
	TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	cd "$BATS_TEST_TMPDIR" || return 1
}

@test "vminspect: a wrong command line says what is wrong, shows the usage, exit 2" {
	mksnap a.vms
	while IFS='|' read -r words message; do
		# shellcheck disable=SC2086 # several words
		run -2 --separate-stderr vminspect $words
		[ "$output" = "" ]
		[ "$(head -n 1 <<<"$stderr")" = "vminspect: $message" ]
		[ "$(sed -n 2p <<<"$stderr")" = "usage: vminspect COMMAND [--json] [FILE]" ]
	done <<-'END'
		a.vms|unsupported command 'a.vms'
		info a.vms b.vms|info: unexpected operand 'b.vms'
		info --raw a.vms|info: --raw not supported by this command
		regs --dtb x a.vms|regs: --dtb not supported by this command
		--raw mem 0|--raw must follow its command
		mem|mem: missing GPA operand
		mem a.vms|mem: invalid address 'a.vms' (for example 0x80000000)
		mem 0x80000000 0 a.vms|mem: invalid length 0
		mem -- -1 a.vms|mem: invalid address '-1' (for example 0x80000000)
		tree --json --dtb - a.vms|--json and --dtb are mutually exclusive
		mem --json --raw 0x80000000 a.vms|--json and --raw are mutually exclusive
		info --frobnicate|unrecognized option '--frobnicate'
	END
	run -2 --separate-stderr vminspect
	[ "$(head -n 1 <<<"$stderr")" = "usage: vminspect COMMAND [--json] [FILE]" ]
}

@test "vminspect: help and version go to standard output, exit 0" {
	run -0 --separate-stderr vminspect --help
	[ "$stderr" = "" ]
	for command in info tree regs mem verify; do grep -q "^  $command " <<<"$output"; done
	run -0 vminspect info --help
	run -0 vminspect --version
	[[ "$output" =~ ^"vminspect (vmferry) "[0-9.]+$ ]]
}

@test "vminspect: a file that is not there is the host's no, exit 1" {
	run -1 --separate-stderr vminspect info none.vms
	[ "$stderr" = "vminspect: none.vms: No such file or directory" ]
	run -1 --separate-stderr vminspect info .
	[ "$stderr" = "vminspect: .: read: Is a directory" ]
}

@test "vminspect: a snapshot that was compressed is left to a pipe, exit 3, by vmrun too" {
	mksnap a.vms
	zstd -q a.vms
	run -3 --separate-stderr vminspect info a.vms.zst
	[ "$output" = "" ]
	[ "$stderr" = "vminspect: a.vms.zst: compressed with zstd: use zstd -dc a.vms.zst | vminspect COMMAND" ]
	zstd -dc a.vms.zst | vminspect info | diff - <(vminspect info a.vms)
	for by in zstd gzip xz bzip2; do
		"$by" -c <a.vms >a.packed
		for cut in 4000 100000000; do
			head -c $cut a.packed >a.cut
			run -3 --separate-stderr vmrun --restore a.cut --serial none
			[ "$stderr" = "vmrun: a.cut: compressed with $by: use $by -dc a.cut | vmrun --restore -" ]
		done
	done
}

@test "vminspect: bytes do not go to a terminal, nor come from one, exit 2" {
	mksnap a.vms
	while IFS='|' read -r words message; do
		run -2 script -qec "vminspect $words" /dev/null </dev/null
		[ "${output%$'\r'}" = "vminspect: $message" ]
	done <<-'END'
	info|standard input is a terminal: specify FILE, or redirect it
	mem --raw 0x80000000 a.vms|standard output is a terminal: --raw is binary, redirect it
	tree --dtb - a.vms|standard output is a terminal: the tree is binary, redirect it
	END
}

@test "vminspect: a reader that has seen enough does not make it hang or complain" {
	mksnap --pages 3000 --ram 64 a.vms
	run -0 --separate-stderr bash -c 'vminspect mem 0x80000000 64M a.vms | head -n 1'
	[ "${#lines[@]}" = 1 ]
	[ "$stderr" = "" ]
}

@test "vminspect: no snapshot is changed, and none needs to be writable" {
	mksnap a.vms
	chmod 0444 a.vms
	sha256sum a.vms >sum
	for command in info tree regs "mem 0x80000000" verify; do
		# shellcheck disable=SC2086 # several words
		vminspect $command a.vms >/dev/null
	done
	sha256sum -c --quiet sum
}

@test "vminspect: text from a snapshot cannot steer a terminal" {
	mksnap --spoil escape a.vms
	for command in info tree; do
		vminspect "$command" a.vms >out
		run ! grep -q $'\e' out
	done
	grep -qF 'append      \x1b[2Jconsole' <(vminspect info a.vms)
	vminspect info --json a.vms | jq -e '.machine.append == "\u001b[2Jconsole"'
}

@test "vminspect: the examples of its page run as they are" {
	mksnap web.vms
	mksnap a.vms
	mksnap --level 1 b.vms
	zstd -q web.vms
	sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/s/^\.Dl \$ //p' "$TOP/vminspect/vminspect.1" |
		sed 's/\\(dq/"/g; s/\\e/\\/g' >examples
	[ "$(wc -l <examples)" -ge 6 ]
	while read -r line; do
		echo "$line"
		bash -o pipefail -c "$line" >out
		[[ "$line" == diff* || "$line" == *'> page' ]] || [ -s out ]
	done <examples
	[ "$(stat -c %s page)" = 4096 ]
}
