# SPDX-License-Identifier: MIT
# vmsnap --layout flat: a save whose pages are written at their places, each round over the last.
load ../lib/vm

setup() {
	vm_setup
	VMSREAD=$TOP/tests/format/vmsread.py
	export PYTHONDONTWRITEBYTECODE=1
	mkdir "$W/out"
}
teardown() {
	vm_teardown_processes
	[ -z "${MOUNTED:-}" ] || umount "$MOUNTED"
	vm_teardown
}

field() { jq -r "select(.event == \"report\") | .$2" "$1"; }
digests() { vminspect verify --json "$1" | jq -c '[.memory, .machine]'; }
allocated() { echo $(($(stat -c '%b * %B' "$1"))); }
free() { stat -f -c '%a %S' "$W/out" | awk '{ print $1 * $2 }'; }
runs_on() { local n; n=$(last_tick "$W/$1.out"); until_true 20 tick_above "$W/$1.out" "$n"; }
nothing_out() { [ -z "$(ls -A "$W/out")" ]; }

# bats file_tags=accel

@test "vmsnap --layout flat: a paused VM has the same memory and machine in both layouts, to every reader" {
	start_step a "pages=1024 tick=100"
	wait_line 20 'tick 1$' "$W/a.out"
	vmrun ctl a stop
	vmsnap -q a "$W/c.vms"
	vmsnap -q --layout flat a "$W/f.vms"
	vmsnap -q --layout=flat a - >"$W/g.vms"
	vmsnap -q --layout flat --max-rounds 0 --pause-buffer 0 a "$W/h.vms"
	for f in f g h; do
		[ "$(digests "$W/$f.vms")" = "$(digests "$W/c.vms")" ]
		"$VMSREAD" "$W/$f.vms" | jq -e '.header.incomplete == false' >/dev/null
		stepcheck "$W/$f.vms"
		[ "$(stat -c %s "$W/$f.vms")" -gt $((64 << 20)) ]
	done
	status_is a paused
	# From a pipe, and as a chunked one.
	cat "$W/f.vms" | vminspect verify
	vmsnap convert -q "$W/f.vms" "$W/d.vms"
	stepcheck "$W/d.vms"
}

@test "vmsnap --layout flat: it is as large after many rounds as after one, and takes the space of what is used" {
	start_step a "pages=4096 tick=10000" --memory 1G
	wait_line 20 'tick 1$' "$W/a.out"
	vmsnap --layout flat --max-rounds 6 --max-downtime 0 --progress=json a "$W/f.vms" \
		2>"$W/f.err"
	# A slow guest may have written nothing by the end of one, which then is the last.
	[ "${VMFERRY_ACCEL:-}" = kvm ] || [ "$(field "$W/f.err" rounds)" -ge 3 ]
	stepcheck "$W/f.vms"
	vminspect verify "$W/f.vms"
	[ "$(stat -c %s "$W/f.vms")" -gt $((1 << 30)) ]
	[ "$(allocated "$W/f.vms")" -lt $(($(field "$W/f.err" present_pages) * 4096 + (2 << 20))) ]
	runs_on a
	vmrun ctl a stop
	vmsnap -q --layout flat a "$W/g.vms"
	[ "$(($(stat -c %s "$W/f.vms") - $(stat -c %s "$W/g.vms")))" -lt 1000000 ]
}

@test "vmsnap --layout flat: it is restored, from a file and a pipe, and the guest goes on where it was" {
	start_step a "pages=1024 tick=100 pace=10"
	wait_line 20 'tick 3$' "$W/a.out"
	vmsnap -q --layout flat --stop-after a "$W/f.vms"
	wait_gone 10 "$VMPID"
	last=$(last_tick "$W/a.out")
	start_vm b --restore "$W/f.vms"
	until_true 20 tick_above "$W/b.out" "$last"
	run -1 grep 'step guest' "$W/b.out"
	vmsnap -q --layout flat b "$W/g.vms"
	stepcheck "$W/g.vms"
	vmrun ctl b quit
	start_vm_stdin c --restore - < <(cat "$W/f.vms")
	until_true 20 tick_above "$W/c.out" "$last"
}

@test "vmsnap --layout flat: with images, before the memory" {
	cp "$STEP" "$W/kernel"
	start_vm a --kernel "$W/kernel" --append "pages=64 pace=100" --memory 64M
	wait_line 20 'step guest' "$W/a.out"
	vmsnap --layout flat --with-images --progress=json a "$W/f.vms" 2>"$W/f.err"
	[ "$(field "$W/f.err" images)" = 1 ]
	vminspect verify "$W/f.vms"
	"$VMSREAD" --image kernel "$W/f.vms" | cmp - "$W/kernel"
	"$VMSREAD" --directory "$W/f.vms" | jq -e '[.[].type] | index(3) < index(15)'
}

@test "vmsnap --layout flat: only an empty file will do, which is said before the VM is asked for anything" {
	start_step a "pages=64 pace=100"
	message="standard output: --layout flat requires an empty file; specify FILE, or use --layout chunked"
	echo mine >"$W/mine"
	for out in "| cat" ">>'$W/mine'" "1<>'$W/mine'" ">/dev/null" ">>'$W/empty'"; do
		run -2 --separate-stderr bash -c "set -o pipefail; vmsnap --layout flat a $out"
		[ "$stderr" = "vmsnap: $message" ]
	done
	[ "$(cat "$W/mine")" = mine ]
	for with in --compress --state-only; do
		run -2 --separate-stderr vmsnap --layout flat $with a "$W/out/f.vms"
		[ "${stderr_lines[0]}" = "vmsnap: --layout flat and $with are mutually exclusive" ]
	done
	nothing_out
	vmrun ctl a events | jq -e '.seq <= 1'
	vmsnap -q --layout flat a >"$W/f.vms"
	vminspect verify "$W/f.vms"
}

@test "vmsnap --layout flat: a file system that is too small is said before anything is written; rounds need no more than the first" {
	need_root
	mount -t tmpfs -o size=12m none "$W/out" || skip "not root enough to mount a tmpfs"
	MOUNTED=$W/out
	start_step a "pages=4096 tick=10000"
	wait_line 20 'tick 1$' "$W/a.out"
	was=$(free)
	run -1 --separate-stderr vmsnap --layout flat a "$W/out/f.vms"
	[[ $stderr == "vmsnap: $W/out/f.vms: No space left on device: up to "*" MiB needed, "*" of it reserved; free up space, or use --layout chunked with --compress" ]]
	[ "$(free)" = "$was" ]
	nothing_out
	runs_on a
	# Memory has 16 MiB, of which all is written in each round.
	mount -o remount,size=25m "$W/out"
	vmsnap --layout flat --max-rounds 5 --max-downtime 0 --progress=json a "$W/out/f.vms" \
		2>"$W/f.err"
	[ "${VMFERRY_ACCEL:-}" = kvm ] || [ "$(field "$W/f.err" rounds)" = 5 ]
	stepcheck "$W/out/f.vms"
	runs_on a
}

@test "vmsnap --layout flat: interrupted or killed at any point nothing has the name, and the VM runs on" {
	start_step a "pages=4096 tick=1000"
	wait_line 20 'tick 5$' "$W/a.out"
	for sig in INT KILL; do
		for point in round paused resumed before-publish; do
			rm -f "$W/at"
			VMFERRY_FAULT=vmsnap.$point=wait:$W/at env --default-signal=INT \
				"$FAULTS_BUILD/bin/vmsnap" --layout flat a "$W/out/f.vms" \
				2>/dev/null 3>&- &
			pid=$!
			until_true 20 test -e "$W/at"
			kill -$sig $pid
			rc=0
			wait $pid || rc=$?
			[ $rc = $((128 + $(kill -l $sig))) ]
			nothing_out
			runs_on a
		done
	done
	vmsnap -q --layout flat a "$W/out/f.vms"
	stepcheck "$W/out/f.vms"
}
