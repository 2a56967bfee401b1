# SPDX-License-Identifier: MIT
# vmsnap when things go wrong: the VM is unhurt, nothing incomplete has the final name,
# the next save is right. Random moments are seeded: SEED=N repeats a run.
load ../lib/vm

setup() {
	vm_setup
	READER=$TOP/tests/vmsnap/reader.py
	SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
	echo "# SEED=$SEED" >&2
	RANDOM=$SEED
	mkdir "$W/out"
}
teardown() {
	[ -z "${MOUNTED:-}" ] || umount "$MOUNTED"
	vm_teardown
}

# Job control gives background commands of a script an ignored SIGINT.
vmsnap_signals() { exec env --default-signal=INT,TERM,HUP vmsnap "$@"; }

guest() { start_step a "pages=4096 tick=1000" && wait_line 20 'tick 5$' "$W/a.out"; }

lease_free() { [ "$(vmrun ctl a query-status | jq '."vmferry-lease"')" = null ]; }

# The VM runs on, and a save that nobody disturbs is right; out/ holds complete files only.
unhurt() {
	local n f
	n=$(last_tick "$W/a.out")
	until_true 20 tick_above "$W/a.out" "$n"
	status_is a running
	for f in "$W"/out/* "$W"/out/.[!.]*; do
		[ -e "$f" ] || continue
		[ "${f##*/}" = a.vms ] || { echo "left behind: $f"; return 1; }
		vminspect verify "$f" || return 1
	done
	rm -f "$W/out/a.vms"
	until_true 10 lease_free      # that of one that was killed may take a moment to go
	vmsnap --quiet a "$W/next.vms" || return 1
	stepcheck "$W/next.vms" >"$W/next.txt" || { cat "$W/next.txt"; return 1; }
	rm -f "$W/next.vms"
}

# bats file_tags=slow,accel

@test "vmsnap: kill -9 at random moments hurts nothing" {
	guest
	for i in $(seq 12); do
		vmsnap --quiet a "$W/out/a.vms" 3>&- &
		pid=$!
		command sleep "0.$(printf %03d $((RANDOM % 150)))"
		kill -9 $pid 2>/dev/null || true
		wait $pid || true
		unhurt || { echo "SEED=$SEED, turn $i"; return 1; }
	done
}

@test "vmsnap: SIGINT and SIGTERM at random moments hurt nothing and end with 128+n, or come too late" {
	guest
	for i in $(seq 12); do
		sig=$([ $((i % 2)) = 0 ] && echo INT || echo TERM)
		vmsnap_signals a "$W/out/a.vms" 2>"$W/err" 3>&- &
		pid=$!
		command sleep "0.$(printf %03d $((RANDOM % 150)))"
		kill "-$sig" "$pid" 2>/dev/null || true
		rc=0
		wait $pid || rc=$?
		echo "turn $i: $sig: $rc: $(cat "$W/err")"
		case $rc in
		0) [ -e "$W/out/a.vms" ] ;;
		130 | 143) [ ! -e "$W/out/a.vms" ] ;;
		*) echo "SEED=$SEED, turn $i"; return 1 ;;
		esac
		unhurt || { echo "SEED=$SEED, turn $i"; return 1; }
	done
}

@test "vmsnap: a signal is heard while the reader of the pipe has stalled" {
	guest
	mkfifo "$W/pipe"
	for sig in INT TERM; do
		"$READER" hold "$W/half" "$W/held" <"$W/pipe" 3>&- &
		reader=$!
		vmsnap_signals a >"$W/pipe" 2>"$W/err" 3>&- &
		pid=$!
		until_true 20 test -e "$W/held"
		until_true 20 grep -q pipe "/proc/$pid/task/$pid/wchan" || true
		kill "-$sig" "$pid"
		rc=0
		wait $pid || rc=$?
		[ "$rc" = "$([ $sig = INT ] && echo 130 || echo 143)" ]
		said="vmsnap: interrupted by SIG$sig: no snapshot saved, the VM continues"
		grep -qx "$said" "$W/err"
		[ "$(wc -l <"$W/err")" = 1 ]
		rm "$W/held"
		wait $reader
		run -3 vminspect verify "$W/half"
		unhurt
	done
}

# Flags of a file's open file description, as octal digits.
flags_of() { awk '/^flags/ { print $2 }' "/proc/self/fdinfo/$1"; }

@test "vmsnap: a redirected standard output has its flags and its offset when vmsnap is interrupted, killed, or done" {
	guest
	for how in INT KILL none; do
		exec 8>"$W/shared"
		before=$(flags_of 8)
		VMFERRY_FAULT=vmsnap.paused=wait:$W/at env --default-signal=INT \
			"$FAULTS_BUILD/bin/vmsnap" -q a >&8 3>&- &
		pid=$!
		until_true 20 test -e "$W/at"
		[ "$(flags_of 8)" = "$before" ]
		case $how in
		none) rm "$W/at" ;;
		*) kill -$how $pid ;;
		esac
		wait $pid || [ $how != none ]
		rm -f "$W/at"
		[ "$(flags_of 8)" = "$before" ]
		size=$(stat -c %s "$W/shared")
		[ "$size" -gt 1000000 ]
		pos=$(awk '/^pos/ { print $2 }' /proc/self/fdinfo/8)
		# Killed within a write of at most 1 MiB it leaves a gap, and nothing is lost.
		[ "$pos" -ge "$size" ] && [ "$pos" -le $((size + (1 << 20))) ]
		[ $how != none ] || [ "$pos" = "$size" ]
		echo odd >&8      # and so the next one may write
		[ "$(tail -n 1 "$W/shared" | tail -c 4)" = odd ]
		exec 8>&-
		[ $how != none ] || {
			truncate -s "$size" "$W/shared"
			vminspect verify "$W/shared"
		}
	done
	unhurt
}

@test "vmsnap: killed at each of its fault points, the VM runs on and what has the name is complete" {
	guest
	for point in round paused resumed before-publish published before-commit; do
		rc=0
		VMFERRY_FAULT=vmsnap.$point=kill "$FAULTS_BUILD/bin/vmsnap" a "$W/out/a.vms" \
			2>/dev/null || rc=$?
		[ $rc = 137 ]
		case $point in
		published | before-commit) [ -e "$W/out/a.vms" ] ;;
		*) [ ! -e "$W/out/a.vms" ] ;;
		esac
		unhurt || { echo "at $point"; return 1; }
	done
}

@test "vmsnap: interrupted at each of its fault points: before the rename nothing is there, after it the save is done" {
	guest
	for point in round paused resumed before-publish published before-commit; do
		rm -f "$W/at"
		VMFERRY_FAULT=vmsnap.$point=wait:$W/at env --default-signal=INT \
			"$FAULTS_BUILD/bin/vmsnap" a "$W/out/a.vms" 2>"$W/err" 3>&- &
		pid=$!
		until_true 20 test -e "$W/at"
		kill -INT $pid
		case $point in
		published | before-commit) rm "$W/at"; wait $pid; [ -e "$W/out/a.vms" ] ;;
		*) rc=0; wait $pid || rc=$?; [ $rc = 130 ]; [ ! -e "$W/out/a.vms" ] ;;
		esac
		unhurt || { echo "at $point"; return 1; }
	done
}

@test "vmsnap: an index that would be too long ends the save with 3 before the VM is paused" {
	guest
	VMFERRY_FAULT=format.index-limit=hit run -3 --separate-stderr "$FAULTS_BUILD/bin/vmsnap" a \
		"$W/out/a.vms"
	[[ $stderr == "vmsnap: index exceeds 4 runs: "* ]]
	vmrun ctl a events | jq -e 'all(.events[]; .event != "STOP")'
	vmrun ctl a events | jq -e '.seq == 1'      # it was started, and that is all
	unhurt
}

@test "vmsnap: a full disk is said, leaves nothing, and the VM runs on" {
	need_root
	mount -t tmpfs -o size=4m none "$W/out" || skip "not root enough to mount a tmpfs"
	MOUNTED=$W/out
	guest
	run -1 --separate-stderr vmsnap a "$W/out/a.vms"
	[[ $stderr == "vmsnap: $W/out/a.vms: No space left on device: "* ]]
	[ -z "$(ls -A "$W/out")" ]
	# the blocks are free again
	[ "$(stat -f -c '%b %f' "$W/out" | awk '{ print $1 - $2 }')" -le 4 ]
	unhurt
}

@test "vmsnap: a full device and a limit on file size are said, and the VM runs on" {
	guest
	run -1 --separate-stderr bash -c 'vmsnap a >/dev/full'
	[ "$stderr" = "vmsnap: standard output: write: No space left on device" ]
	unhurt
	run -1 --separate-stderr bash -c "ulimit -f 1000; vmsnap a '$W/out/a.vms'"
	[ "$stderr" = "vmsnap: $W/out/a.vms: write: File too large" ]
	unhurt
}

@test "vmsnap: a reader that goes away at random places is said, and the VM runs on" {
	guest
	for i in $(seq 8); do
		bytes=$((RANDOM * 500 % 16000000))
		set +e
		vmsnap a 2>"$W/err" | head -c $bytes >/dev/null
		first=${PIPESTATUS[0]}
		set -e
		echo "turn $i: $bytes bytes: $first: $(cat "$W/err")"
		[ "$first" = 1 ]
		[ "$(cat "$W/err")" = "vmsnap: standard output: write: Broken pipe" ]
		unhurt || { echo "SEED=$SEED, turn $i"; return 1; }
	done
}

@test "vmsnap: a VM that dies while it is saved is told from one that does not answer: 6 and 4" {
	guest
	for point in round paused resumed; do
		rm -f "$W/at"
		VMFERRY_FAULT=vmsnap.$point=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" a "$W/out/a.vms" \
			2>"$W/err" 3>&- &
		pid=$!
		until_true 20 test -e "$W/at"
		kill -9 "$VMPID"
		wait_gone 10 "$VMPID"
		rm "$W/at"
		rc=0
		wait $pid || rc=$?
		[ $rc = 6 ]
		[ "$(cat "$W/err")" = "vmsnap: a: lease lost: the VM has ended: vmrun died" ]
		[ -z "$(ls -A "$W/out")" ]
		guest
	done
	# Nobody there: its socket has been left behind.
	kill -9 "$VMPID"
	wait_gone 10 "$VMPID"
	run -4 --separate-stderr vmsnap a "$W/out/b.vms"
	[[ "$stderr" == *"no running VM 'a': stale socket "* ]]
}

@test "vmsnap: too few descriptors are an error of this host, 1, wherever they run out" {
	guest
	local few=0
	for n in $(seq 5 16); do
		rc=0
		(ulimit -n "$n"; exec vmsnap --quiet --force a "$W/out/a.vms") 2>"$W/err" || rc=$?
		echo "$n: $rc: $(cat "$W/err")"
		case $rc in
		0 | 127) continue ;;      # enough; too few for the program to be loaded
		esac
		[ $rc = 1 ]
		[[ "$(cat "$W/err")" == *": Too many open files" ]]
		few=$((few + 1))
		unhurt
	done
	[ $few -ge 3 ]
}

@test "vmsnap: a second save of a VM is refused with 4 and told who holds it" {
	guest
	mkfifo "$W/pipe"
	"$READER" hold "$W/one.vms" "$W/held" <"$W/pipe" 3>&- &
	reader=$!
	vmsnap a >"$W/pipe" 2>/dev/null 3>&- &
	pid=$!
	until_true 20 test -e "$W/held"
	run -4 --separate-stderr vmsnap a "$W/out/a.vms"
	[[ "$stderr" == *"vmsnap[$pid]"* ]]
	rm "$W/held"
	wait $pid
	wait $reader
	stepcheck "$W/one.vms"
	unhurt
}

@test "vmsnap: a VM that ends while it is saved ends the save with 6 and its reason, and leaves no file" {
	guest
	VMFERRY_FAULT=vmsnap.round=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" a "$W/out/a.vms" \
		2>"$W/err" 3>&- &
	pid=$!
	until_true 20 test -e "$W/at"
	vmrun ctl a quit
	rm "$W/at"
	rc=0
	wait $pid || rc=$?
	cat "$W/err"
	[ $rc = 6 ]
	grep -q 'lease lost: ' "$W/err"
	[ -z "$(ls -A "$W/out")" ]
}

@test "vmsnap: a vmrun that is killed while it is saved ends the save with 6, and leaves no file" {
	guest
	VMFERRY_FAULT=vmsnap.round=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" a "$W/out/a.vms" \
		2>"$W/err" 3>&- &
	pid=$!
	until_true 20 test -e "$W/at"
	kill -9 "$VMPID"
	rm "$W/at"
	rc=0
	wait $pid || rc=$?
	cat "$W/err"
	[ $rc = 6 ]
	[ -z "$(ls -A "$W/out")" ]
}

@test "vmsnap: a pause that outlasts its deadline is taken back: the VM runs on, the save fails with 4" {
	guest
	VMFERRY_FAULT=vmsnap.paused=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" --pause-deadline 300ms a \
		"$W/out/a.vms" 2>"$W/err" 3>&- &
	pid=$!
	until_true 20 test -e "$W/at"
	n=$(last_tick "$W/a.out")
	# while vmsnap still believes that it is paused
	until_true 20 tick_above "$W/a.out" "$n"
	rm "$W/at"
	rc=0
	wait $pid || rc=$?
	cat "$W/err"
	[ $rc = 4 ]
	grep -q 'lease lost: ' "$W/err"
	unhurt
}

# The lease of a save that waits at $W/at is revoked at its deadline; the VM has run on when this
# returns.
lease_lost() { vmrun ctl a inspect | jq -e 'any(.leases[]; .lost)' >/dev/null; }
loses_its_lease() {
	until_true 20 test -e "$W/at"
	until_true 20 lease_lost
	n=$(last_tick "$W/a.out")
	until_true 20 tick_above "$W/a.out" "$n"
	rm "$W/at"
}

@test "vmsnap --stop-after to a pipe: a lease that is lost while memory is copied is never followed by END" {
	guest
	mkfifo "$W/pipe"
	"$READER" hold "$W/half.vms" "$W/at" <"$W/pipe" 3>&- &
	reader=$!
	# All memory is written while the VM is paused, and nobody reads.
	vmsnap --stop-after --max-rounds 0 --pause-buffer 0 --pause-deadline 300ms a >"$W/pipe" \
		2>"$W/err" 3>&- &
	pid=$!
	loses_its_lease
	rc=0
	wait $pid || rc=$?
	cat "$W/err"
	[ $rc = 4 ]
	grep -q 'lease lost: .*deadline' "$W/err"
	wait $reader
	run -3 vminspect verify "$W/half.vms"
	unhurt
}

@test "vmsnap to a pipe: the lease is confirmed before END is written, whatever comes of it" {
	guest
	for how in --quiet --stop-after --state-only; do
		VMFERRY_FAULT=vmsnap.paused=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" $how \
			--pause-deadline 1s a >"$W/half.vms" 2>"$W/err" 3>&- &
		pid=$!
		loses_its_lease
		rc=0
		wait $pid || rc=$?
		[ $rc = 4 ]
		run -3 vminspect verify "$W/half.vms"
		unhurt
	done
}

@test "vmsnap --stop-after: a VM that ran on because the lease was lost is not ended, and the save ends with 4" {
	guest
	for point in paused before-publish published before-commit committed; do
		VMFERRY_FAULT=vmsnap.$point=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" \
			--stop-after --pause-deadline 2s a "$W/out/a.vms" 2>"$W/err" 3>&- &
		pid=$!
		loses_its_lease
		rc=0
		wait $pid || rc=$?
		echo "at $point: $rc: $(cat "$W/err")"
		[ $rc = 4 ]
		grep -q 'lease lost: .*deadline' "$W/err"
		case $point in
		paused | before-publish) [ ! -e "$W/out/a.vms" ] ;;
		*)
			said="vmsnap: $W/out/a.vms: snapshot complete, but the VM was not stopped: "
			grep -q "^$said" "$W/err"
			stepcheck "$W/out/a.vms" ;;
		esac
		unhurt || { echo "at $point"; return 1; }
	done
}

@test "vmsnap --stop-after: a VM that somebody else ends in the pause has stopped where it was saved" {
	guest
	VMFERRY_FAULT=vmsnap.published=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" --stop-after a \
		"$W/out/a.vms" 2>"$W/err" 3>&- &
	pid=$!
	until_true 20 test -e "$W/at"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	rm "$W/at"
	wait $pid
	stepcheck "$W/out/a.vms"
}

@test "vmsnap --stop-after: when the file can't get its name the VM runs on" {
	guest
	VMFERRY_FAULT=vmsnap.before-publish=wait:$W/at "$FAULTS_BUILD/bin/vmsnap" --stop-after a \
		"$W/out/a.vms" 2>"$W/err" 3>&- &
	pid=$!
	until_true 20 test -e "$W/at"
	status_is a save-vm
	echo first >"$W/out/a.vms"
	rm "$W/at"
	rc=0
	wait $pid || rc=$?
	[ $rc = 1 ]
	[ "$(cat "$W/err")" = "vmsnap: $W/out/a.vms: already exists; use --force to overwrite" ]
	[ "$(cat "$W/out/a.vms")" = first ]
	rm "$W/out/a.vms"
	unhurt
}

@test "vmsnap --stop-after: killed in the pause, the VM runs on; what was published is complete" {
	guest
	for point in paused before-publish published before-commit; do
		VMFERRY_FAULT=vmsnap.$point=kill "$FAULTS_BUILD/bin/vmsnap" --stop-after a \
			"$W/out/a.vms" 2>/dev/null || true
		case $point in
		paused | before-publish) [ ! -e "$W/out/a.vms" ] ;;
		*) stepcheck "$W/out/a.vms" ;;
		esac
		unhurt
	done
}

@test "vmsnap: where files need a name from the start nothing stays but after kill -9, and that is hidden" {
	guest
	# Stands for a file system without O_TMPFILE.
	VMFERRY_FAULT=publish.no-tmpfile=hit "$FAULTS_BUILD/bin/vmsnap" a "$W/out/a.vms" 2>/dev/null
	unhurt
	for sig in INT TERM; do
		VMFERRY_FAULT=publish.no-tmpfile=hit,vmsnap.paused=wait:$W/at env \
			--default-signal=INT "$FAULTS_BUILD/bin/vmsnap" a "$W/out/a.vms" \
			2>/dev/null 3>&- &
		pid=$!
		until_true 20 test -e "$W/at"
		[ "$(find "$W/out" -name '.a.vms.*' | wc -l)" = 1 ]
		kill "-$sig" "$pid"
		wait $pid || true
		rm "$W/at"
		[ -z "$(ls -A "$W/out")" ]
		unhurt
	done
	VMFERRY_FAULT=publish.no-tmpfile=hit,vmsnap.paused=kill "$FAULTS_BUILD/bin/vmsnap" a \
		"$W/out/a.vms" 2>/dev/null || true
	[ ! -e "$W/out/a.vms" ]
	rm -f "$W"/out/.a.vms.*
	echo old >"$W/out/a.vms"
	VMFERRY_FAULT=publish.no-tmpfile=hit "$FAULTS_BUILD/bin/vmsnap" --force a "$W/out/a.vms" \
		2>/dev/null
	unhurt
}
