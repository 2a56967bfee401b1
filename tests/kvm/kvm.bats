# SPDX-License-Identifier: MIT
# What is KVM's own: who gets it, what it says of itself, x86-64 guests with timers, several CPUs
# and ends of their own. The claims that any accelerator makes run on KVM too, tagged "accel" in
# their own files.
load ../lib/vm

setup() {
	export VMFERRY_ACCEL=kvm
	vm_setup
	need_kvm
	PVH=$TOP/tests/guests/pvh_x86.elf
	TIMERS=$TOP/tests/guests/timers_x86.elf
}
teardown() { vm_teardown; }

accel_of() { vmrun list --json | jq -r --arg n "$1" '.[] | select(.name == $n).accel'; }
# ends STATUS VMRUN-OPTIONS: a VM that ends by itself, so.
ends() {
	local want=$1 rc=0
	shift
	timeout 30 vmrun --name e --memory 16M --serial "file:$W/e.out" "$@" >"$W/e.log" 2>&1 \
		</dev/null 3>&- || rc=$?
	[ "$rc" = "$want" ] || {
		echo "vmrun ended with $rc, not $want"
		cat "$W/e.log" "$W/e.out"
		return 1
	}
}

@test "kvm: --accel auto takes KVM for an x86-64 kernel and the software CPU for a RISC-V one" {
	start_step x pages=64
	start_vm r --kernel "$TOP/tests/guests/step.elf" --append pages=64 --memory 64M
	[ "$(accel_of x)" = kvm ]
	[ "$(accel_of r)" = soft ]
	run --separate-stderr timeout 20 vmrun --accel soft --kernel "$STEP" --serial none
	[ "$status" -ne 0 ] && [ "${#stderr_lines[@]}" = 1 ]
	run --separate-stderr timeout 20 vmrun --accel kvm --kernel "$TOP/tests/guests/step.elf" \
		--serial none
	[ "$status" -ne 0 ] && [ "${#stderr_lines[@]}" = 1 ]
}

# A /dev of its own, without kvm or with one that is not ours.
without_kvm() {
	timeout 20 unshare -m sh \
		-c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"' - "$@"
}

@test "kvm: without /dev/kvm, and without a right to it, the message names the remedy" {
	need_root
	unshare -m true 2>/dev/null || skip "no mount namespaces here"
	run -1 --separate-stderr without_kvm vmrun --kernel "$STEP" --serial none
	echo "$stderr"
	[[ ${#stderr_lines[@]} = 1 && $stderr = *"/dev/kvm"*"load kvm_intel or kvm_amd"* ||
		$stderr = *"load kvm_intel or kvm_amd"*"/dev/kvm"* ]]
	run -0 without_kvm vmrun info
	[[ $output = *"load kvm_intel or kvm_amd"* ]]

	chmod 755 "$W"
	mkdir -m 700 "$W/theirs"
	chown 65534 "$W/theirs"
	run -1 --separate-stderr timeout 20 unshare -m sh \
		-c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 &&
			mknod -m 600 /dev/kvm c 10 232 &&
			exec env VMFERRY_RUNTIME_DIR="$1/theirs/run" \
				VMFERRY_STATE_DIR="$1/theirs/state" setpriv --reuid 65534 \
				--clear-groups "$2" --kernel "$3" --serial none' \
		- "$W" "$(command -v vmrun)" "$STEP"
	echo "$stderr"
	[[ ${#stderr_lines[@]} = 1 && $stderr = *"group kvm"* ]]
}

@test "kvm: vmrun info tells what KVM can do here, and selftest runs it" {
	vmrun info --json |
		jq -e '.accelerators[] | select(.name == "kvm" and .machine == "x86-64-1") |
			.available and .cpus >= 1 and .["dirty-log"] != null'
	vmrun info | grep -q 'dirty-log'
	vmrun selftest | grep -q '^kvm: ok'
}

@test "kvm: a guest that starts by PVH runs and powers off: 0; resets: 16; debug exit 0: 0, another: 17; triple fault: 18" {
	ends 0 --kernel "$PVH" --append "ticks=3 end=0"
	[ "$(tr -d '\r' <"$W/e.out")" = "pvh guest: version 1
tick 1
tick 2
tick 3" ]
	ends 16 --kernel "$PVH" --append "ticks=1 end=1" --on-reboot exit
	ends 18 --kernel "$PVH" --append "ticks=1 end=2"
	cat "$W/e.log"
	ends 0 --kernel "$PVH" --append "ticks=1 end=3"
	ends 17 --kernel "$PVH" --append "ticks=1 end=4"
}

@test "kvm: a PVH guest is saved and restored in the middle of its count" {
	start_vm a --kernel "$PVH" --append "ticks=100000" --memory 16M
	wait_line 10 'tick 20$' "$W/a.out"
	vmsnap -q --stop-after a "$W/a.vms"
	wait_gone 10 "$VMPID"
	n=$(last_tick "$W/a.out")
	start_vm b --restore "$W/a.vms"
	until_true 10 tick_above "$W/b.out" $((n + 20))
	grep -qE "^tick ($n|$((n + 1))|$((n + 2)))\b" <(head -n 2 "$W/b.out" | tr -d '\r')
}

# bats test_tags=slow
@test "kvm: the LAPIC's timer and the PIT count on in a new process, at the same rate, and the TSC does not go back" {
	start_vm t --kernel "$TIMERS" --memory 16M
	wait_line 20 '^tick 2 ' "$W/t.out"
	for i in 1 2 3; do
		vmsnap -q --stop-after t "$W/t$i.vms"
		wait_gone 10 "$VMPID"
		[ $i != 2 ] || command sleep 4      # time that passes for nobody
		start_vm t --restore "$W/t$i.vms"
		wait_line 20 "^tick $((2 * i + 2)) " "$W/t.out"
	done
	timers_right "$W/t.out"
}

# bats test_tags=slow
@test "kvm: after a stop neither timer makes up for it" {
	start_vm t --kernel "$TIMERS" --memory 16M
	wait_line 20 '^tick 2 ' "$W/t.out"
	vmrun ctl t stop
	command sleep 4
	vmrun ctl t cont
	wait_line 20 '^tick 4 ' "$W/t.out"
	timers_right "$W/t.out"
}

# Each second once, in order; both timers count 100 Hz. KVM lets the PIT catch up on a busy host,
# and the LAPIC's timer not; 4 s of a stop would show all the same.
timers_right() {
	tr -d '\r' <"$1" >"$W/ticks"
	cat "$W/ticks"
	! grep BAD "$W/ticks" || return 1
	sed -n 's/^tick \([0-9]*\) pit \([0-9]*\)$/\1 \2/p' "$W/ticks" | awk '
		NR > 1 && ($1 != last + 1 || $2 - pit > 450) {
			print "tick " $1 " pit " $2 " after tick " last " pit " pit
			bad = 1
		}
		{ last = $1; pit = $2 }
		END { if (NR < 4 || pit < last * 90 || pit > last * 100 + 390) bad = 1; exit bad }'
}

# bats test_tags=slow
@test "kvm: pulse finds nothing to complain about on running guests, 1 and 2 vCPUs, timers" {
	for n in 1 2; do
		start_step "p$n" "pages=1024 tick=1000" --cpus "$n"
		for _ in 1 2 3 4; do vmrun ctl "p$n" pulse; done
		until_true 20 tick_above "$W/p$n.out" "$(last_tick "$W/p$n.out")"
		vmsnap -q "p$n" "$W/p$n.vms"
		stepcheck "$W/p$n.vms"
	done
	start_vm t --kernel "$TIMERS" --memory 16M
	wait_line 10 '^tick 1 ' "$W/t.out"
	for _ in 1 2 3 4; do vmrun ctl t pulse; done
	wait_line 10 '^tick 4 ' "$W/t.out"
	! grep BAD "$W/t.out"
}

# counters VM: the steps of each vCPU, by saving its memory.
counters() { vmsnap -q --force "$1" "$W/c.vms" && stepcheck "$W/c.vms" | grep hart; }

# bats test_tags=slow
@test "kvm: after stop no vCPU makes a step, with 1, 2 and 4; after cont all do" {
	for n in 1 2 4; do
		start_step "s$n" "pages=1024" --cpus "$n"
		counters "s$n" >"$W/first"
		[ "$(wc -l <"$W/first")" = "$n" ]
		vmrun ctl "s$n" stop
		for i in 1 2 3; do counters "s$n" >"$W/stop.$i"; done
		cmp "$W/stop.1" "$W/stop.2"
		cmp "$W/stop.1" "$W/stop.3"
		vmrun ctl "s$n" cont
		until_true 20 all_above "s$n" "$W/stop.3"
		vmrun ctl "s$n" quit
	done
}
all_above() {
	counters "$1" >"$W/now" && [ "$(paste "$W/now" "$2" | awk '$4 > $8' | wc -l)" = \
		"$(wc -l <"$2")" ]
}

@test "kvm: vminspect shows the registers of every vCPU of a snapshot, and its MSRs" {
	start_step a "pages=64" --cpus 2
	vmsnap -q a "$W/a.vms"
	vminspect verify "$W/a.vms"
	vminspect regs "$W/a.vms" >"$W/regs"
	cat "$W/regs"
	[ "$(grep -ciE '^ *rip|rip ' "$W/regs")" -ge 2 ]
	grep -qi 'cr3' "$W/regs"
	vminspect info "$W/a.vms" | grep -q 'machine     x86-64-1, 2 CPUs'
}

# A feature of leaf 7 EBX that this host has not: its name and bit.
lacking() {
	local f
	for f in rtm.11 mpx.14 avx512f.16; do
		grep -qw "${f%.*}" /proc/cpuinfo || { echo "${f/./ }"; return; }
	done
	skip "this host's CPU has everything"
}

@test "kvm: a CPU with a feature that this host lacks is refused, leaf and bit are named; one without starts" {
	read -r name bit < <(lacking)
	run -3 --separate-stderr timeout 20 vmrun --cpu "host,+$name" --kernel "$STEP" --serial none
	echo "$stderr"
	[ "${#stderr_lines[@]}" = 1 ]
	[[ $stderr = *"CPUID 7.0 EBX bit $bit ($name)"* ]]
	run --separate-stderr timeout 20 vmrun --cpu host,+nonsense --kernel "$STEP" --serial none
	echo "$stderr"
	[ "$status" = 2 ] && [ "${#stderr_lines[@]}" = 1 ]
	start_step a pages=16 --cpu "host,-$name"
	status_is a running
}

# doctored IN OUT LEAF INDEX REGISTER BIT: a copy of a snapshot whose machine has been told of one
# more CPUID bit.
doctored() {
	vminspect tree --config --dtb "$W/config.dtb" --force "$1"
	# shellcheck disable=SC2046
	retree "$1" "$2" /cpus vmferry,cpuid $(fdtget -t u "$W/config.dtb" /cpus vmferry,cpuid |
		python3 -c '
import sys
leaf, index, bit = int(sys.argv[1], 16), int(sys.argv[2]), int(sys.argv[4])
register = 3 + ["eax", "ebx", "ecx", "edx"].index(sys.argv[3])
cells = [int(c) for c in sys.stdin.read().split()]
at = [i for i in range(0, len(cells), 7) if cells[i:i + 2] == [leaf, index]][0] + register
print(at, cells[at] | 1 << bit)' "${@:3}")
}

@test "kvm: a machine with a CPUID bit that this host lacks is refused, restored or moved, and leaf and bit are named" {
	start_step a "pages=64"
	vmsnap -q --stop-after a "$W/a.vms"
	wait_gone 10 "$VMPID"
	read -r name bit < <(lacking)
	doctored "$W/a.vms" "$W/b.vms" 7 0 ebx "$bit"
	vminspect verify "$W/b.vms"
	run -3 --separate-stderr timeout 20 vmrun --name b --restore "$W/b.vms" --trust-paths \
		--serial none
	echo "$stderr"
	[[ ${#stderr_lines[@]} = 1 && $stderr = *"CPUID 7.0 EBX bit $bit ($name)"* ]]
	vminspect tree --config --dtb "$W/b.dtb" "$W/b.vms"
	run -3 --separate-stderr timeout 20 vmrun --name b --incoming "$W/b.dtb" --trust-paths \
		--serial none
	[[ ${#stderr_lines[@]} = 1 && $stderr = *"CPUID 7.0 EBX bit $bit ($name)"* ]]
	start_vm a --restore "$W/a.vms"      # as it was saved it is taken
	status_is a running
}

@test "kvm: a machine whose TSC has another rate is refused, --force-tsc takes it" {
	start_step a "pages=64 tick=1000"
	vmsnap -q --stop-after a "$W/a.vms"
	wait_gone 10 "$VMPID"
	vminspect tree --config --dtb "$W/a.dtb" "$W/a.vms"
	khz=$(($(vminspect info --json "$W/a.vms" | jq -r '.. | .timebase_hz? // empty') / 1000))
	retree "$W/a.vms" "$W/b.vms" /cpus timebase-frequency 1 $((khz * 900 / 1000 * 1000))
	[ "$(vmrun info --json |
		jq -r '.accelerators[] | select(.name == "kvm" and .available) |
			."tsc-scaling"')" = no ] || skip "this host scales the TSC"
	run -3 --separate-stderr timeout 20 vmrun --name b --restore "$W/b.vms" --trust-paths \
		--serial none
	echo "$stderr"
	[[ ${#stderr_lines[@]} = 1 && $stderr = *kHz* && $stderr = *--force-tsc* ]]
	start_vm a --restore "$W/b.vms" --trust-paths --force-tsc
	until_true 20 tick_above "$W/a.out" 0
}
