# SPDX-License-Identifier: MIT
# vmsnap and the space on the file system: reserved before it is written, and never all of it.
load ../lib/vm

setup() { vm_setup; mkdir "$W/out"; }
teardown() {
	vm_teardown_processes
	umount "$W/out" 2>/dev/null
	vm_teardown
}

# small SIZE: a file system of that size at $W/out; its free bytes.
small() {
	need_root
	mount -t tmpfs -o "size=$1" none "$W/out" 2>/dev/null || skip "no mounts here"
}
free() { stat -f -c '%a %S' "$W/out" | awk '{ print $1 * $2 }'; }
# It is idle, so that the snapshot is as long as memory is.
guest() {
	start_step a "pages=4096 tick=1000" && wait_line 20 'tick 5$' "$W/a.out" && vmrun ctl a stop
}
no_space() {
	echo "$stderr"
	[[ $stderr == "vmsnap: $1: No space left on device: up to 16."*" MiB needed, "* ]]
	[[ $stderr == *" MiB free, "*" of it reserved; free up space, or use --compress" ]]
}

@test "vmsnap: a save that does not fit is refused before it takes any space; a pipe and --compress go on" {
	small 12M
	guest
	was=$(free)
	run -1 --separate-stderr vmsnap a "$W/out/a.vms"
	no_space "$W/out/a.vms"
	run -1 --separate-stderr bash -c "vmsnap a >'$W/out/b.vms'"
	no_space "standard output"
	[ ! -s "$W/out/b.vms" ]
	rm "$W/out/b.vms"
	[ "$(free)" = "$was" ]
	vmsnap a | cat >"$W/a.vms"
	vmsnap --compress a "$W/out/a.vms"
	vminspect verify "$W/out/a.vms"
}

@test "vmsnap: the last sixteenth of a file system is left to the disks of VMs" {
	small 17M
	guest
	run -1 --separate-stderr vmsnap a "$W/out/a.vms"
	no_space "$W/out/a.vms"
	mount -o remount,size=20M "$W/out"
	vmsnap a "$W/out/a.vms"
	vminspect verify "$W/out/a.vms"
}

@test "vmsnap: space that was reserved and not needed is given back, also behind what a file had before" {
	small 200M
	guest
	vmsnap a "$W/out/a.vms"
	[ "$(free)" -ge $((200 * 1048576 - $(stat -c %s "$W/out/a.vms") - 65536)) ]
	printf 'first ' >"$W/out/b"
	vmsnap a >>"$W/out/b"
	used=$(($(stat -c %s "$W/out/a.vms") + $(stat -c %s "$W/out/b")))
	[ "$(free)" -ge $((200 * 1048576 - used - 131072)) ]
	tail -c +7 "$W/out/b" >"$W/out/b.vms"
	vminspect verify "$W/out/b.vms"
}

@test "vmsnap: space for --with-images is asked for with that for memory" {
	small 28M
	mkdir "$W/root"
	head -c 6M /dev/urandom >"$W/root/data"
	start_step a "pages=4096 tick=1000" --initrd "$W/root"
	wait_line 20 'tick 5$' "$W/a.out"
	vmrun ctl a stop
	was=$(free)
	run -1 --separate-stderr vmsnap --with-images a "$W/out/a.vms"
	[[ $stderr == "vmsnap: $W/out/a.vms: No space left on device: up to 28."*" MiB needed, "* ]]
	[ "$(free)" = "$was" ]
	run -1 bash -c "vmsnap --with-images a >'$W/out/b.vms'"
	[ ! -s "$W/out/b.vms" ]
	rm "$W/out/b.vms"
	vmsnap -q a "$W/out/a.vms"
	rm "$W/out/a.vms"
	mount -o remount,size=34M "$W/out"
	vmsnap -q --with-images a "$W/out/a.vms"
	vminspect verify "$W/out/a.vms"
}
