# SPDX-License-Identifier: MIT
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
	grep -qx '  reservation of 8 bytes at 0x80123458, value 0x2a' <<<"$output"
	grep -qx '  ft8  ffffffff0000001c  ft9  ffffffff0000001d  ft10 ffffffff0000001e  ft11 ffffffff0000001f' <<<"$output"
}

@test "vminspect regs: JSON has all registers of all harts, from a file and from a pipe" {
	mksnap a.vms
	vminspect regs --json a.vms >file.json
	cat a.vms | vminspect regs --json | cmp - file.json
	jq -e '.harts | length == 2 and .[0].x.t6 == "0x100000000000001f" and
		.[1].f.ft11 == "0xffffffff0000001f"' file.json
	jq -e '.harts[0] | .reservation == {size: 8, gpa: "0x80123458", value: "0x2a"} and
		.mode == "user" and (.x | length) == 32 and (.f | length) == 32' file.json
	jq -e '.harts[1] | .reservation == null and .wfi == true and .hsm == "started" and
		.csr.satp.means == "Sv39 asid=0 root=0x81234000"' file.json
}

@test "vminspect regs: a register that cannot be is refused and named, exit 3" {
	mksnap --spoil state a.vms
	run -3 --separate-stderr vminspect regs a.vms
	[ "$output" = "" ]
	[ "$stderr" = "vminspect: a.vms: cpu@0: hart: scounteren: \
0xffff out of range (valid: 0x0 to 0x7)" ]
}

@test "vminspect regs: shows every CPU of an x86-64 machine, with segments, flags, MSRs and local APIC by name" {
	mksnap --x86 a.vms
	run -0 --separate-stderr vminspect regs a.vms
	[ "$stderr" = "" ]
	[ "$(grep '^cpu' <<<"$output")" = "\
cpu 0  rip 0000007f8d4c2a14  64-bit mode, ring 3, runnable
cpu 1  rip ffffffff81a1b2c4  64-bit mode, ring 0, halted" ]
	grep -qx '  r8   2000000000000008  r9   2000000000000009  r10  200000000000000a  r11  200000000000000b' <<<"$output"
	grep -qx '  cs   0033  base 0000000000000000  limit ffffffff  code64 DPL=3' <<<"$output"
	grep -qx '  tr   0040  base 0000000000000000  limit 0000206f  busy TSS DPL=0' <<<"$output"
	grep -qx '  cr0            0000000080050033  PE MP ET NE WP AM PG' <<<"$output"
	grep -qx '  efer           0000000000000d01  SCE LME LMA NX' <<<"$output"
	grep -qx '  c0000082 ffffffff81c00040  LSTAR' <<<"$output"
	grep -qx '  LVT_TIMER      000400ec  vector=0xec deadline' <<<"$output"
}

@test "vminspect regs: JSON has an x86-64 machine's registers, from a file and from a pipe" {
	mksnap --x86 a.vms
	vminspect regs --json a.vms >file.json
	cat a.vms | vminspect regs --json | cmp - file.json
	jq -e '.cpus | length == 2 and .[0].gpr.r15 == "0x100000000000000f" and
		.[1].mp_state == "halted" and (.[0].gpr | length) == 16' file.json
	jq -e '.cpus[0] | .segments.cs.selector == "0x33" and
		.control.cr4.means == "PSE PAE PGE OSFXSR OSXMMEXCPT"' file.json
	jq -e '.cpus[1] | .msrs["0xc0000082"] == {name: "LSTAR", value: "0xffffffff81c00040"} and
		.lapic.SVR.means == "vector=0xff enabled"' file.json
}

@test "vminspect verify, info, tree: nothing of an x86-64 machine is unknown" {
	mksnap --x86 a.vms
	run -0 --separate-stderr vminspect verify --json a.vms
	jq -e '.sound and .unknown == []' <<<"$output"
	vminspect tree --config --json a.vms >tree.json
	jq -e '.cpus["vmferry,cpuid"][0:3] == ["0x0", "0x0", "0x0"] and
		.cpus["cpu@1"]["vmferry,cpu-model"] == "x86-64-v2,+avx2"' tree.json
}
