# SPDX-License-Identifier: MIT
# x86-64-1's ACPI tables under the reference compiler and interpreter: iasl reads what acpitables
# wrote.
load ../lib/vm

setup() { vm_setup; }
teardown() { vm_teardown; }

# Tables of $1 CPUs and $2 virtio devices into $W; each is disassembled, the DSDT compiled again.
tables() {
	acpitables "$W" "$1" "$2"
	cd "$W" || return
	local t
	for t in XSDT FACP FACS APIC DSDT; do
		run -0 iasl -d "$t.dat"
		if grep -iE 'error|warning|invalid' <<<"$output"; then false; fi
		if grep -iE 'invalid|incorrect|unknown|[*]{4}' "$t.dsl"; then false; fi
	done
	run -0 iasl -vs -oa DSDT.dsl
	[[ $output == *" 0 Errors, 0 Warnings"* ]] || { echo "$output"; false; }
}

@test "acpi: iasl disassembles every table and compiles the DSDT without error or warning" {
	tables 2 3
	[ "$(grep -c LNRO0005 DSDT.dsl)" = 3 ]
	grep -q 'PM1A Control Block Address : 00000604' <(sed 's/  */ /g' FACP.dsl)
	grep -q 'Reset Register Supported (V2) : 1' <(sed 's/  */ /g' FACP.dsl)
	[ "$(grep -c 'Local Apic ID' APIC.dsl)" = 2 ]
}

@test "acpi: the same for 128 CPUs and 32 virtio devices that share interrupts; compiled again the DSDT has the same byte code" {
	tables 128 32
	[ "$(grep -c 'Level, ActiveHigh, Shared' DSDT.dsl)" = 32 ]
	[ "$(grep -c 'Local Apic ID' APIC.dsl)" = 128 ]
	cmp <(tail -c +37 DSDT.dat) <(tail -c +37 DSDT.aml)
}
