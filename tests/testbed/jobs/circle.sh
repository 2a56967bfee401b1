# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# Boot, save while it runs, pulse, restore: with console, random numbers and a disk.
. "$(dirname "$0")/lib.sh"

smoke() {
	vmrun --version && vmsnap --version && vmmigrate --version && vminspect --version &&
		[ -c /dev/kvm ]
}
boots() {
	truncate -s 32M "$W/disk"
	boot web tick --disk "root=$W/disk" --rng
}
# the shell on ttyS0, and through it the other two
shell() { says web 'echo shell-$((6 * 7))' 'shell-42'; }
rng() {
	says web 'cat /sys/class/misc/hw_random/rng_current; head -c 64 /dev/hwrng | wc -c' '^64' &&
		line "$W/web.out" 'virtio_rng'
}
disk() {
	says web 'dd if=/dev/urandom of=/dev/vda bs=64k count=16 conv=fsync; '\
'echo 3 >/proc/sys/vm/drop_caches; '\
'dd if=/dev/vda bs=64k count=16 | sha256sum' '[0-9a-f]{64}' 120 || return 1
	guest_sum=$(grep -aoE '[0-9a-f]{64}' "$W/web.out" | tail -n 1)
	[ "$(head -c 1048576 "$W/disk" | sha256sum | cut -c 1-64)" = "$guest_sum" ]
}
save_live() {
	tick=$(last_tick web)
	snap web "$W/live.vms" && status_is web running && counts_on web "$tick"
}
verify() { limited 90 vminspect verify "$W/live.vms"; }
pulse() {
	for _ in 1 2 3; do
		tick=$(last_tick web)
		ctl_pulse web && counts_on web "$tick" || return 1
	done
}
restore() {
	tick=$(last_tick web)
	says web 'echo kept-$((40 + 2)) >/tmp/kept; echo wrote-$?' 'wrote-0' || return 1
	snap web "$W/stop.vms" --stop-after && ends_with web 0 || return 1
	start again --restore "$W/stop.vms" || return 1
	counts_on again "$tick" && continues web again || return 1
	says again 'cat /tmp/kept' 'kept-42' || return 1
	says again 'dd if=/dev/vda bs=64k count=16 iflag=direct | sha256sum' "$guest_sum"
}
pipe() {
	tick=$(last_tick again)
	snap again --compress --stop-after >"$W/pipe.vms" && ends_with again 0 || return 1
	start third --restore "$W/pipe.vms" --uuid new --disk "root=$W/disk" || return 1
	counts_on third "$tick" && continues again third && quit third
}

claim smoke 60 smoke
claim boot 240 boots
claim shell 130 shell
claim rng 130 rng
claim disk 200 disk
claim save-live 180 save_live
claim verify 120 verify
claim pulse 300 pulse
claim restore 300 restore
claim pipe 300 pipe
