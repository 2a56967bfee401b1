# SPDX-License-Identifier: MIT
# vmsnap on a machine that runs: what a save costs the guest, and what it leaves.
load ../lib/vm

setup() {
	vm_setup
	READER=$TOP/tests/vmsnap/reader.py
}
teardown() {
	vm_teardown
	[ -z "${SHM:-}" ] || rm -rf "$SHM"
}

field() { jq -r "select(.event == \"report\") | .$2" "$1"; }
runs_on() { local n; n=$(last_tick "$W/$1.out"); until_true 20 tick_above "$W/$1.out" "$n"; }

# bats file_tags=accel

@test "vmsnap: while a slow pipe is fed the guest makes 1000 steps, 3 rounds are reported, a tenth at most is left to the pause" {
	start_step a "pages=4096 tick=4 pace=1000"
	wait_line 20 'tick 1$' "$W/a.out"
	before=$(last_tick "$W/a.out")
	# A tick is 4 steps, so 4 dirty pages; it pays for 16 pages of the pipe: each round has a
	# quarter of the last.
	vmsnap --progress=json a 2>"$W/a.err" | "$READER" pace "$W/a.vms" "$W/a.out" 65536
	after=$(last_tick "$W/a.out")
	cat "$W/a.err"
	echo "ticks $before to $after"
	[ $(((after - before) * 4)) -ge 1000 ]
	[ "$(field "$W/a.err" rounds)" -ge 3 ]
	[ "$(grep -c '"event": "round"' "$W/a.err")" = "$(field "$W/a.err" rounds)" ]
	[ $(($(field "$W/a.err" pages_paused) * 10)) -lt "$(field "$W/a.err" present_pages)" ]
	[ "$(field "$W/a.err" converged)" = true ]
	stepcheck "$W/a.vms"
	vminspect verify "$W/a.vms"
}

# A KVM that interprets may not be fast enough for these: what is left for the last round must be
# more than a pipe holds, and not shrink.
# bats file_tags=

@test "vmsnap: a reader that stops for 5 s in the last round does not stop the guest" {
	# Ticks go to memory: a busy disk under the serial file would stop the guest as well.
	SHM=$(mktemp -d /dev/shm/vf.XXXXXX)
	ln -s "$SHM/a.out" "$W/a.out"
	start_step a "pages=4096 tick=100 pace=20" --serial "file:$SHM/a.out"
	wait_line 20 'tick 41$' "$W/a.out"
	vmsnap --max-rounds 1 --progress=json a 2>"$W/a.err" |
		"$READER" stall "$W/a.vms" "$SHM/a.out" 0 5 >"$W/moved"
	cat "$W/moved" "$W/a.err"
	[ "$(wc -l <"$W/moved")" = 10 ]
	# the pause itself may take from one of them
	[ "$(awk '$1 > 0' "$W/moved" | wc -l)" -ge 9 ]
	[ "$(jq -r 'select(.event == "report") | .pause_ms < 2000 and .total_ms > 4900' \
		"$W/a.err")" = true ]
	stepcheck "$W/a.vms"
}

@test "vmsnap: a guest that writes without end is saved when the rounds run out, and reported as not converged" {
	start_step a "pages=4096 tick=10000"
	wait_line 20 'tick 1$' "$W/a.out"
	vmsnap --max-rounds 3 --max-downtime 0 --progress=json a "$W/a.vms" 2>"$W/a.err"
	[ "$(field "$W/a.err" converged)" = false ]
	[ "$(field "$W/a.err" rounds)" = 3 ]
	stepcheck "$W/a.vms"
	runs_on a
}

# bats file_tags=accel

@test "vmsnap: what the pause buffer can't hold is written in the pause, and nothing is lost" {
	start_step a "pages=4096 tick=10000" --cpus 2
	wait_line 20 'tick 1$' "$W/a.out"
	for buffer in 0 1 3M; do
		vmsnap --max-rounds 1 --pause-buffer "$buffer" a "$W/$buffer.vms" 2>/dev/null
		stepcheck "$W/$buffer.vms"
		vminspect verify "$W/$buffer.vms"
	done
	runs_on a
}

@test "vmsnap: memory the guest never touched is neither read nor stored" {
	start_step a "pages=64 pace=1000" --memory 1G
	vmsnap --progress=json a "$W/a.vms" 2>"$W/a.err"
	[ "$(field "$W/a.err" present_pages)" -lt 4096 ]
	[ "$(stat -c %s "$W/a.vms")" -lt $((16 << 20)) ]
	[ "$(awk '/^Rss/ { n += $2 } END { print n }' "/proc/$VMPID/smaps_rollup")" \
		-lt $((128 << 10)) ]
}

@test "vmsnap: --compress gives the same content in fewer bytes" {
	start_step a "pages=1024"
	vmrun ctl a stop
	vmsnap --progress=json a "$W/raw.vms" 2>"$W/raw.err"
	for level in "" =1 =-3 =9; do
		vmsnap "--compress$level" a "$W/z$level.vms" 2>/dev/null
		[ "$(stat -c %s "$W/z$level.vms")" -lt $(($(stat -c %s "$W/raw.vms") / 2)) ]
		stepcheck "$W/z$level.vms"
		vminspect verify "$W/z$level.vms"
	done
	status_is a paused
}

@test "vmsnap: a VM that a user has paused is saved and stays paused" {
	start_step a "pages=256 tick=1000"
	vmrun ctl a stop
	vmsnap --progress=json a "$W/a.vms" 2>"$W/a.err"
	[ "$(field "$W/a.err" rounds)" = 1 ]
	status_is a paused
	vmrun ctl a cont
	runs_on a
}

@test "vmsnap: a VM that was saved, and keeps an epoch since, ends in order" {
	start_step a "pages=64"
	vmsnap --quiet a "$W/a.vms"
	vmrun ctl a quit
	wait "$VMPID"
}

@test "vmsnap: a file is its owner's to read, whatever the umask; --mode widens it, what --force replaces bounds it" {
	start_step a "pages=64"
	(umask 077; vmsnap -q a "$W/a.vms")
	(umask 000; vmsnap -q a "$W/b.vms")
	[ "$(stat -c %a "$W/a.vms" "$W/b.vms" | sort -u)" = 400 ]
	(umask 077; vmsnap -q --mode 0644 a "$W/c.vms")
	[ "$(stat -c %a "$W/c.vms")" = 644 ]
	vmsnap -q --force a "$W/c.vms"
	[ "$(stat -c %a "$W/c.vms")" = 400 ]
	vmsnap -q --force --mode 0444 a "$W/c.vms"
	[ "$(stat -c %a "$W/c.vms")" = 400 ]
	chmod 0640 "$W/c.vms"
	vmsnap -q --force --mode 0444 a "$W/c.vms"
	[ "$(stat -c %a "$W/c.vms")" = 440 ]
	for mode in 0 44 0200 0500 0755 4444 800 rw -1 00000000400; do
		run -2 vmsnap --mode "$mode" a "$W/d.vms"
	done
	run -2 vmsnap --mode 0444 a -
}

@test "vmsnap: a file that exists is refused untouched; --force replaces it in one step" {
	start_step a "pages=64"
	echo mine >"$W/a.vms"
	run -1 --separate-stderr vmsnap a "$W/a.vms"
	[ "$stderr" = "vmsnap: $W/a.vms: already exists; use --force to overwrite" ]
	[ "$(cat "$W/a.vms")" = mine ]
	exec 9<"$W/a.vms"
	vmsnap --force a "$W/a.vms" 2>/dev/null
	[ "$(cat <&9)" = mine ]      # who had the old one open keeps it
	vminspect verify "$W/a.vms"
	mkdir "$W/folder"
	run -1 vmsnap --force a "$W/folder"
	[ -z "$(find "$W" -name '.*.*')" ]
}

@test "vmsnap: --force replaces regular files only, and none that the VM uses" {
	cp "$STEP" "$W/kernel"
	truncate -s 1M "$W/root.img"
	(cd "$W" && start_step a "pages=64" --kernel ./kernel --disk "root=$W/root.img" \
		--serial file:a.out)
	cp "$W/root.img" "$W/other.img"
	ln -s other.img "$W/link"
	ln "$W/root.img" "$W/hard.img"
	mkfifo "$W/fifo"
	mkdir "$W/folder"
	sums=$(cd "$W" && sha256sum root.img other.img kernel)
	for f in link fifo folder; do
		run -1 --separate-stderr vmsnap --force a "$W/$f"
		[[ $stderr == "vmsnap: $W/$f: "*", not overwritten; "* ]]
		[[ $stderr =~ "is a symbolic link"|"not a regular file" ]]
		[ ! -f "$W/$f" ] || [ -L "$W/$f" ]
	done
	run -1 vmsnap --force a /dev/null
	[ -c /dev/null ]
	for f in root.img hard.img kernel a.out; do
		run -2 --separate-stderr vmsnap --force a "$W/$f"
		[[ $stderr == "vmsnap: $W/$f: is "*" of a, not overwritten; name another file" ]]
	done
	[ "$(cd "$W" && sha256sum root.img other.img kernel)" = "$sums" ]
	vmsnap -q --force a "$W/other.img"
	vminspect verify "$W/other.img"
	[ -z "$(find "$W" -name '.*.*')" ]
	status_is a running
}

@test "vmsnap: - and /dev/stdout are standard output" {
	start_step a "pages=64"
	for out in "" - /dev/stdout /dev/fd/1; do
		# shellcheck disable=SC2086 # none is none
		vmsnap -q a $out >"$W/a.vms"
		vminspect verify "$W/a.vms"
		# shellcheck disable=SC2086
		vmsnap -q a $out | cat >"$W/a.vms"
		vminspect verify "$W/a.vms"
	done
	[ -L /dev/stdout ]
	run -2 vmsnap --force a /dev/stdout
	[ -L /dev/stdout ]
}

# bats file_tags=

@test "vmsnap: a terminal, wrong words and wrong numbers are refused with 2" {
	run -2 python3 - <<-'END'
	import os, pty, sys
	sys.exit(os.waitstatus_to_exitcode(pty.spawn(['vmsnap', 'a'])))
	END
	[[ "$output" == *"standard output is a terminal"* ]]
	run -2 vmsnap
	run -2 vmsnap a b c
	run -2 vmsnap --max-downtime 50 a "$W/a.vms"
	run -2 vmsnap --max-rounds -1 a "$W/a.vms"
	run -2 vmsnap --pause-buffer 1X a "$W/a.vms"
	run -2 vmsnap --compress=20 a "$W/a.vms"
	run -2 vmsnap --progress=loud a "$W/a.vms"
	run -2 vmsnap --force a
	run -2 vmsnap ../a "$W/none/a.vms" -x
	[ ! -e "$W/a.vms" ]
}

@test "vmsnap: a VM that is not there is refused with 4, a folder that is not there with 1" {
	run -4 --separate-stderr vmsnap nobody "$W/a.vms"
	[[ "$stderr" == "vmsnap: no running VM 'nobody': "* ]]
	run -1 vmsnap nobody "$W/none/a.vms"
	[ -z "$(ls -A "$W")" ] || [ ! -e "$W/a.vms" ]
}

# bats file_tags=accel

@test "vmsnap: --quiet says nothing, a pipe's stderr gets one line" {
	start_step a "pages=64"
	run -0 --separate-stderr vmsnap --quiet a "$W/a.vms"
	[ "$output$stderr" = "" ]
	run -0 --separate-stderr vmsnap a "$W/b.vms"
	[ "${#stderr_lines[@]}" = 1 ]
	local copied='[0-9]+ rounds?, [0-9]+ pages \([0-9]+ paused\), .* written'
	local times='downtime .*, converged, total time .*, snapshot [0-9a-f-]{36}'
	local want="vmsnap: a: $copied, $times"
	[[ $stderr =~ ^$want$ ]]
}

@test "vmsnap: paths that are not UTF-8 are in the JSON report and in the VM's own answers, escaped" {
	odd=$(printf '%s/odd\377' "$W")
	truncate -s 1M "$odd.img"
	start_vm a --kernel "$STEP" --append "pages=64" --memory 64M --disk "root=$odd.img" \
		--control "$odd.sock" --serial "file:$odd.out" &
	until_true 30 vmrun ctl "$odd.sock" query-status
	vmrun ctl "$odd.sock" info | jq -e --arg p "$W/odd\\xff.sock" '.control == $p and .pid > 0'
	vmrun ctl "$odd.sock" query-block |
		jq -e --arg p "$W/odd\\xff.img" \
		'.[0].inserted | .file == $p and .image.filename == $p'
	vmrun ctl "$odd.sock" inspect | jq -e --arg p "file:$W/odd\\xff.out" \
		'any(.nodes[]; .counters.backend == $p)'
	run -2 vmsnap --force "$odd.sock" "$odd.img"
	vmsnap --progress=json "$odd.sock" "$odd.vms" 2>"$W/a.err"
	[ "$(field "$W/a.err" file)" = "$W/odd\\xff.vms" ]
	[ "$(field "$W/a.err" vm)" = a ]
	vmrun ctl "$odd.sock" quit
	wait
}

@test "vmsnap: --state-only is small, can be inspected, and is refused by --restore with 3" {
	start_step a "pages=1024 tick=1000"
	vmsnap --state-only a "$W/a.vms" 2>/dev/null
	[ "$(stat -c %s "$W/a.vms")" -lt 200000 ]
	vminspect verify "$W/a.vms"
	vminspect regs "$W/a.vms" | grep -qE 'pc|rip'
	runs_on a
	run -3 timeout 20 vmrun --name b --restore "$W/a.vms" --serial none
}

@test "vmsnap: --stop-after: the VM quits without one instruction after the saved moment" {
	for i in 1 2 3; do
		start_step "a$i" "pages=512 tick=1 pace=50"
		wait_line 20 "tick $((i * 100))\$" "$W/a$i.out"
		vmsnap --stop-after "a$i" "$W/a$i.vms" 2>"$W/a.err"
		wait_gone 10 "$VMPID"
		wait "$VMPID"
		steps=$(stepcheck "$W/a$i.vms" | awk '/^hart 0/ { print $4 }')
		echo "saved at $steps, last tick $(last_tick "$W/a$i.out")"
		# A step is counted before its tick is printed.
		[ "$(last_tick "$W/a$i.out")" -le "$steps" ]
		[ "$(last_tick "$W/a$i.out")" -ge $((steps - 1)) ]
	done
	start_vm b --restore "$W/a3.vms"
	until_true 20 tick_above "$W/b.out" "$steps"
}

@test "vmsnap: twenty saves in a row at random settings hold exactly one step a hart" {
	RANDOM=${SEED:=$((RANDOM * 32768 + RANDOM))}
	echo "# SEED=$SEED" >&2
	start_step a "pages=3000 tick=100" --cpus 4
	for i in $(seq 20); do
		set -- --max-rounds $((RANDOM % 6)) --max-downtime $((RANDOM % 60))ms \
			--pause-buffer $((RANDOM % 20))M "--compress=$((RANDOM % 2))"
		vmsnap --quiet --force "$@" a "$W/a.vms"
		stepcheck "$W/a.vms" >"$W/check" || {
			echo "SEED=$SEED, turn $i: $*"
			cat "$W/check"
			return 1
		}
	done
	runs_on a
}

@test "vmsnap: without a folder for the key a save succeeds, says so once, and its paths are not trusted" {
	truncate -s 1M "$W/disk"
	start_step a pages=64 --disk "root=$W/disk"
	: >"$W/file"
	run -0 --separate-stderr env VMFERRY_STATE_DIR="$W/file/state" vmsnap a "$W/a.vms"
	[[ ${stderr_lines[1]} = *"snapshot complete, but a restore requires --trust-paths: "* ]]
	[[ ${stderr_lines[1]} = *": $W/file/state"* ]]
	[ "${#stderr_lines[@]}" = 2 ]
	run -0 --separate-stderr env VMFERRY_STATE_DIR="$W/file/state" vmsnap -q a "$W/b.vms"
	[ -z "$stderr" ]
	env VMFERRY_STATE_DIR="$W/file/state" vmsnap --progress=json a "$W/c.vms" 2>&1 >/dev/null |
		grep '"report"' | jq -e '.authenticated == false'
	vmsnap --progress=json a "$W/d.vms" 2>&1 >/dev/null | grep '"report"' | jq -e .authenticated
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	run -3 --separate-stderr timeout 20 vmrun --name b --restore "$W/a.vms" --serial none
	[[ $stderr = *"--disk root=PATH"*"not written by this user on this host"* ]]
	start_vm b --restore "$W/d.vms"
}

@test "vmsnap: it needs at most 64 MiB beside the pause buffer, also to compress, and reports its memory" {
	[ -z "${SAN:-}" ] || skip "sanitizers need memory of their own"
	# 192 MiB that the guest writes all the time: the pause buffer is used, and full.
	start_step a "pages=49152" --memory 256M
	for with in "" --compress "--layout=flat"; do
		# shellcheck disable=SC2086 # none is no argument
		vmsnap --progress=json --pause-buffer 16M --max-rounds 2 --max-downtime 0 $with \
			a "$W/a.vms" 2>"$W/a.err"
		[ "$(field "$W/a.err" peak_memory)" -gt $((4 << 20)) ]
		[ "$(field "$W/a.err" peak_memory)" -le $(((64 + 16) << 20)) ]
		rm -f "$W/a.vms"
	done
}
