# SPDX-License-Identifier: MIT
# What comes back in from outside is hostile: damaged, cut short, or made to open other people's
# files.
load lib/vm

setup() { vm_setup; }
teardown() { vm_teardown; }

# bats file_tags=accel

# A small snapshot of an idle guest, in $W/a.vms. Arguments: vmrun options.
small_snapshot() {
	start_step a "pages=16 still=1" --memory 16M "$@"
	vmsnap a --stop-after "$W/a.vms" 2>/dev/null
	wait_gone 10 "$VMPID"
}

# bats test_tags=slow
@test "hostile: FLIPS seeded single-bit flips: each is found and placed by verify, each refused by vmrun --restore with 3" {
	small_snapshot
	# The readers are the same on both accelerators.
	[ "$ACCEL" = soft ] && flips=${FLIPS:-1000} || flips=${FLIPS:-100}
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
	python3 - "$W/a.vms" "$W/bad.vms" "$seed" "$flips" <<-'END'
	import random, subprocess, sys
	data = open(sys.argv[1], 'rb').read()
	rnd = random.Random(int(sys.argv[3]))
	for n in range(int(sys.argv[4])):
	    at, bit = rnd.randrange(len(data)), rnd.randrange(8)
	    bad = bytearray(data); bad[at] ^= 1 << bit
	    open(sys.argv[2], 'wb').write(bad)
	    for cmd in (['vminspect', 'verify', sys.argv[2]],
	                ['vmrun', '--name', 'bad', '--restore', sys.argv[2], '--trust-paths',
	                 '--serial', 'none']):
	        r = subprocess.run(cmd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
	                           timeout=60)
	        lines = r.stderr.strip().split('\n')
	        placed = cmd[0] != 'vminspect' or 'byte' in lines[0]
	        if r.returncode != 3 or len(lines) != 1 or not placed:
	            sys.exit(f'byte {at} bit {bit}: {cmd[0]} gave {r.returncode}: {r.stderr!r}')
	END
}

# bats test_tags=slow
@test "hostile: a file cut at every CUTS'th byte is refused, by verify and by --restore" {
	small_snapshot
	[ "$ACCEL" = soft ] && cuts=${CUTS:-100} || cuts=${CUTS:-1000}
	python3 - "$W/a.vms" "$W/bad.vms" "$cuts" <<-'END'
	import subprocess, sys
	data = open(sys.argv[1], 'rb').read()
	for n in range(0, len(data), int(sys.argv[3])):
	    open(sys.argv[2], 'wb').write(data[:n])
	    for cmd in (['vminspect', 'verify', sys.argv[2]],
	                ['vmrun', '--name', 'bad', '--restore', sys.argv[2], '--trust-paths',
	                 '--serial', 'none']):
	        r = subprocess.run(cmd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
	                           timeout=60)
	        if r.returncode != 3 or r.stderr.count('\n') != 1:
	            sys.exit(f'cut at {n}: {cmd[0]} gave {r.returncode}: {r.stderr!r}')
	END
}

@test "hostile: a snapshot of another host, from a pipe or a file of ours, opens none of the files it names, and says which" {
	# leaks are not to be found under ptrace
	export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
	truncate -s 1M "$W/secret"
	small_snapshot --disk "root=$W/secret"
	rm "$W/a.out"
	export VMFERRY_STATE_DIR=$W/elsewhere
	run -3 --separate-stderr strace -f -qq -e trace=openat,open,creat -o "$W/trace" \
		bash -c 'cat "$1" | vmrun --name b --restore -' - "$W/a.vms"
	[[ "$stderr" == *root* && "$stderr" == *console* ]]
	run -1 grep -E 'secret"|a\.out"|step[_a-z0-9]*\.elf"' "$W/trace"
	[ ! -e "$W/a.out" ]

	# one that curl or tar has made a file of ours is as foreign
	chmod 600 "$W/a.vms"
	run -3 --separate-stderr strace -f -qq -e trace=openat,open,creat -o "$W/trace" \
		timeout 20 vmrun --name b --restore "$W/a.vms"
	run -1 grep -E 'secret|a\.out|step[_a-z0-9]*\.elf' "$W/trace"

	# our own words open what we name, and nothing else
	truncate -s 1M "$W/mine"
	run -3 --separate-stderr bash \
		-c 'cat "$1" | vmrun --name b --restore - --disk "root=$2" --serial none' - \
		"$W/a.vms" "$W/mine"
	[[ "$stderr" == *root* ]]      # another disk than was saved: moved on
}

@test "hostile: an incoming tree that names other people's files opens none" {
	# leaks are not to be found under ptrace
	export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
	truncate -s 1M "$W/secret"
	small_snapshot --disk "root=$W/secret"
	vminspect tree --config --dtb "$W/a.dtb" "$W/a.vms"
	run -3 --separate-stderr strace -f -qq -e trace=openat,open,creat -o "$W/trace" vmrun \
		--name b --incoming - <"$W/a.dtb"
	[[ "$stderr" == *root* ]]
	run -1 grep -E 'secret' "$W/trace"
}

@test "hostile: random bytes, text and an ELF file are no snapshots: 3, one line, for both readers" {
	head -c 100000 /dev/urandom >"$W/random"
	echo "not a snapshot" >"$W/text"
	: >"$W/empty"
	for f in "$W/random" "$W/text" "$W/empty" "$STEP"; do
		run -3 --separate-stderr vminspect info "$f"
		[ "${#stderr_lines[@]}" -eq 1 ]
		run -3 --separate-stderr vmrun --name b --restore "$f"
		[ "${#stderr_lines[@]}" -eq 1 ]
	done
}

@test "hostile: a field that a planted bug forgets makes pulse fail and name device and field" {
	[ -x "$FAULTS_BUILD/bin/vmrun" ]
	export PATH="$FAULTS_BUILD/bin:$PATH"
	for point in "${STATE[@]:1}" clock.guest_ns; do
		name=${point#*.}
		VMFERRY_FAULT=state.skip.$point=hit start_step "$name" "pages=64 pace=1000"
		run -1 --separate-stderr vmrun ctl "$name" pulse
		echo "$point: $stderr"
		[[ "$stderr" == *"$point"* ]]
	done
}
