# vmrun: hosts one VM. Its rooms list their own files.
include vmrun/accel/module.mk vmrun/board/module.mk vmrun/devices/module.mk vmrun/control/module.mk

PROGS += vmrun
vmrun_SRCS   := main.c $(addprefix accel/,$(accel_SRCS)) $(addprefix board/,$(board_SRCS)) \
		$(addprefix devices/,$(devices_SRCS)) $(addprefix control/,$(control_SRCS))
vmrun_USES   := format libcommon
vmrun_LDLIBS := -larchive -lfdt -ljansson -lzstd -lxxhash -lm -pthread
