# SPDX-License-Identifier: MIT
# vmrun: hosts one VM. Its rooms list their own files.
include vmrun/accel/module.mk vmrun/board/module.mk vmrun/devices/module.mk vmrun/control/module.mk

PROGS += vmrun
vmrun_SRCS   := main.c options.c setup.c overrides.c apart.c vm.c vm_state.c vm_disks.c vm_events.c vm_reset.c set_boot.c memory.c dirty.c clock.c runstate.c restore.c incoming.c note.c images.c image_pieces.c initrd.c initrd_modules.c cpio.c \
		pulse.c selftest.c info.c chardev.c chardev_host.c loop.c accept.c \
		$(addprefix accel/,$(accel_SRCS)) $(addprefix board/,$(board_SRCS)) \
		$(addprefix devices/,$(devices_SRCS)) $(addprefix control/,$(control_SRCS))
vmrun_USES   := format libcommon
vmrun_LDLIBS := -larchive -lfdt -ljansson -lzstd -lxxhash -lcrypto -lm -pthread
