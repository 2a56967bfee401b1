# SPDX-License-Identifier: MIT
# vmrun by itself: its command line, its ends, resets, what a restore may touch, pulse.
load lib/vm

setup() { vm_setup; }
teardown() { vm_teardown; }

usage_error() {
	run -2 --separate-stderr vmrun "$@"
	[ "$(printf '%s\n' "$stderr" | wc -l)" = 1 ]
	[ -z "$output" ]
	case $stderr in "vmrun: "* | "vmrun "*": "*) ;; *) false ;; esac
}

# key SOCKET CHARACTER: types it on a serial line
key() {
	python3 - "$1" "$2" <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.connect(sys.argv[1])
	s.sendall(sys.argv[2].encode())
	while s.recv(4096) if sys.argv[2] in 'qr' else False:
	    pass
	END
}

# a snapshot of a step guest with two disks, a serial line on a file and an rng: $W/a.vms
snapshot_with_everything() {
	truncate -s 1M "$W/root.img" "$W/data.img"
	start_vm a --kernel "$STEP" --append pages=64 --memory 64M --rng --disk "root=$W/root.img" \
		--disk "data=$W/data.img,ro"
	wait_line 20 'step guest' "$W/a.out"
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
}

@test "vmrun: every wrong command line is one line on stderr and status 2" {
	usage_error
	usage_error --bogus
	usage_error --kernel
	usage_error --kernel x y
	usage_error nonsense
	usage_error --kernel x --name ../x
	usage_error --kernel x --name -x
	usage_error --kernel x --memory 12
	usage_error --kernel x --memory -1M
	usage_error --kernel x --memory 99999999999T
	usage_error --kernel x --cpus 0
	usage_error --kernel x --cpus 1000
	usage_error --kernel x --serial tty
	usage_error --kernel x --serial file:
	usage_error --kernel x --accel tcg
	usage_error --kernel x --on-reboot never
	usage_error --kernel x --clock warp
	usage_error --kernel x --uuid 1234
	usage_error --kernel x --disk a=x --disk a=y
	usage_error --kernel x --disk kernel=x
	usage_error --kernel x --disk ,ro
	usage_error --kernel x --trust-paths
	usage_error --kernel "$TOP/tests/guests/step.elf" --append "$(printf '%01024d' 0)"
	usage_error --restore a --incoming b
	usage_error --restore a --append x
	usage_error --restore a --cont --paused
	usage_error --incoming a --cont
	usage_error --kernel x --cont
	usage_error --restore a --memory 1G
	usage_error --restore a --memory cow --memory 1G
	usage_error --restore - --memory cow
	usage_error --restore /dev/null --memory cow
	usage_error --incoming a --memory cow
	usage_error --kernel x --memory cow
	usage_error --kernel x --memory copy
	usage_error --restore a --disk x.img
	usage_error --incoming a --uuid 12345678-1234-1234-1234-123456789abc
	usage_error --restore a --disk-changed=yes
	usage_error info extra
	usage_error selftest nothing
}

@test "vmrun: --help, --version, info and selftest work with nothing in the environment" {
	env -i "$(command -v vmrun)" --help | grep -q -- --restore
	env -i "$(command -v vmrun)" --version | grep -q '^vmrun (vmferry) '
	env -i "$(command -v vmrun)" info | grep -q '^accelerators'
	env -i "$(command -v vmrun)" info | grep -qE '^  soft +riscv64-1 +yes, 1 to 8 CPUs$'
	env -i "$(command -v vmrun)" info --json |
		jq -e '.accelerators[] | select(.name == "soft" and .machine == "riscv64-1" and
			.available) | .cpus == 8'
	run -3 vmrun --kernel "$TOP/tests/guests/step.elf" --cpus 9 --serial none
	[[ "$output" == *"software CPU: number of CPUs out of range: 9 (valid: 1 to 8)" ]]
	env -i "$(command -v vmrun)" selftest | grep -q '^soft: ok'
}

# bats file_tags=accel

@test "vmrun: a file that is not there, is no kernel, or has no room: status and one line" {
	run -1 --separate-stderr vmrun --kernel "$W/none" --serial none
	[ "${#stderr_lines[@]}" = 1 ]
	head -c 100000 /dev/urandom >"$W/junk"
	run --separate-stderr vmrun --kernel "$W/junk" --serial none
	[ "$status" -ne 0 ] && [ "${#stderr_lines[@]}" = 1 ]
	run --separate-stderr vmrun --kernel "$STEP" --memory 4K --serial none
	[ "$status" -ne 0 ] && [ "${#stderr_lines[@]}" = 1 ]
	run -1 --separate-stderr vmrun --kernel "$STEP" --serial none --disk "$W/none"
	[ "${#stderr_lines[@]}" = 1 ]
	[ ! -e "$W/none" ]
	[ -z "$(find "$W/run" -name '*.sock')" ]
}

@test "vmrun: a serial line on a file that the VM uses is refused with 2, whatever the file is called; the file stays as it was" {
	snapshot_with_everything
	cp "$STEP" "$W/kernel"
	echo initrd >"$W/initrd"
	ln -s root.img "$W/link"
	ln "$W/kernel" "$W/hard"
	(cd "$W" && sha256sum root.img kernel initrd a.vms >sums)
	boot=(--kernel "$W/kernel" --initrd "$W/initrd" --disk "root=$W/root.img" --memory 64M)
	for f in root.img link ./root.img kernel hard initrd; do
		run -2 --separate-stderr timeout 20 vmrun "${boot[@]}" --serial "file:$W/$f"
		[[ $stderr == "vmrun: serial port 'console': $W/$f is "*" of this VM; name another file" ]]
	done
	run -2 --separate-stderr timeout 20 vmrun "${boot[@]}" --serial none \
		--virtio-console "file:$W/root.img"
	[[ $stderr == "vmrun: serial port 'hvc0': "*"is disk 'root' of this VM"* ]]
	run -2 --separate-stderr timeout 20 vmrun --restore "$W/a.vms" --serial "file:$W/a.vms"
	[[ $stderr == *"is the snapshot; "* ]]
	run -2 --separate-stderr timeout 20 vmrun --restore - --trust-paths \
		--serial "file:$W/a.vms" <"$W/a.vms"
	[[ $stderr == *"is the snapshot; "* ]]
	run -2 --separate-stderr timeout 20 vmrun --name x --kernel "$STEP" --control "$W/x" \
		--serial "file:$W/x.lock"
	[[ $stderr == *"is the VM's lock file; "* ]]
	(cd "$W" && sha256sum -c --quiet sums)
	# One that is not there is no disk either.
	run -2 --separate-stderr timeout 20 vmrun --kernel "$STEP" --disk "$W/new" \
		--serial "file:$W/new"
}

@test "vmrun: --control PATH does not take a file of the user's for its lock" {
	echo '[[package]]' >"$W/Cargo.lock"
	run -3 --separate-stderr timeout 20 vmrun --name c --kernel "$STEP" --serial none \
		--control "$W/Cargo.sock"
	[[ $stderr == *"$W/Cargo.lock: exists and is not a lock file of vmrun"* ]]
	[ "$(cat "$W/Cargo.lock")" = '[[package]]' ]
	: >"$W/Cargo.lock"
	start_vm c --kernel "$STEP" --serial none --control "$W/Cargo.sock" &
	until_true 20 vmrun ctl "$W/Cargo.sock" query-status
	vmrun ctl "$W/Cargo.sock" quit
	wait
}

@test "vmrun: power-off is 0, quit 0, signals 128+n, a reboot with --on-reboot=exit 16" {
	start_vm a --kernel "$STEP" --append pages=64 --memory 64M --serial "unix:$W/a"
	key "$W/a" q
	wait "$VMPID" && status=0 || status=$?
	[ "$status" = 0 ]
	for signal in INT:130 TERM:143 HUP:129; do
		start_vm a --kernel "$STEP" --append pages=64 --memory 64M --serial none
		kill -"${signal%:*}" "$VMPID"
		wait "$VMPID" && status=0 || status=$?
		[ "$status" = "${signal#*:}" ]
	done
	start_vm a --kernel "$STEP" --append pages=64 --memory 64M --serial "unix:$W/a" \
		--on-reboot exit
	key "$W/a" r
	wait "$VMPID" && status=0 || status=$?
	[ "$status" = 16 ]
}

@test "vmrun: a reboot resets, with --on-reboot=pause it waits for cont" {
	start_vm a --kernel "$STEP" --append pages=64 --memory 64M --serial "unix:$W/a"
	key "$W/a" r 3>&- &
	typist=$!
	vmrun ctl a wait RESET timeout=20 | jq -e '.data.reason == "guest-reset" and .data.guest'
	vmrun ctl a query-status | jq -e .running
	vmrun ctl a quit
	wait "$typist" || true
	wait_gone 10 "$VMPID"
	start_vm b --kernel "$STEP" --append pages=64 --memory 64M --serial "unix:$W/b" \
		--on-reboot pause
	key "$W/b" r 3>&- &
	vmrun ctl b wait RESET timeout=20
	until_true 10 status_is b paused
	vmrun ctl b cont
	until_true 10 status_is b running
	vmrun ctl b quit
}

@test "vmrun: a restored VM is reset with the kernel it was started with, and with no other" {
	cp "$STEP" "$W/kernel"
	start_vm a --kernel "$W/kernel" --append pages=64 --memory 64M
	wait_line 20 'step guest' "$W/a.out"
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"

	start_vm b --restore "$W/a.vms"
	vmrun ctl b system_reset
	wait_line 20 'step guest' "$W/b.out"
	vmrun ctl b quit
	wait_gone 10 "$VMPID"

	echo >>"$W/kernel"
	start_vm c --restore "$W/a.vms" --serial "unix:$W/c"
	run -1 --separate-stderr vmrun ctl c system_reset
	[[ $stderr = *"set-boot kernel=PATH"* ]]
	status_is c running
	key "$W/c" r &      # until the line is closed
	PIDS+=("$!")
	until_true 10 status_is c paused      # its reset is pending
	grep -q 'set-boot kernel=PATH' "$W/c.log"
	vmrun ctl c quit
	wait_gone 10 "$VMPID"

	start_vm d --restore "$W/a.vms" --kernel "$STEP"
	vmrun ctl d system_reset
	wait_line 20 'step guest' "$W/d.out"
}

# elsewhere COMMAND: on another host, or by another user: with a state folder of its own.
elsewhere() { VMFERRY_STATE_DIR=$W/elsewhere "$@"; }

# opens_none_of PATTERN COMMAND: COMMAND is refused and has opened nothing of that name.
opens_none_of() {
	local pattern=$1
	shift
	# leaks are not to be found under ptrace
	export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
	run -3 --separate-stderr strace -f -qq -o "$W/trace" \
		-e trace=open,openat,openat2,creat,unlink,unlinkat,truncate,bind,connect timeout \
		20 "$@"
	[ "${#stderr_lines[@]}" = 1 ]
	run -1 grep -E "$pattern" "$W/trace"
	grep -q 'openat' "$W/trace"
}

@test "vmrun: restore names everything that is missing in one message, before it opens anything" {
	snapshot_with_everything
	mv "$W/root.img" "$W/r"
	mv "$W/data.img" "$W/d"
	run -3 --separate-stderr timeout 20 vmrun --restore "$W/a.vms" --name p2
	[[ $stderr = *"--serial SPEC (serial console)"*"--disk root=PATH"*"--disk data=PATH"* ]]
	[ "${#stderr_lines[@]}" = 1 ]
	run -3 --separate-stderr elsewhere timeout 20 vmrun --restore - --name p3 < \
		<(cat "$W/a.vms")
	[[ $stderr = *"--serial SPEC (serial console)"*"--disk root=PATH"*"--disk data=PATH"*"not written by this user on this host"*--trust-paths* ]]
	[ "${#stderr_lines[@]}" = 1 ]
	[ ! -e "$W/root.img" ]
	run -2 --separate-stderr vmrun --restore "$W/a.vms" --disk nothere="$W/r"
	[[ $stderr = *"root, data"* ]] || [[ $stderr = *"data, root"* ]]
	run -2 --separate-stderr vmrun --restore "$W/a.vms" --disk root="$W/r,ro"
	start_vm b --restore "$W/a.vms" --disk root="$W/r" --disk data="$W/d"
	status_is b running
}

@test "vmrun: of 20 missing disks every one is named in the message" {
	disks=()
	for i in $(seq 20); do
		truncate -s 64K "$W/img$i"
		disks+=(--disk "volume-$i=$W/img$i")
	done
	start_vm a --kernel "$STEP" --append pages=64 --memory 64M "${disks[@]}"
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	run -3 --separate-stderr elsewhere timeout 20 vmrun --restore "$W/a.vms" --serial none
	for i in $(seq 20); do [[ $stderr = *"--disk volume-$i=PATH"* ]]; done
	[[ $stderr = *--trust-paths* ]]
	[ "${#stderr_lines[@]}" = 1 ]
}

@test "vmrun: a snapshot that this host wrote opens the disks it names, from a file, a copy and a pipe" {
	snapshot_with_everything
	cp "$W/a.vms" "$W/copy.vms"
	chmod 0600 "$W/copy.vms"
	for from in a copy; do
		start_vm b --restore "$W/$from.vms"
		until_true 10 status_is b running
		vmrun ctl b quit
		wait_gone 10 "$VMPID"
	done
	start_vm_stdin b --restore - < <(cat "$W/a.vms")
	until_true 10 status_is b running
	vmrun ctl b quit
}

@test "vmrun: on another host a snapshot opens none of the files it names, whoever owns it: in a file, a pipe, and with no key at all" {
	snapshot_with_everything
	chmod 0600 "$W/a.vms"
	files='root\.img|data\.img|a\.out|step[_a-z0-9]*\.elf'
	opens_none_of "$files" env VMFERRY_STATE_DIR="$W/elsewhere" vmrun --restore "$W/a.vms" \
		--name b
	opens_none_of "$files" env VMFERRY_STATE_DIR="$W/elsewhere" bash \
		-c 'cat "$1" | vmrun --restore - --name b' - "$W/a.vms"
	[ ! -e "$W/elsewhere/snapshot.key" ]      # a restore makes none
	chmod 0644 "$W/state/snapshot.key"
	opens_none_of "$files" vmrun --restore "$W/a.vms" --name b
	[[ $stderr = *"snapshot.key: not a private regular file owned by this user (mode 0600)"* ]]
	elsewhere start_vm b --restore "$W/a.vms" --trust-paths
	until_true 10 status_is b running
}

@test "vmrun: the key is 0600, in no snapshot, and said nowhere" {
	snapshot_with_everything
	[ "$(stat -c %a:%s "$W/state/snapshot.key")" = 600:32 ]
	python3 - "$W" <<-'END'
	import os, sys
	key = open(sys.argv[1] + '/state/snapshot.key', 'rb').read()
	for folder, _, names in os.walk(sys.argv[1]):
	    for name in names:
	        path = folder + '/' + name
	        if os.path.isfile(path) and name != 'snapshot.key':
	            data = open(path, 'rb').read()
	            assert key not in data and key.hex().encode() not in data.lower(), path
	END
	PYTHONDONTWRITEBYTECODE=1 "$TOP/tests/format/vmsread.py" --key "$W/state/snapshot.key" \
		"$W/a.vms" | jq -e '.auth == ["configuration", "all"]'
}

@test "vmrun: a snapshot of ours that was altered is refused, wherever it was" {
	snapshot_with_everything
	# another machine (a clock, an interrupt), under our MACs and with every hash right
	retree --keep-macs "$W/a.vms" "$W/config.vms" /cpus timebase-frequency 1 9999000
	opens_none_of 'root\.img|data\.img' vmrun --restore "$W/config.vms" --name b --serial none
	[[ $stderr = *"modified after it was written by this host"* ]]
	# the same machine in another state
	retree --keep-macs "$W/a.vms" "$W/state.vms" /vm/state/clock guest-ns 0 1
	vminspect verify "$W/state.vms"
	run -3 --separate-stderr timeout 20 vmrun --restore "$W/state.vms" --name b \
		--serial "file:$W/b.out"
	[[ $stderr = *"modified after it was written by this host"* ]]
	[ ! -s "$W/b.out" ]
	start_vm b --restore "$W/state.vms" --trust-paths
	until_true 10 status_is b running
}

@test "vmrun: a recorded file: or unix: is not created, appended to or unlinked unless it is given anew" {
	for spec in file unix; do
		start_vm a$spec --kernel "$STEP" --append "pages=64 tick=1000 pace=20" \
			--memory 64M --serial "$spec:$W/line"
		vmsnap -q a$spec "$W/$spec.vms"
		vmrun ctl a$spec quit
		wait_gone 10 "$VMPID"
		rm -f "$W/line"
		for more in '' --trust-paths; do
			opens_none_of "$W/line" vmrun --restore "$W/$spec.vms" --name b $more
			[[ $stderr = *"--serial SPEC (serial console)"* ]]
			[ ! -e "$W/line" ]
		done
		# it is there, as somebody else's
		if [ $spec = file ]; then echo keep >"$W/line"; else python3 \
			-c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' \
			"$W/line"; fi
		for more in '' --trust-paths; do
			opens_none_of "$W/line" vmrun --restore "$W/$spec.vms" --name b $more
			[ -e "$W/line" ]
		done
		[ $spec = unix ] || [ "$(cat "$W/line")" = keep ]
		rm -f "$W/line"
		start_vm b$spec --restore "$W/$spec.vms" --serial "$spec:$W/line"
		[ -e "$W/line" ]
		vmrun ctl b$spec quit
		wait_gone 10 "$VMPID"
		rm -f "$W/line"
	done
}

@test "vmrun: a disk the guest writes and of which nothing is recorded is refused like one that has moved on" {
	snapshot_with_everything
	cp "$W/a.vms" "$W/0.vms"
	for cell in 0 1 2 3; do
		retree "$W/$cell.vms" "$W/$((cell + 1)).vms" /host/root digest $cell 0
	done
	run -3 --separate-stderr timeout 20 vmrun --restore "$W/4.vms" --trust-paths --serial none
	[[ $stderr = *"root (not recorded)"*--disk-changed* ]]
	[[ $stderr != *data* ]]
	start_vm b --restore "$W/4.vms" --trust-paths --disk-changed=accept
	until_true 10 status_is b running
	vmrun ctl b quit
	wait_gone 10 "$VMPID"
	# one that is only read needs no record
	cp "$W/a.vms" "$W/0.vms"
	for cell in 0 1 2 3; do
		retree "$W/$cell.vms" "$W/$((cell + 1)).vms" /host/data digest $cell 0
	done
	start_vm c --restore "$W/4.vms" --trust-paths
	until_true 10 status_is c running
}

# stalled NAME BYTES [options]: a restore from a pipe that has brought BYTES of $W/a.vms and stays
# open, as descriptor 7. Its pid in $VMPID.
stalled() {
	local name=$1 bytes=$2
	shift 2
	rm -f "$W/pipe"
	mkfifo "$W/pipe"
	vmrun --restore - --name "$name" --uuid new --serial "unix:$W/$name.serial" "$@" \
		<"$W/pipe" >"$W/$name.log" 2>&1 3>&- &
	VMPID=$!
	PIDS+=("$VMPID")
	exec 7>"$W/pipe"
	head -c "$bytes" "$W/a.vms" >&7
}
# Nothing of it is left but the lock file, which says how it ended.
nothing_left() {
	[ ! -e "$W/run/$1.sock" ]
	[ ! -e "$W/$1.serial" ]
}
ended_with() {
	local rc=0
	until_true 20 not_alive "$VMPID"
	wait "$VMPID" || rc=$?
	[ "$rc" = "$1" ] || { echo "ended with $rc, not $1"; cat "$W"/*.log; return 1; }
}

@test "vmrun: a restore from a pipe that has stalled answers, shows restore-vm, refuses what needs the VM, and quits" {
	start_step a pages=64
	vmsnap -q a "$W/a.vms"
	stalled s $(($(stat -c %s "$W/a.vms") / 2))
	until_true 20 status_is s restore-vm
	vmrun ctl s query-status | jq -e '.running == false and .["vmferry-holders"] == ["restore"]'
	vmrun list --json | jq -e '.[] | select(.name == "s") | .status == "restore-vm"'
	for command in stop cont system_reset system_powerdown pulse inspect; do
		run -1 --separate-stderr vmrun ctl s $command
		[[ $stderr = *"VM restore in progress"* ]]
	done
	run --separate-stderr vmsnap s "$W/no.vms"
	[ "$status" -ne 0 ]
	[[ $stderr = *"logging lease"* || $stderr = *"lease"* ]]
	[[ $stderr = *"VM restore in progress"* ]]
	[ ! -e "$W/no.vms" ]
	vmrun ctl s quit
	ended_with 0
	nothing_left s
	status_is a running
	exec 7>&-
}

@test "vmrun: signals end a restore that has stalled at once, wherever it was, and nothing is left" {
	start_step a pages=64
	vmsnap -q a "$W/a.vms"
	for signal in INT:130 TERM:143 HUP:129; do
		stalled s $(($(stat -c %s "$W/a.vms") / 2))
		until_true 20 status_is s restore-vm
		kill -"${signal%:*}" "$VMPID"
		ended_with "${signal#*:}"
		nothing_left s
		exec 7>&-
	done
	# in the middle of the header there is no VM yet
	stalled s 100
	until_true 20 [ -e "/proc/$VMPID/fd/3" ]
	kill -TERM "$VMPID"
	ended_with 143
	nothing_left s
	exec 7>&-
}

@test "vmrun: a restore from a pipe runs when END has come, also when the pipe stays open" {
	start_step a "pages=64 tick=1000 pace=20"
	vmsnap -q a "$W/a.vms"
	half=$(($(stat -c %s "$W/a.vms") / 2))
	stalled s "$half"
	until_true 20 status_is s restore-vm
	tail -c +$((half + 1)) "$W/a.vms" >&7
	vmrun ctl s wait RESUME timeout=20
	status_is s running
	vmrun ctl s quit
	ended_with 0
	# and is refused when the rest is damaged
	stalled t "$half" --paused
	until_true 20 status_is t restore-vm
	# it may be gone before it has all
	tail -c +$((half + 1)) "$W/a.vms" | tr '\0' '\1' >&7 || true
	ended_with 3
	nothing_left t
	[ "$(wc -l <"$W/t.log")" = 1 ]
	exec 7>&-
}

@test "vmrun: a disk that has moved on is refused, --disk-changed=accept takes it" {
	snapshot_with_everything
	printf x | dd of="$W/root.img" bs=1 seek=70000 conv=notrunc status=none
	run -3 --separate-stderr vmrun --restore "$W/a.vms" --serial none
	[[ $stderr = *root*--disk-changed* ]]
	start_vm a --restore "$W/a.vms" --disk-changed=accept
	status_is a running
}

@test "vmrun: a snapshot that was cut, and one bit of which was flipped, are refused before anything runs" {
	start_step a pages=64
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	size=$(stat -c %s "$W/a.vms")
	for n in 0 100 4096 $((size / 2)) $((size - 1)); do
		head -c "$n" "$W/a.vms" >"$W/cut.vms"
		run -3 --separate-stderr vmrun --restore "$W/cut.vms" --serial "file:$W/cut.out"
		[ "${#stderr_lines[@]}" = 1 ]
	done
	cp "$W/a.vms" "$W/flip.vms"
	chmod 0644 "$W/flip.vms"
	flip_bit "$W/flip.vms" $((size - 3)) 2
	run -3 vmrun --restore "$W/flip.vms" --serial "file:$W/cut.out"
	[ ! -s "$W/cut.out" ]
	[ -z "$(find "$W/run" -name '*.sock')" ]
}

@test "vmrun: pulse leaves a running guest as it was, again and again, with 1 and 4 harts" {
	for n in 1 4; do
		start_step "p$n" "pages=1024 tick=20000" --cpus "$n"
		for _ in 1 2 3 4 5 6 7 8; do vmrun ctl "p$n" pulse; done
		until_true 20 tick_above "$W/p$n.out" "$(last_tick "$W/p$n.out")"
		vmsnap -q "p$n" "$W/p$n.vms"
		stepcheck "$W/p$n.vms"
		vmrun ctl "p$n" quit
		wait_gone 10 "$VMPID"
	done
}

@test "vmrun: pulse finds a field that is not restored, names it, and the guest runs on unhurt" {
	PATH=$FAULTS_BUILD/bin:$PATH
	for field in "${STATE[@]::2}" clock.guest_ns; do
		export VMFERRY_FAULT=state.skip.$field=hit
		start_step f "pages=1024 tick=20000"
		run -1 --separate-stderr vmrun ctl f pulse
		[[ $stderr = *"$field"*before*after* ]]
		until_true 20 tick_above "$W/f.out" "$(last_tick "$W/f.out")"
		run -1 grep -q BAD "$W/f.out"
		vmrun ctl f quit
		wait_gone 10 "$VMPID"
	done
}

@test "vmrun: --paused waits, a restored --paused VM shows paused, cont runs it" {
	start_vm a --kernel "$STEP" --append "pages=64 tick=20000" --memory 64M --paused
	status_is a prelaunch
	[ ! -s "$W/a.out" ]
	vmrun ctl a cont
	wait_line 20 'step guest' "$W/a.out"
	vmsnap -q a "$W/a.vms"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	start_vm b --restore "$W/a.vms" --paused
	status_is b paused
	vmrun ctl b cont
	until_true 20 tick_above "$W/b.out" 0
}

@test "vmrun: a VM that its user had stopped is restored stopped, cont or --cont runs it" {
	start_vm a --kernel "$STEP" --append "pages=64 tick=20000" --memory 64M
	wait_line 20 'step guest' "$W/a.out"
	vmsnap -q a "$W/running.vms"
	vmrun ctl a stop
	vmsnap -q a "$W/stopped.vms"
	status_is a paused
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	[ "$(vminspect info --json "$W/running.vms" | jq .machine.stopped)" = false ]
	[ "$(vminspect info --json "$W/stopped.vms" | jq .machine.stopped)" = true ]
	vminspect info "$W/stopped.vms" | grep -q 'stopped by the user'

	start_vm b --restore "$W/stopped.vms"
	status_is b paused
	vmrun ctl b query-status | jq -e '."vmferry-holders" == ["user"]'
	grep -q "b: restored paused, as it was saved.*'vmrun ctl b cont'.*--cont" "$W/b.log"
	vmsnap -q b "$W/again.vms"
	[ "$(vminspect info --json "$W/again.vms" | jq .machine.stopped)" = true ]
	vmrun ctl b cont
	until_true 20 tick_above "$W/b.out" 0
	start_vm c --restore "$W/stopped.vms" --uuid 12345678-1234-1234-1234-123456789abc --cont
	status_is c running
	until_true 20 tick_above "$W/c.out" 0
	start_vm d --restore "$W/running.vms" --uuid 12345678-1234-1234-1234-123456789abd
	status_is d running
}

@test "vmrun: the terminal is raw while it runs and put back on every exit, SIGQUIT and SIGABRT included" {
	python3 - "$STEP" <<-'END'
	import os, pty, select, signal, subprocess, sys, termios
	def life(act):
	    master, slave = pty.openpty()
	    before = termios.tcgetattr(slave)
	    p = subprocess.Popen(['vmrun', '--name', 't', '--kernel', sys.argv[1],
	                          '--append', 'pages=64', '--memory', '64M'],
	                         stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
	    text = b''
	    while b'step guest' not in text:
	        if not select.select([master], [], [], 30)[0]:
	            raise SystemExit('silent')
	        text += os.read(master, 4096)
	    raw = termios.tcgetattr(slave) != before
	    act(p, master)
	    status = p.wait(20)
	    assert raw and termios.tcgetattr(slave) == before, (status, raw)
	    return status
	def ask(p, m):
	    os.write(m, b'\x01h')
	    text = b''
	    while b'send Ctrl-a\r\n' not in text and b'send Ctrl-a\r\r' not in text:
	        assert select.select([m], [], [], 30)[0], text
	        text += os.read(m, 4096)
	    # The guest may still be printing: what follows the help is its own.
	    help = text[text.index(b'Ctrl-a h'):]
	    help = help[:help.index(b'send Ctrl-a') + len(b'send Ctrl-a\r\n')]
	    assert help.count(b'\r\n') == 3 and b'\r\r' not in help, help
	    os.write(m, b'\x01x')
	assert life(ask) == 0
	assert life(lambda p, m: os.write(m, b'\x01x')) == 0
	assert life(lambda p, m: os.write(m, b'q')) == 0
	for s, status in (signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129):
	    got = life(lambda p, m: p.send_signal(s))
	    assert got == status, (s, got)
	import resource
	resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
	for s in signal.SIGQUIT, signal.SIGABRT:
	    got = life(lambda p, m: p.send_signal(s))
	    assert got == -s, (s, got)
	END
}

@test "vmrun: Ctrl-a x ends a restore that has stalled, also when something else was typed before" {
	start_step a pages=64
	vmsnap -q a "$W/a.vms"
	mkfifo "$W/pipe"
	exec 7<>"$W/pipe"
	head -c $(($(stat -c %s "$W/a.vms") / 2)) "$W/a.vms" >&7 &
	python3 - "$W/pipe" <<-'END'
	import fcntl, os, pty, subprocess, sys, termios, time
	master, slave = pty.openpty()
	p = subprocess.Popen(['vmrun', '--restore', sys.argv[1], '--name', 's', '--uuid', 'new',
	                      '--serial', 'stdio'], stdin=slave, stdout=slave, stderr=slave,
	                     start_new_session=True)
	def until(what):
	    end = time.monotonic() + 30
	    while not what():
	        assert p.poll() is None and time.monotonic() < end
	        time.sleep(0.02)
	def loading():
	    done = subprocess.run(['vmrun', 'ctl', 's', 'query-status'], capture_output=True)
	    return b'restore-vm' in done.stdout
	until(loading)
	os.write(master, b'hello, is anybody there?')
	until(lambda: fcntl.ioctl(slave, termios.FIONREAD, bytes(4)) == bytes(4))
	os.write(master, b'\x01x')
	try:
	    sys.exit(p.wait(20))
	finally:
	    p.kill()
	END
	exec 7>&-
}

@test "vmrun: memory larger than the host's, of a snapshot or a peer, is refused unless --overcommit is given" {
	mib=$(awk '/^(MemTotal|SwapTotal):/ { kib += $2 } END { print int(kib / 1024) + 1024 }' \
		/proc/meminfo)
	mksnap --ram "$mib" "$W/big.vms"
	vminspect tree --config --dtb "$W/big.dtb" "$W/big.vms"
	for how in "--restore $W/big.vms" "--incoming $W/big.dtb"; do
		# shellcheck disable=SC2086 # two words
		run -3 --separate-stderr vmrun --accel soft $how
		[[ "$stderr" == "vmrun: ${how#* }: memory of $mib MiB exceeds the limit of "*" MiB (memory and swap of this host): use --overcommit" ]]
		# the next reason to refuse it is another
		# shellcheck disable=SC2086
		run -3 --separate-stderr vmrun --accel soft $how --overcommit
		[[ "$stderr" == *"--disk root=PATH"* && "$stderr" != *overcommit* ]]
	done
	run -2 --separate-stderr vmrun --kernel "$STEP" --overcommit
	[[ "$stderr" == *"--overcommit requires --restore or --incoming" ]]
}

@test "vmrun: a compressed snapshot is refused, and the pipe that restores it is named" {
	cd "$W"
	mksnap --level 0 a.vms
	for tool in zstd gzip xz; do
		$tool -c a.vms >"a.$tool"
		run -3 --separate-stderr vmrun --restore "a.$tool"
		[ "$stderr" = "vmrun: a.$tool: compressed with $tool: use $tool -dc a.$tool | vmrun --restore -" ]
		run -3 --separate-stderr vmrun --restore - <"a.$tool"
		[ "$stderr" = \
			"vmrun: -: compressed with $tool: use $tool -dc FILE | vmrun --restore -" ]
		# less than a header, too
		echo | $tool -c >"short.$tool"
		run -3 --separate-stderr vmrun --restore "short.$tool"
		[[ "$stderr" == *"compressed with $tool"* ]]
	done
}
