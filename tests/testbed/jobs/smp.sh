# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# Two vCPUs; not among the tests: in a box they share one emulated CPU.
. "$(dirname "$0")/lib.sh"

boots() { boot web tick --cpus 2; }
two() { says web 'grep -c ^processor /proc/cpuinfo' '^2'; }
pulse() { tick=$(last_tick web) && ctl_pulse web && counts_on web "$tick"; }
restore() {
	tick=$(last_tick web)
	snap web "$W/stop.vms" --stop-after && ends_with web 0 || return 1
	start again --restore "$W/stop.vms" || return 1
	counts_on again "$tick" && continues web again &&
		says again 'grep -c ^processor /proc/cpuinfo' '^2'
}

claim boot 240 boots
claim two 130 two
claim pulse 180 pulse
claim restore 300 restore
quit again
