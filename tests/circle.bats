# SPDX-License-Identifier: MIT
# The circle on a bare-metal guest: run, save live, restore, inspect; pipes with real partners.
load lib/vm

setup() { vm_setup; }
teardown() { vm_teardown; }

@test "circle: the committed guests are what their sources build" {
	"$TOP/tests/guests/build" "$BATS_TEST_TMPDIR"
	for g in "$TOP"/tests/guests/*.elf; do cmp "$BATS_TEST_TMPDIR/${g##*/}" "$g"; done
}

# bats file_tags=accel

# bats test_tags=quick-kvm
@test "circle: a live save of the one-step guest holds exactly one step a hart, 1, 2 and 4 harts" {
	for n in 1 2 4; do
		start_step "s$n" "pages=4096 tick=20000" --cpus "$n"
		wait_line 10 'tick 2$' "$W/s$n.out"
		vmsnap "s$n" "$W/s$n.vms" 2>"$W/s$n.err"
		stepcheck "$W/s$n.vms"
		vminspect verify "$W/s$n.vms"
		before=$(last_tick "$W/s$n.out")
		until_true 20 tick_above "$W/s$n.out" "$before"      # it runs on
		vmrun ctl "s$n" quit
		wait_gone 10 "$VMPID"
	done
}

# bats test_tags=quick-kvm
@test "circle: a restored guest goes on from its step, from a file and from a pipe" {
	start_step a "pages=4096 tick=20000"
	wait_line 10 'tick 2$' "$W/a.out"
	vmsnap a "$W/a.vms" 2>/dev/null
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	nonce=$(stepcheck "$W/a.vms" | grep nonce)

	start_vm b --restore "$W/a.vms"
	until_true 20 tick_above "$W/b.out" "$(last_tick "$W/a.out")"
	vmsnap b "$W/b.vms" 2>/dev/null
	[ "$(stepcheck "$W/b.vms" | grep nonce)" = "$nonce" ]
	vmrun ctl b quit
	wait_gone 10 "$VMPID"

	cat "$W/b.vms" | start_vm_stdin c --restore - --trust-paths
	until_true 20 tick_above "$W/c.out" "$(last_tick "$W/b.out")"
	vmsnap c "$W/c.vms" 2>/dev/null
	[ "$(stepcheck "$W/c.vms" | grep nonce)" = "$nonce" ]
}

# bats test_tags=quick-kvm
@test "circle: a flat save holds one step, and the guest goes on from it by copy, by cow, and converted" {
	start_step a "pages=4096 tick=20000"
	wait_line 10 'tick 2$' "$W/a.out"
	vmsnap --layout flat a "$W/a.vms" 2>/dev/null
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	nonce=$(stepcheck "$W/a.vms" | grep nonce)
	vmsnap convert --compress "$W/a.vms" "$W/z.vms" 2>/dev/null
	[ "$(stepcheck "$W/z.vms" | grep nonce)" = "$nonce" ]

	for how in "copy a" "cow a" "copy z"; do
		start_vm b --restore "$W/${how#* }.vms" --memory "${how% *}"
		until_true 20 tick_above "$W/b.out" "$(last_tick "$W/a.out")"
		vmsnap --layout flat b "$W/b.vms" 2>/dev/null
		[ "$(stepcheck "$W/b.vms" | grep nonce)" = "$nonce" ]
		tick=$(last_tick "$W/b.out")
		vmrun ctl b quit
		wait_gone 10 "$VMPID"
		# What came from the file, and what the guest wrote since, from the next file.
		start_vm b --restore "$W/b.vms" --memory cow
		until_true 20 tick_above "$W/b.out" "$tick"
		vmsnap b "$W/c.vms" 2>/dev/null
		[ "$(stepcheck "$W/c.vms" | grep nonce)" = "$nonce" ]
		vmrun ctl b quit
		wait_gone 10 "$VMPID"
		rm -f "$W/b.vms" "$W/c.vms"
	done
}

@test "circle: save, restore, save: paused, memory and state are the same" {
	start_step a "pages=1024" --cpus 2
	vmrun ctl a stop
	vmsnap a "$W/a.vms" 2>/dev/null
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	start_vm a --restore "$W/a.vms" --paused
	vmsnap a "$W/b.vms" 2>/dev/null
	# But for the time of day, and what tells a guest that it is a copy: the ID, and its event
	# or interrupt 9.
	for t in a b; do
		vminspect tree --json "$W/$t.vms" |
			jq -S 'del(.. | .realtime_ns?, .["realtime-ns"]?, .guid?, .gpe_status?) |
				walk(if type == "object" and (.pending | arrays)
					then .pending[0] |= sub("^0x200$"; "0x0") else . end)' \
				>"$W/$t.json"
	done
	diff "$W/a.json" "$W/b.json"
	for t in a b; do
		vminspect mem $((RAM + 0x800000)) 4194304 --raw "$W/$t.vms" | sha256sum
	done | uniq -c | grep -q '^ *2 '
}

@test "circle: snapshots go through zstd, tee and a second shell; the copy restores" {
	start_step a "pages=2048 tick=20000"
	vmsnap a 2>/dev/null | tee "$W/copy.vms" | zstd -q >"$W/a.vms.zst"
	zstd -dc "$W/a.vms.zst" | cmp - "$W/copy.vms"
	zstd -dc "$W/a.vms.zst" | vminspect verify
	vmsnap --compress a 2>/dev/null | sh -c 'exec cat' | vminspect verify
	zstd -dc "$W/a.vms.zst" | start_vm_stdin b --restore - --trust-paths --uuid new
	until_true 20 tick_above "$W/b.out" 0
}

@test "circle: dtc prints the tree of a snapshot without a complaint" {
	start_step a "pages=64" --cpus 2
	vmsnap a "$W/a.vms" 2>/dev/null
	vminspect tree --config --dtb - "$W/a.vms" >"$W/a.dtb"
	dtc -I dtb -O dts "$W/a.dtb" >"$W/a.dts" 2>"$W/dtc.err"
	cat "$W/dtc.err"
	[ ! -s "$W/dtc.err" ]
	grep -q "compatible = \"vmferry,$MACHINE\"" "$W/a.dts"
	# Nodes of the state have the names of the configuration, which has their reg.
	vminspect tree --dtb - "$W/a.vms" >"$W/s.dtb"
	dtc -W no-unit_address_vs_reg -I dtb -O dts "$W/s.dtb" >"$W/s.dts" 2>"$W/dtc.err"
	cat "$W/dtc.err"
	[ ! -s "$W/dtc.err" ]
	grep -q "guest-ns = " "$W/s.dts"
}

@test "circle: python and socat speak QMP with vmrun" {
	start_step a "pages=64"
	printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status","id":7}' |
		socat -t 2 - "UNIX-CONNECT:$W/run/a.sock" | grep -q '"id": *7'
	python3 - "$W/run/a.sock" <<-'END'
	import json, socket, sys
	s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')
	assert 'QMP' in json.loads(f.readline())
	def run(cmd, **args):
	    f.write(json.dumps({'execute': cmd, 'arguments': args}) + '\n'); f.flush()
	    while True:
	        m = json.loads(f.readline())
	        if 'event' not in m: return m
	assert 'return' in run('qmp_capabilities')
	assert run('query-status')['return']['status'] == 'running'
	assert 'return' in run('stop')
	assert run('query-status')['return']['status'] == 'paused'
	assert run('no-such-thing')['error']['class'] == 'CommandNotFound'
	assert 'return' in run('cont')
	END
}

@test "circle: reset and reboot start the guest anew, and a restored VM can still reset" {
	start_step a "pages=256 tick=1000"
	vmsnap a "$W/a.vms" 2>/dev/null
	vmrun ctl a system_reset
	until_true 10 two_boots "$W/a.out"
	vmrun ctl a quit
	wait_gone 10 "$VMPID"
	start_vm b --restore "$W/a.vms"
	vmrun ctl b system_reset
	wait_line 10 'step guest' "$W/b.out"
}

two_boots() { [ "$(grep -c 'step guest' "$1")" -ge 2 ]; }

@test "circle: pulse finds nothing to complain about on a running guest, 1 and 4 harts" {
	for n in 1 4; do
		start_step "p$n" "pages=2048 tick=20000" --cpus "$n"
		vmrun ctl "p$n" pulse
		before=$(last_tick "$W/p$n.out")
		until_true 20 tick_above "$W/p$n.out" "$before"
		vmsnap "p$n" "$W/p$n.vms" 2>/dev/null
		stepcheck "$W/p$n.vms"
	done
}
