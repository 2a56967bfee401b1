# shellcheck shell=dash disable=SC1091,SC2016,SC2317  # the guest expands what is typed
# How a guest ends. It boots once, is saved at its shell, and each ending starts from that snapshot: a command is typed.
# 192 MiB: with less the kernel finds no room for the image it makes of itself to hibernate.
. "$(dirname "$0")/lib.sh"

prepare() {
	truncate -s 192M "$W/swap"
	boot base shell --disk "swap=$W/swap" --memory 192M && says base 'echo shell-$((6 * 7))' 'shell-42' || return 1
	vmsnap base "$W/base.vms" --stop-after && ends_with base 0
}
ending() {     # ending NAME STATUS COMMAND [vmrun options]
	vm=$1 want=$2 typed=$3
	shift 3
	start "$vm" --restore "$W/base.vms" --uuid new "$@"
	says "$vm" 'echo here-$((1 + 1))' 'here-2' || return 1
	echo "$typed" >"$W/$vm.in"
	ends_with "$vm" "$want" 90
}
# The kernel is loaded and started anew: images are given beside a snapshot, which has none.
reboots() {
	start reboots --restore "$W/base.vms" --uuid new --kernel "$GUEST/vmlinuz" --initrd "$GUEST/root"
	says reboots 'echo here-$((1 + 1))' 'here-2' || return 1
	echo 'reboot -f' >"$W/reboots.in"
	wait_line 150 "$W/reboots.out" 'guest ready' && says reboots 'echo back-$((1 + 1))' 'back-2' && quit reboots
}
# The guest is told by an input event and decides for itself.
button() {
	start button --restore "$W/base.vms" --uuid new
	says button 'd=$(grep -l "Power Button" /sys/class/input/input*/name); e=$(basename ${d%/name}/event*); echo on-$e-' 'on-event[0-9]' || return 1
	says button '(head -c 24 /dev/input/$e | wc -c; poweroff -f) & sleep 1; echo listens-$((1 + 1))' 'listens-2' || return 1
	vmrun ctl button system_powerdown
	ends_with button 0
}
# It writes itself to its swap, says S4, and is woken by a new vmrun: a shell's variable is still there.
s4() { ending s4 19 'kept=awake-$((40 + 2)); echo 0 >/sys/power/image_size; mkswap /dev/vda; swapon /dev/vda; echo disk >/sys/power/state; echo $kept'; }
# 254:0 is /dev/vda
wakes() {
	start woken --kernel "$GUEST/vmlinuz" --initrd "$GUEST/root" --memory 192M --disk "swap=$W/swap" \
		--append "console=ttyS0 quiet vmferry=sh:echo,254:0,>/sys/power/resume"
	wait_line 150 "$W/woken.out" 'awake-42' && quit woken
}

claim prepare prepare
claim power-off ending off 0 'poweroff -f'
claim reset-exits ending reset 16 'reboot -f' --on-reboot exit
claim reset-boots reboots
claim panic ending panic 17 'echo c >/proc/sysrq-trigger'
claim power-button button
claim hibernate s4
claim wake wakes
