# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# Boot, save while it runs, pulse, restore: with console, random numbers and a disk.
. "$(dirname "$0")/lib.sh"

smoke() { vmrun --version && vmsnap --version && vmmigrate --version && vminspect --version && [ -c /dev/kvm ]; }
boots() {
	truncate -s 32M "$W/disk"
	boot web tick --disk "root=$W/disk" --rng
}
# the shell on ttyS0, and through it the other two
shell() { says web 'echo shell-$((6 * 7))' 'shell-42'; }
rng() { says web 'cat /sys/class/misc/hw_random/rng_current; head -c 64 /dev/hwrng | wc -c' '^64' && line "$W/web.out" 'virtio_rng'; }
disk() {
	says web 'dd if=/dev/urandom of=/dev/vda bs=64k count=16 conv=fsync; echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=64k count=16 | sha256sum' '[0-9a-f]{64}' 60
	guest_sum=$(grep -aoE '[0-9a-f]{64}' "$W/web.out" | tail -n 1)
	[ "$(head -c 1048576 "$W/disk" | sha256sum | cut -c 1-64)" = "$guest_sum" ]
}
save_live() {
	tick=$(last_tick web)
	vmsnap web "$W/live.vms" && status_is web running && counts_on web "$tick"
}
verify() { vminspect verify "$W/live.vms"; }
pulse() {
	for _ in 1 2 3; do
		tick=$(last_tick web)
		vmrun ctl web pulse && counts_on web "$tick" || return 1
	done
}
restore() {
	tick=$(last_tick web)
	says web 'echo kept-$((40 + 2)) >/tmp/kept; echo wrote-$?' 'wrote-0'
	vmsnap web "$W/stop.vms" --stop-after && ends_with web 0 || return 1
	start again --restore "$W/stop.vms"
	counts_on again "$tick" && goes_on web again && says again 'cat /tmp/kept' 'kept-42' || return 1
	says again 'dd if=/dev/vda bs=64k count=16 iflag=direct | sha256sum' "$guest_sum"
}
pipe() {
	tick=$(last_tick again)
	vmsnap again --compress --stop-after >"$W/pipe.vms" && ends_with again 0 || return 1
	rm -f "$W/third".*
	start third --restore "$W/pipe.vms" --uuid new --disk "root=$W/disk"
	counts_on third "$tick" && goes_on again third && quit third
}

claim smoke smoke
claim boot boots
claim shell shell
claim rng rng
claim disk disk
claim save-live save_live
claim verify verify
claim pulse pulse
claim restore restore
claim pipe pipe
