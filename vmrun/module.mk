# SPDX-License-Identifier: MIT
# vmrun: hosts one VM. Rooms with many files list their own.
#   host/       the host's side: event loop, character devices, accepting connections
#   boot/       kernel and initrd: read, packed, kept for reboots and moves
#   commands/   vmrun's commands for users beside running a VM: list, ctl, info, selftest
# The VM itself, which names no room but host, boot, board and devices, and knows control as a
# callback (tests/tools/lint-includes):
#   vm, vm_runstate          open, run, end; who may run it
#   vm_events, vm_event.h    what guest, devices and terminal ask for
#   vm_sections, vm_state    state gathered, saved, loaded; pulse: all of it in place
#   vm_disks, blk_all        disks of the VM: fingerprints, flushes, a full host
#   vm_boot, vm_reset        power-on and resets
#   memory, dirty, clock     guest memory, the dirty log, guest time
#   memory_file              memory that is a private mapping of a file; pagemap_scan: which of its
#                            pages the guest has written; sigbus: accesses that fail
#   vm_memory                what the VM does when that file was truncated or modified
# The command line:
#   main, options, setup, overrides, apart, vm_incoming
#   restore, restore_copy, restore_cow  from a snapshot: what all ways share; read; mapped
include vmrun/accel/module.mk vmrun/board/module.mk vmrun/devices/module.mk vmrun/control/module.mk

PROGS += vmrun
host_SRCS     := loop.c chardev.c chardev_host.c chardev_spec.c accept.c
boot_SRCS     := boot_images.c image_pieces.c initrd.c initrd_modules.c cpio.c set_boot.c
commands_SRCS := list.c ctl.c ctl_wait.c info.c selftest.c
vmrun_room     = $(addprefix $(1)/,$($(1)_SRCS))
vmrun_SRCS    := main.c options.c setup.c overrides.c apart.c vm.c vm_boot.c vm_runstate.c \
		 vm_state.c vm_sections.c vm_disks.c blk_all.c vm_events.c vm_reset.c \
		 vm_incoming.c vm_memory.c memory.c memory_file.c pagemap_scan.c sigbus.c \
		 dirty.c clock.c restore.c restore_copy.c restore_cow.c note.c pulse.c \
		 $(foreach r,host boot commands accel board devices control,$(call vmrun_room,$(r)))
vmrun_USES    := format libcommon
vmrun_LDLIBS  := -larchive -lfdt -ljansson -lzstd -lxxhash -lcrypto -lm -pthread
