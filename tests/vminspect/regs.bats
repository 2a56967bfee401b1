# vminspect regs.
# shellcheck disable=SC2002 # a pipe is the point
bats_require_minimum_version 1.5.0

setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

@test "vminspect regs: shows every hart by ABI names, with what the supervisor's bits mean" {
	mksnap a.vms
	run -0 --separate-stderr vminspect regs a.vms
	[ "$stderr" = "" ]
	[ "$(grep '^hart' <<<"$output")" = "\
hart 0  pc 0000003f8d4c2a14  user mode, started
hart 1  pc ffffffff80a1b2c4  supervisor mode, started, waiting for an interrupt" ]
	[ "$(sed -n 2p <<<"$output")" = "  zero 0000000000000000  ra   1000000000000001  sp   1000000000000002  gp   1000000000000003" ]
	grep -qx '  sstatus    0000000000006020  SPIE SPP=U FS=dirty' <<<"$output"
	grep -qx '  sstatus    0000000000006122  SIE SPIE SPP=S FS=dirty' <<<"$output"
	grep -qx '  scause     0000000000000008  call from user mode' <<<"$output"
	grep -qx '  scause     8000000000000005  timer interrupt' <<<"$output"
	grep -qx '  satp       8000000000081234  Sv39 asid=0 root=0x81234000' <<<"$output"
	grep -qx '  stimecmp   ffffffffffffffff  never' <<<"$output"
	grep -qx '  reservation of 8 bytes at 0x80123458, which held 0x2a' <<<"$output"
	grep -qx '  ft8  ffffffff0000001c  ft9  ffffffff0000001d  ft10 ffffffff0000001e  ft11 ffffffff0000001f' <<<"$output"
}

@test "vminspect regs: JSON has all registers of all harts, from a file and from a pipe" {
	mksnap a.vms
	vminspect regs --json a.vms >file.json
	cat a.vms | vminspect regs --json | cmp - file.json
	jq -e '.harts | length == 2 and .[0].x.t6 == "0x100000000000001f" and .[1].f.ft11 == "0xffffffff0000001f"' file.json
	jq -e '.harts[0] | .reservation == {size: 8, gpa: "0x80123458", value: "0x2a"} and .mode == "user" and (.x | length) == 32 and (.f | length) == 32' file.json
	jq -e '.harts[1] | .reservation == null and .wfi == true and .hsm == "started" and .csr.satp.means == "Sv39 asid=0 root=0x81234000"' file.json
}

@test "vminspect regs: a register that cannot be is refused and named, exit 3" {
	mksnap --spoil state a.vms
	run -3 --separate-stderr vminspect regs a.vms
	[ "$output" = "" ]
	[ "$stderr" = "vminspect: a.vms: cpu@0: hart: scounteren: 0xffff is not between 0x0 and 0x7" ]
}
