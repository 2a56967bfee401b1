# SPDX-License-Identifier: MIT
# vmrun --restore FILE --memory cow: memory is a private mapping of a flat snapshot.
load ../lib/vm
load ../lib/move

# bats file_tags=accel

setup() { move_setup; }
teardown() { vm_teardown; }

# saved [bootargs] [vmrun options]: $W/a.vms and, flat, $W/f.vms of a step guest "web" that was
# stopped for the save. SUM is the digest of the flat file, which is not taken of a large one.
saved() {
	local args=${1:-}
	shift || :
	start_step web "pages=1024 tick=1000 $args" "$@"
	wait_line 20 'tick 1$' "$W/web.out"
	vmrun ctl web stop
	vmsnap -q --with-images web "$W/a.vms"
	vmrun ctl web quit
	wait_gone 20 "$VMPID"
	vmsnap convert -q --layout flat "$W/a.vms" "$W/f.vms"
	[[ $* == *--memory* ]] || SUM=$(sha256sum <"$W/f.vms")
}
file_as_before() { [ "$(sha256sum <"$W/f.vms")" = "$SUM" ]; }

# cow NAME [options]: a VM from $W/f.vms, which runs.
cow() {
	local name=$1
	shift
	start_vm "$name" --restore "$W/f.vms" --memory cow --cont "$@"
}

quit() {
	vmrun ctl "$1" quit
	wait_gone 20 "$VMPID"
}

memory_digest() { vminspect verify "$1" | awk '$1 == "memory" { print $2 }'; }
nonce() { stepcheck "$1" | grep nonce; }
ticks() { until_true 20 tick_above "$W/$1.out" "$2"; }

# Machine and state, but for the time of day and what tells a guest that it is a copy.
tree() {
	vminspect tree --json "$1" |
		jq -S 'del(.. | .realtime_ns?, .["realtime-ns"]?, .guid?, .gpe_status?) |
			walk(if type == "object" and (.pending | arrays)
				then .pending[0] |= sub("^0x200$"; "0x0") else . end)'
}

# refused STATUS PATTERN FILE [options]: it cannot be restored by cow, and nothing is left running.
refused() {
	local status=$1 pattern=$2 file=$3
	shift 3
	run "-$status" --separate-stderr timeout 30 vmrun --restore "$file" --memory cow \
		--serial none "$@" </dev/null
	echo "$stderr"
	[ "${#stderr_lines[@]}" = 1 ]
	# shellcheck disable=SC2053 # a pattern
	[[ $stderr == $pattern ]]
}

# bats test_tags=quick-kvm
@test "cow: memory, machine and state are those of a restore by copy, and a line says what was not verified" {
	saved "" --cpus 2
	for how in copy cow; do
		start_vm web --restore "$W/f.vms" --memory "$how" --paused
		cp "$W/web.log" "$W/$how.log"
		vmsnap -q web "$W/$how.vms"
		quit web
		tree "$W/$how.vms" >"$W/$how.json"
	done
	diff "$W/copy.json" "$W/cow.json"
	# Memory too, but on x86-64, where each copy gets an ID of its own.
	if [ "$ACCEL" = soft ]; then
		[ "$(memory_digest "$W/copy.vms")" = "$(memory_digest "$W/f.vms")" ]
		[ "$(memory_digest "$W/cow.vms")" = "$(memory_digest "$W/f.vms")" ]
	fi
	for t in a cow; do
		vminspect mem $((RAM + 0x800000)) 4194304 --raw "$W/$t.vms" | sha256sum
	done | uniq -c | grep -q '^ *2 '
	[ "$(grep -v serial "$W/cow.log")" = "vmrun: web: memory not verified: it is a mapping of $W/f.vms, which must not be modified while the VM runs" ]
	run -1 grep verified "$W/copy.log"
	file_as_before
}

# bats test_tags=quick-kvm
@test "cow: a save of a VM that writes holds exactly one step a hart, and is restored by cow again" {
	saved "" --cpus 2
	was=$(nonce "$W/f.vms")
	cow b
	ticks b "$(last_tick "$W/web.out")"
	vmsnap -q --layout flat b "$W/b.vms"
	[ "$(nonce "$W/b.vms")" = "$was" ]
	[ "$(memory_digest "$W/b.vms")" != "$(memory_digest "$W/f.vms")" ]
	vmrun ctl b vmferry-pulse
	ticks b "$(last_tick "$W/b.out")"
	quit b
	file_as_before
	mv -f "$W/b.vms" "$W/f.vms"
	SUM=$(sha256sum <"$W/f.vms")
	cow c
	ticks c "$(last_tick "$W/b.out")"
	vmsnap -q --compress c "$W/c.vms"
	[ "$(nonce "$W/c.vms")" = "$was" ]
	vminspect verify "$W/c.vms"
	file_as_before
}

@test "cow: two VMs run from one file, each with its own writes; the file stays as it is" {
	saved
	cow b
	cow c --uuid new
	ticks b $(($(last_tick "$W/web.out") + 20))
	ticks c "$(last_tick "$W/web.out")"
	vmrun ctl c stop
	vmsnap -q c "$W/c1.vms"
	ticks b $(($(last_tick "$W/b.out") + 1))
	vmsnap -q b "$W/b.vms"
	vmsnap -q c "$W/c2.vms"
	[ "$(memory_digest "$W/c1.vms")" = "$(memory_digest "$W/c2.vms")" ]
	[ "$(memory_digest "$W/b.vms")" != "$(memory_digest "$W/c1.vms")" ]
	[ "$(nonce "$W/b.vms")" = "$(nonce "$W/c1.vms")" ]
	file_as_before
}

@test "cow: a VM moves to another host, audited, and is restored by cow there and on the first" {
	saved "pace=20"
	cp "$W/web.out" "$W/both.out"
	start_vm web --restore "$W/f.vms" --memory cow --cont --serial "file:$W/both.out"
	AVM=$VMPID
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
	ticks_on
	listen_b --once
	move --audit
	moved 0
	wait "$BL"
	wait "$AVM" || [ $? = 20 ]
	runs_on b
	ticks_on
	ticks_right
	check_on b
	file_as_before
	on_b vmsnap -q web "$W/moved.vms"
	on_b vmsnap convert -q --layout flat "$W/moved.vms" "$W/g.vms"
	on_b start_vm copy --restore "$W/g.vms" --memory cow --uuid new
	on_b until_true 20 tick_above "$W/copy.out" "$(last_tick "$W/both.out")"
}

@test "cow: reset, reboot of the guest, and images that are in the snapshot" {
	saved
	was=$(nonce "$W/f.vms")
	cow b --kernel "$STEP"
	ticks b "$(last_tick "$W/web.out")"
	vmrun ctl b system_reset
	until_true 20 eval "[ \"\$(grep -c 'step guest' '$W/b.out')\" = 1 ]"
	wait_line 20 '^tick 2.$' "$W/b.out"
	vmsnap -q b "$W/b.vms"
	[ "$(nonce "$W/b.vms")" != "$was" ]
	quit b
	# Without a kernel of its own: that of the snapshot.
	cow c --serial "unix:$W/line"
	vmrun ctl c query-status | jq -e '.["vmferry-boot"].missing == []'
	echo r | socat -t 5 - "UNIX-CONNECT:$W/line" >"$W/c.out" &
	PIDS+=("$!")
	until_true 20 reset_seen c
	vmsnap -q c "$W/c.vms"
	stepcheck "$W/c.vms"
	file_as_before
}
reset_seen() { vmrun ctl "$1" vmferry-events | jq -e '.events | any(.event == "RESET")'; }

@test "cow: what cannot be mapped is refused with what to do: a pipe, another layout, an unfinished file, one that is locked, one cut off" {
	saved
	mkfifo "$W/fifo"
	refused 2 "vmrun: $W/fifo: not a regular file, *--memory copy" "$W/fifo"
	refused 2 "vmrun: --memory cow requires a file, not standard input; use --memory copy" -
	refused 3 "vmrun: $W/a.vms: --memory cow requires the flat layout: *vmsnap convert*--memory copy" "$W/a.vms"

	cp "$W/f.vms" "$W/i.vms"
	chmod 0600 "$W/i.vms"
	python3 - "$TOP" "$W/i.vms" <<-'END'
	import sys
	sys.path.insert(0, sys.argv[1] + '/tests/format')
	import xxh3
	with open(sys.argv[2], 'r+b') as f:
	    header = bytearray(f.read(4096))
	    header[48] |= 1
	    header[4088:] = xxh3.xxh3_64(bytes(header[:4088])).to_bytes(8, 'little')
	    f.seek(0); f.write(header)
	END
	vminspect info "$W/i.vms" >/dev/null
	refused 3 "vmrun: $W/i.vms: incomplete, *--memory copy" "$W/i.vms"

	cp "$W/f.vms" "$W/l.vms"
	chmod 0600 "$W/l.vms"
	lock_bytes "$W/l.vms"
	refused 3 "vmrun: $W/l.vms: locked by another program*" "$W/l.vms"
	unlock_bytes
	head -c 8M "$W/f.vms" >"$W/short.vms"
	refused 3 "vmrun: $W/short.vms: *no END chunk*" "$W/short.vms"
	refused 2 "vmrun: serial port 'console': $W/f.vms is the snapshot; name another file" \
		"$W/f.vms" --serial "file:$W/f.vms"
	file_as_before
}

@test "cow: while a VM runs from a file nobody can lock it to write, and a snapshot saved over it does no harm" {
	saved
	cow b
	chmod 0600 "$W/f.vms"
	run -1 python3 -c 'import fcntl, sys
	fcntl.lockf(open(sys.argv[1], "r+b"), fcntl.LOCK_EX | fcntl.LOCK_NB)' "$W/f.vms"
	ticks b "$(last_tick "$W/web.out")"
	vmsnap -q --force b "$W/f.vms"
	ticks b "$(last_tick "$W/b.out")"
	vmsnap -q b "$W/b.vms"
	[ "$(nonce "$W/b.vms")" = "$(nonce "$W/f.vms")" ]
}

@test "cow: recorded paths are used as by copy: only of a snapshot of this user and host" {
	truncate -s 1M "$W/root.img"
	saved "" --disk "root=$W/root.img"
	cow b
	quit b
	run -3 --separate-stderr env VMFERRY_STATE_DIR="$W/other" timeout 30 vmrun \
		--restore "$W/f.vms" --memory cow --serial none </dev/null
	[[ $stderr == *"--disk root=PATH"*"not written by this user on this host"* ]]
	echo other | dd of="$W/root.img" conv=notrunc status=none
	run -3 --separate-stderr timeout 30 vmrun --restore "$W/f.vms" --memory cow --serial none \
		</dev/null
	echo "$stderr"
	[[ $stderr == *"disk changed since the state was saved: root"* ]]
	cow c --disk-changed=accept
	file_as_before
}

# bats test_tags=quick-kvm
@test "cow: a file that was modified stops saves and moves, and not the guest" {
	saved
	cow b
	vmsnap -q b "$W/b.vms"
	# One byte of a page that the guest has not read: nobody else would notice.
	chmod 0600 "$W/f.vms"
	printf x | dd of="$W/f.vms" bs=1 seek=40000000 conv=notrunc status=none
	n=$(last_tick "$W/b.out")
	run -1 --separate-stderr vmsnap b "$W/c.vms"
	[ "$stderr" = "vmsnap: b: $W/f.vms: modified since the VM was restored from it" ]
	[ ! -e "$W/c.vms" ]
	listen_b
	run -1 --separate-stderr vmmigrate b "$BADDR"
	[[ $stderr == *"$W/f.vms: modified since the VM was restored from it"* ]]
	ticks b "$n"
	status_is b running
}

# bats test_tags=quick-kvm
@test "cow: a file that was truncated pauses the VM for good and is named; quit ends it" {
	saved
	cow b
	ticks b "$(last_tick "$W/web.out")"
	chmod 0600 "$W/f.vms"
	truncate -s 4M "$W/f.vms"
	until_true 20 status_is b internal-error
	[ "$(vmrun ctl b query-status | jq -c '[.running, .["vmferry-holders"]]')" = \
		'[false,["memory"]]' ]
	wait_line 10 "^vmrun: b: guest memory lost, VM paused for good: $W/f.vms: truncated .* bytes missing; use 'vmrun ctl b quit'$" "$W/b.log"
	[ "$(grep -c 'memory lost' "$W/b.log")" = 1 ]
	vmrun ctl b vmferry-events |
		jq -e --arg f "$W/f.vms" '.events | any(.event == "VMFERRY_MEMORY_LOST" and
			.data.file == $f and (.data.reason | contains("truncated")))'
	for command in cont system_reset vmferry-pulse; do
		run -1 --separate-stderr vmrun ctl b "$command"
		[[ $stderr == *"$command: guest memory lost: $W/f.vms: truncated"* ]]
	done
	run -1 --separate-stderr vmsnap b "$W/c.vms"
	[[ $stderr == *"guest memory lost: $W/f.vms: truncated"* ]]
	[ ! -e "$W/c.vms" ]
	status_is b internal-error
	run -1 grep -a BAD "$W/b.out"
	vmrun ctl b quit
	wait "$VMPID"
}

@test "cow: a save under way when the file is truncated fails with the file's name" {
	saved "pages=8192"
	cow b
	chmod 0600 "$W/f.vms"
	# It is stopped by the pipe, with most pages unread, when the file is cut off.
	{ vmsnap b 2>"$W/b.err" || echo "status $?" >>"$W/b.err"; } | {
		head -c 1M >/dev/null
		truncate -s 4M "$W/f.vms"
		cat >/dev/null
	}
	cat "$W/b.err"
	grep -q "^vmsnap: b: .*$W/f.vms: truncated since the VM was restored from it" "$W/b.err"
	grep -qx 'status 1' "$W/b.err"
}

@test "cow: a VM that is paused when its file is truncated is not lost before it runs" {
	saved
	start_vm b --restore "$W/f.vms" --memory cow --paused
	chmod 0600 "$W/f.vms"
	truncate -s 4M "$W/f.vms"
	status_is b prelaunch || status_is b paused
	run -1 --separate-stderr vmsnap b "$W/c.vms"
	[[ $stderr == *"$W/f.vms: truncated since the VM was restored from it"* ]]
	vmrun ctl b cont
	until_true 20 status_is b internal-error
	vmrun ctl b quit
	wait "$VMPID"
}

# faults PID: page faults without I/O, of the whole process.
faults() { cut -d' ' -f10 "/proc/$1/stat"; }

@test "cow: 8 GiB cost what 256 MiB cost, and a sparse VM is saved and moved by its used pages" {
	for size in 256M 8G; do
		saved "" --memory "$size"
		vmrun --name big --restore "$W/f.vms" --memory cow --paused --overcommit \
			--serial none >"$W/big.log" 2>&1 </dev/null 3>&- &
		VMPID=$!
		PIDS+=("$VMPID")
		until_true 30 vm_answers big "$VMPID"
		faults "$VMPID" >"$W/$size.faults"
		vmsnap --progress=json big "$W/big.vms" 2>"$W/$size.err"
		jq -r 'select(.event == "report") | .present_pages' "$W/$size.err" \
			>"$W/$size.present"
		grep VmRSS "/proc/$VMPID/status" | tr -dc 0-9 >"$W/$size.rss"
		stepcheck "$W/big.vms"
		quit big
		rm -f "$W/big.vms" "$W/a.vms" "$W/web.out"
		mv -f "$W/f.vms" "$W/$size.vms"
	done
	head "$W"/*.faults "$W"/*.present "$W"/*.rss
	# What grows is a table of the accelerator at most, not a fault for each of 2 million pages.
	[ "$(cat "$W/8G.faults")" -lt $(($(cat "$W/256M.faults") + 500)) ]
	[ "$(cat "$W/8G.present")" -lt $(($(cat "$W/256M.present") + 500)) ]
	[ "$(cat "$W/8G.rss")" -lt $(($(cat "$W/256M.rss") + 65536)) ]

	mv "$W/8G.vms" "$W/f.vms"
	start_vm web --restore "$W/f.vms" --memory cow --cont --overcommit \
		--serial "file:$W/both.out"
	AVM=$VMPID
	UUID=$(on_a vmrun ctl web query-uuid | jq -r .UUID)
	listen b 127.0.0.1:0 --once -- --overcommit --serial "file:$W/both.out"
	BL=$LPID BADDR=$LADDR
	move
	moved 0
	wait "$AVM" || [ $? = 20 ]
	ticks_on
	check_on b
}
