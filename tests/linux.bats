# SPDX-License-Identifier: MIT
# Real Debian on the software CPU, 1 and 4 harts: work in progress goes on right across save,
# restore and move.
load lib/vm
# bats file_tags=slow

setup() { vm_setup; }
teardown() { vm_teardown; }

# start_linux NAME HARTS WHAT [options]
start_linux() {
	local name=$1 harts=$2 what=$3
	shift 3
	start_vm "$name" --kernel "$GUEST/vmlinux" --initrd "$GUEST/root" --memory 256M \
		--cpus "$harts" --rng \
		--append "console=ttyS0 quiet vmferry=$what" "$@"
	wait_line 90 'guest ready' "$W/$name.out"
}

make_disk() {
	truncate -s 64M "$1"
	mkfs.ext4 -q -O ^metadata_csum,^64bit "$1"
}

no_bad() { ! grep -aE 'BAD|rror|panic|Oops|BUG:|stall' "$1"; }
lines_above() { [ "$(grep -acE -- "$2" "$1")" -gt "$3" ]; }
uptime_of() { grep -aoE 'tick [0-9]+ up [0-9.]+' "$1" | tail -n 1 | awk '{print int($4)}'; }

# work_goes_on NAME: sums, disk writes and ticks each appear anew in its output, and none is bad
work_goes_on() {
	local out=$W/$1.out s d t
	s=$(grep -acE 'sum [0-9]+ ok' "$out") d=$(grep -acE 'disk [0-9]+ ok' "$out") \
		t=$(last_tick "$out")
	until_true 60 lines_above "$out" 'sum [0-9]+ ok' "$((s + 1))"
	until_true 60 lines_above "$out" 'disk [0-9]+ ok' "$d"
	until_true 60 tick_above "$out" "$t"
	no_bad "$out"
}

circle_of_linux() {
	local harts=$1
	need_debian
	make_disk "$W/disk"
	start_linux web "$harts" work --disk "root=$W/disk"
	wait_line 30 'disk mounted' "$W/web.out"
	work_goes_on web

	vmsnap web "$W/web.vms" --stop-after 2>"$W/save.err"
	wait_gone 10 "$VMPID"
	vminspect verify "$W/web.vms"
	cp "$W/disk" "$W/disk.then"

	start_vm web2 --restore "$W/web.vms"
	work_goes_on web2
	vmsnap web2 --compress --stop-after 2>/dev/null | zstd -q >"$W/web2.zst"
	wait_gone 10 "$VMPID"

	zstd -dc "$W/web2.zst" >"$W/web2.vms"
	start_vm_stdin web3 --restore - --uuid new --disk "root=$W/disk" <"$W/web2.vms"
	work_goes_on web3
	vmrun ctl web3 quit

	# the first snapshot over a disk that has moved on is refused
	run -3 --separate-stderr vmrun --name web4 --restore "$W/web.vms" --serial none
	[[ "$stderr" == *root*disk* ]]
}

@test "linux: a sha256sum, disk writes and a counter go on across save, file and pipe; 1 hart" {
	circle_of_linux 1
}
@test "linux: a sha256sum, disk writes and a counter go on across save, file and pipe; 4 harts" {
	circle_of_linux 4
}

move_of_linux() {
	need_debian
	make_disk "$W/disk"
	start_linux web "$1" work --disk "root=$W/disk"
	work_goes_on web
	VMFERRY_RUNTIME_DIR=$W/run2 VMFERRY_STATE_DIR=$W/state2 vmmigrate --listen 127.0.0.1:0 \
		--once \
		-- --serial "file:$W/there.out" --disk "root=$W/disk" >"$W/listen.log" 2>&1 3>&- &
	PIDS+=("$!")
	wait_line 10 'listening on' "$W/listen.log"
	vmmigrate web "127.0.0.1:$(port_in "$W/listen.log")" 2>"$W/move.err" || {
		cat "$W/move.err" "$W/listen.log" >&2
		return 1
	}
	wait_gone 10 "$VMPID"
	work_goes_on there
	VMFERRY_RUNTIME_DIR=$W/run2 vmrun ctl web query-status | jq -e '.status == "running"'
}

@test "linux: moves to another vmrun over TCP at work; 1 hart" { move_of_linux 1; }
@test "linux: moves to another vmrun over TCP at work; 4 harts" { move_of_linux 4; }

@test "linux: uptime continues after a restore with a frozen clock, and jumps with --clock advance" {
	need_debian
	start_linux web 1 tick
	vmsnap web "$W/web.vms" --stop-after 2>/dev/null
	wait_gone 10 "$VMPID"
	was=$(uptime_of "$W/web.out")
	command sleep 8      # the time that is to be frozen, or jumped over
	start_vm frozen --restore "$W/web.vms" --uuid new
	until_true 30 tick_above "$W/frozen.out" 0
	first=$(grep -aoE 'up [0-9.]+' "$W/frozen.out" | head -n 1 | awk '{print int($2)}')
	[ "$first" -le $((was + 3)) ]
	vmrun ctl frozen quit
	wait_gone 10 "$VMPID"
	start_vm jumped --restore "$W/web.vms" --uuid new --clock advance
	until_true 30 tick_above "$W/jumped.out" 0
	first=$(grep -aoE 'up [0-9.]+' "$W/jumped.out" | head -n 1 | awk '{print int($2)}')
	[ "$first" -ge $((was + 8)) ]
}

# The numbers that a VM has said since its restore, but for two that may have been drawn before
# the save.
randoms() { tr -d '\r' <"$1" | grep -aoE '^rand( [0-9a-f]{2}){16}$' | tail -n +3 | sort; }

@test "linux: two VMs restored from one snapshot draw different random numbers" {
	need_debian
	start_linux web 1 \
		'sh:while,:;do,head,-c,16,/dev/urandom|od,-An,-tx1|sed,s/^/rand/;usleep,20000;done'
	wait_line 30 '^rand ' "$W/web.out"
	vmsnap -q --stop-after web "$W/web.vms"
	wait_gone 10 "$VMPID"
	for copy in one two; do
		start_vm "$copy" --restore "$W/web.vms" --uuid new
		until_true 30 lines_above "$W/$copy.out" '^rand( [0-9a-f]{2}){16}' 12
		randoms "$W/$copy.out" >"$W/$copy.randoms"
		[ "$(wc -l <"$W/$copy.randoms")" -ge 10 ]
	done
	comm -12 "$W/one.randoms" "$W/two.randoms" | tee "$W/common"
	[ ! -s "$W/common" ]
}

@test "linux: pulse with requests in flight changes nothing; 1 and 4 harts" {
	need_debian
	for n in 1 4; do
		make_disk "$W/disk$n"
		start_linux "p$n" "$n" work --disk "root=$W/disk$n"
		for _ in 1 2 3; do vmrun ctl "p$n" pulse; done
		work_goes_on "p$n"
		vmrun ctl "p$n" quit
	done
}

@test "linux: a field of a chip that a planted bug forgets makes pulse fail and name it" {
	need_debian
	export PATH="$FAULTS_BUILD/bin:$PATH"
	for point in uart.ier virtio.status plic-context@0.enable; do
		VMFERRY_FAULT=state.skip.${point/@0/}=hit start_linux "${point%%[.@]*}" 1 tick
		run -1 --separate-stderr vmrun ctl "${point%%[.@]*}" pulse
		echo "$point: $stderr"
		[[ "$stderr" == *"$point"* ]]
		vmrun ctl "${point%%[.@]*}" quit
	done
}

@test "linux: powers off with status 0, reboots under --on-reboot=exit with 16" {
	need_debian
	run -0 vmrun --name off --kernel "$GUEST/vmlinux" --initrd "$GUEST/root" \
		--serial "file:$W/off.out" \
		--append "console=ttyS0 quiet vmferry=off"
	run -16 vmrun --name re --kernel "$GUEST/vmlinux" --initrd "$GUEST/root" \
		--serial "file:$W/re.out" --on-reboot=exit \
		--append "console=ttyS0 quiet vmferry=sh:reboot,-f"
}
