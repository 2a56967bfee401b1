# SPDX-License-Identifier: MIT
# vminspect mem.
# shellcheck disable=SC2002 # a pipe is the point
bats_require_minimum_version 1.5.0

setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

@test "vminspect mem: shows 256 bytes from an address, lines that repeat as a star" {
	mksnap a.vms
	run -0 --separate-stderr vminspect mem 0x80000000 a.vms
	[ "$output" = "\
0000000080000000  76 6d 66 65 72 72 79 20  73 61 6d 70 6c 65 2c 20  |vmferry sample, |
0000000080000010  70 61 67 65 20 30 2c 20  72 6f 75 6e 64 20 32 0a  |page 0, round 2.|
0000000080000020  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000000800000f0  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|" ]
	run -0 vminspect mem 2147483656 11 a.vms
	[ "$output" = \
		"0000000080000008  73 61 6d 70 6c 65 2c 20  70 61 67                 |sample, pag|" ]
}

# The bytes of a page as mksnap writes them.
page() {
	local i
	for ((i = 0; i < 4096; i += 8)); do
		printf '%b' \
			"$(printf '\\x%02x' $((i & 0x3f)) 0 0 "$2" $(($1 & 255)) $(($1 >> 8)) 0 0)"
	done
}

@test "vminspect mem: --raw gives the page that was saved last, from file, pipe and compressed pipe" {
	mksnap a.vms
	{ page 4 2; page 5 0; head -c 8192 /dev/zero; page 8 1; } >want
	vminspect mem --raw 0x80004000 20K a.vms | cmp - want
	vminspect mem --raw 0x80004000 20480 <a.vms | cmp - want
	cat a.vms | vminspect mem --raw 0x80004000 0x5000 - | cmp - want
	mksnap --level 3 - | vminspect mem --raw 0x80004000 20K | cmp - want
	mksnap --level 3 z.vms
	vminspect mem 0x80004000 20K --raw z.vms | cmp - want
	tail -c +4090 want | head -c 9000 >part
	cat a.vms | vminspect mem --raw $((0x80004000 + 4089)) 9000 | cmp - part
	vminspect mem --raw $((0x80004000 + 4089)) 9000 a.vms | cmp - part
}

@test "vminspect mem: all memory of a pipe is that of the file, however much of it is zero" {
	mksnap --pages 3000 --ram 80 --level 1 a.vms
	vminspect mem --raw 0x80000000 80M a.vms | sha256sum >want
	cat a.vms | vminspect mem --raw 0x80000000 80M | sha256sum | cmp - want
}

@test "vminspect mem: JSON has the bytes in hexadecimal" {
	mksnap a.vms
	vminspect mem --json 0x80001000 16 a.vms |
		jq -e '. == {gpa: "0x80001000", length: 16,
			bytes: "00000000010000000800000001000000"}'
}

@test "vminspect mem: addresses that are no memory's are refused, exit 2" {
	mksnap a.vms
	run -2 --separate-stderr vminspect mem 0x7ffffff0 a.vms
	[ "$stderr" = "vminspect: a.vms: no guest memory at 0x7ffffff0" ]
	run -2 --separate-stderr vminspect mem 0x83fffff0 17 a.vms
	[ "$stderr" = "vminspect: a.vms: no guest memory at 0x84000000" ]
	run -2 --separate-stderr bash -c 'cat a.vms | vminspect mem 0x83fffff0 17'
	[ "$stderr" = "vminspect: standard input: no guest memory at 0x84000000" ]
	run -2 --separate-stderr vminspect mem 0xffffffffffffffff 2 a.vms
	[ "$stderr" = "vminspect: range exceeds the 64-bit address space: \
2 bytes at 0xffffffffffffffff" ]
	run -0 vminspect mem 0x83fffff0 16 a.vms
}

@test "vminspect mem: a snapshot without memory is refused, exit 3" {
	mksnap --state-only a.vms
	run -3 --separate-stderr vminspect mem 0x80000000 a.vms
	[ "$stderr" = "vminspect: a.vms: snapshot without memory (saved with --state-only)" ]
}

@test "vminspect mem: a page that does not match its hash is named, not shown, exit 3" {
	mksnap a.vms
	printf 'damage' | dd of=a.vms bs=1 seek=13000 conv=notrunc status=none
	run -3 --separate-stderr bash -c 'vminspect mem --raw 0x80000000 64M a.vms >out'
	[[ "$stderr" =~ ^"vminspect: a.vms: region 0: page "[0-9]+": checksum mismatch (at byte "[0-9]+")"$ ]]
}
