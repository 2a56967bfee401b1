# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# How a guest ends. It boots once, is saved at its shell, and each ending starts from that snapshot:
# a command is typed. 192 MiB: with less the kernel finds no memory for the image of hibernation.
. "$(dirname "$0")/lib.sh"

prepare() {
	truncate -s 192M "$W/swap"
	boot base shell --disk "swap=$W/swap" --memory 192M || return 1
	says base 'echo shell-$((6 * 7))' 'shell-42' || return 1
	snap base "$W/base.vms" --stop-after && ends_with base 0
}
# restored NAME [vmrun options]: from the shell's snapshot, which answers
restored() {
	vm=$1
	shift
	start "$vm" --restore "$W/base.vms" --uuid new "$@" || return 1
	says "$vm" 'echo here-$((1 + 1))' 'here-2'
}
# ending NAME STATUS COMMAND [vmrun options]; $ends: how long the guest may take to end
ends=90
ending() {
	vm=$1 want=$2 typed=$3
	shift 3
	restored "$vm" "$@" && types "$vm" "$typed" && ends_with "$vm" "$want" "$ends"
}
# The kernel is loaded and started anew: images are given beside a snapshot, which has none.
reboots() {
	restored reboots --kernel "$GUEST/vmlinuz" --initrd "$GUEST/root" || return 1
	types reboots 'reboot -f' && wait_line 150 "$W/reboots.out" 'guest ready' || return 1
	says reboots 'echo back-$((1 + 1))' 'back-2' && quit reboots
}
# The guest is told by an input event and decides for itself.
button() {
	start button --restore "$W/base.vms" --uuid new || return 1
	says button 'd=$(grep -l "Power Button" /sys/class/input/input*/name); '\
'e=$(basename ${d%/name}/event*); echo on-$e-' 'on-event[0-9]' || return 1
	says button '(head -c 24 /dev/input/$e | wc -c; poweroff -f) & '\
'sleep 1; echo listens-$((1 + 1))' 'listens-2' || return 1
	ctl button system_powerdown
	ends_with button 0
}
# It writes itself to its swap, enters S4, and is woken by a new vmrun: a shell's variable is kept.
# Writing the image takes several times as long as any other ending.
s4() {
	ends=180
	ending s4 19 'kept=awake-$((40 + 2)); echo 0 >/sys/power/image_size; '\
'mkswap /dev/vda; swapon /dev/vda; echo disk >/sys/power/state; echo $kept'
}
# 254:0 is /dev/vda
wakes() {
	start woken --kernel "$GUEST/vmlinuz" --initrd "$GUEST/root" --memory 192M \
		--disk "swap=$W/swap" \
		--append "console=ttyS0 quiet vmferry=sh:echo,254:0,>/sys/power/resume" || return 1
	wait_line 150 "$W/woken.out" 'awake-42' && quit woken
}

claim prepare 280 prepare
claim power-off 220 ending off 0 'poweroff -f'
claim reset-exits 220 ending reset 16 'reboot -f' --on-reboot exit
claim reset-boots 280 reboots
claim panic 220 ending panic 17 'echo c >/proc/sysrq-trigger'
claim power-button 220 button
claim hibernate 310 s4
claim wake 280 wakes
