# SPDX-License-Identifier: MIT
# The fuzz targets, one row each: $(call target,NAME,SOURCES) is tests/fuzz/NAME.c with SOURCES and
# all of format and libcommon. Its corpus is the folder tests/fuzz/corpus/NAME.
$(call target,image,        )
$(call target,kernel,       $(addprefix vmrun/board/,kernel.c riscv64/riscv64_kernel.c \
			    x86_64/x86_64_kernel.c))
$(call target,machine,      $(sample_SRCS))
$(call target,page_chunk,   )
$(call target,qmp_line,     vmrun/control/qmp.c)
$(call target,state_tables, )
$(call target,stream,       )
$(call target,virtqueue,    $(board_fake_SRCS))
$(call target,wire,         $(addprefix vmmigrate/,message.c message_members.c wire.c address.c \
			    receiver.c))
