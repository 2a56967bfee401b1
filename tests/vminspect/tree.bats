# SPDX-License-Identifier: MIT
# vminspect tree.
# shellcheck disable=SC2002 # a pipe is the point
bats_require_minimum_version 1.5.0

setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

@test "vminspect tree: --dtb writes what dtc reads without a complaint" {
	mksnap a.vms
	vminspect tree --dtb a.dtb a.vms
	# Its nodes have the names of the configuration, which has their reg.
	run -0 --separate-stderr dtc -W no-unit_address_vs_reg -I dtb -O dts a.dtb
	[ "$stderr" = "" ]
	vminspect tree --config --dtb c.dtb a.vms
	run -0 --separate-stderr dtc -I dtb -O dts c.dtb
	[ "$stderr" = "" ]
	grep -q 'compatible = "vmferry,riscv64-1"' <<<"$output"
	vminspect tree --dtb - a.vms | cmp - a.dtb
	vminspect tree --dtb - <a.vms | cmp - a.dtb
	cat a.vms | vminspect tree --dtb - | cmp - a.dtb
	mksnap --tree state s.dtb
	cmp a.dtb s.dtb
}

@test "vminspect tree: --config is the configuration, and the state repeats nothing of it" {
	mksnap a.vms
	mksnap --tree config c.dtb
	vminspect tree --config --dtb - a.vms | cmp - c.dtb
	run -0 vminspect tree --config a.vms
	run ! grep -q "state {" <<<"$output"
	vminspect tree --config --json a.vms | jq -e '[.. | objects | select(has("state"))] == []'
	vminspect tree --json a.vms | jq -e '
		(keys == ["cpus", "host", "needs", "soc", "version", "vm"]) and
		(.vm | keys == ["state"]) and (.cpus["cpu@1"] | keys == ["state"]) and (.soc[] |
		keys == ["state"]) and (.host | keys == ["root"])'
}

@test "vminspect tree: the text is source that dtc makes the same tree of" {
	for spoil in "" stray; do
		mksnap --spoil "$spoil" a.vms
		vminspect tree a.vms | dtc -q -I dts -O dtb -o text.dtb
		vminspect tree --dtb a.dtb --force a.vms
		diff <(dtc -q -I dtb -O dts a.dtb) <(dtc -q -I dtb -O dts text.dtb)
	done
}

@test "vminspect tree: JSON has rows by their names, bit patterns as text, and rounds no number" {
	mksnap a.vms
	vminspect tree --json a.vms >a.json
	jq -e '.vm.state.clock.guest_ns == 5000000000' a.json
	jq -e '.cpus["cpu@1"].state.hart | .priv == 1 and .wfi == true and
		.stimecmp == "18446744073709551615" and .x[1] == "0x2000000000000001"' a.json
	jq -e '.soc["virtio-blk@10001000"].state | .["virtqueue@0"].last_avail == 65530 and
		.virtio.status == "0xf" and .["virtio-blk"].capacity == 32768' a.json
	jq -e '.host.root | .digest == "deadbeef000000000000000000000000" and
		.instance == "cafe0000000000000000000000000000" and .written == 1234567' a.json
	vminspect tree --config --json a.vms >c.json
	jq -e '.host.root | .path == "/srv/vm/root.img" and .["read-only"] == true' c.json
	jq -e '.["memory@80000000"].reg == ["0x80000000", "0x4000000"]' c.json
}

@test "vminspect tree: what this build does not know is shown as bytes and marked" {
	mksnap --spoil stray a.vms
	run -0 vminspect tree a.vms
	grep -qF 'vendor,extra = [78 1b 79 00];  /* unknown */' <<<"$output"
	grep -qF 'moon {  /* unknown */' <<<"$output"
	vminspect tree --json a.vms |
		jq -e '.vm["vendor,extra"] == "781b7900" and .vm.state.moon.phase == "00000003"'
}

@test "vminspect tree: --dtb makes a whole file or none, --force replaces a regular one that is not the snapshot" {
	mksnap a.vms
	cp a.vms keep.vms
	ln a.vms hard.vms
	ln -s other soft
	mkfifo fifo
	run -1 --separate-stderr vminspect tree --dtb a.vms a.vms
	[ "$stderr" = "vminspect: a.vms: already exists; use --force to overwrite" ]
	for out in a.vms ./a.vms hard.vms; do
		run -2 --separate-stderr vminspect tree --dtb $out --force a.vms
		[ "$stderr" = \
			"vminspect: $out: is the snapshot, not overwritten; name another file" ]
		run -2 vminspect tree --dtb $out --force <a.vms
	done
	for out in soft fifo . /dev/null; do
		run ! vminspect tree --dtb $out --force a.vms
	done
	[ ! -e other ] && [ -L soft ] && [ -p fifo ] && [ -c /dev/null ]
	cmp a.vms keep.vms
	(umask 0; vminspect tree --dtb a.dtb a.vms)
	[ "$(stat -c %a a.dtb)" = 600 ]
	chmod 0400 a.dtb
	vminspect tree --dtb a.dtb --force a.vms
	[ "$(stat -c %a a.dtb)" = 400 ]
	vminspect tree --dtb /dev/stdout a.vms | cmp - a.dtb
	vminspect tree --dtb /dev/stdout a.vms >b.dtb
	cmp b.dtb a.dtb
	run -1 bash -c 'ulimit -f 1; trap "" XFSZ; vminspect tree --dtb c.dtb a.vms'
	[ ! -e c.dtb ]
	run -2 vminspect tree --force a.vms
	run -2 vminspect tree --dtb - --force a.vms
	run -2 vminspect info --force a.vms
	[ -z "$(find . -name '.?*')" ]
}

@test "vminspect tree: JSON loses no property to another of its name" {
	mksnap --set /vm/state/clock guest_ns x a.vms      # the row is the property guest-ns
	vminspect tree --json a.vms |
		jq -e '.vm.state.clock | .guest_ns == 5000000000 and .["/guest_ns"] == "7800"'
	mksnap --set /vm state x a.vms                     # beside the node state
	vminspect tree --json a.vms |
		jq -e '.vm | .state == "7800" and .["state/"].clock.guest_ns == 5000000000'
}

@test "vminspect tree: a file that cannot be written is named, exit 1" {
	mksnap a.vms
	run -1 --separate-stderr vminspect tree --dtb none/a.dtb a.vms
	[ "$stderr" = "vminspect: none/a.dtb: No such file or directory" ]
	run -1 --separate-stderr bash -c 'vminspect tree a.vms >/dev/full'
	[ "$stderr" = "vminspect: standard output: No space left on device" ]
}
