# SPDX-License-Identifier: MIT
# The unit tests, one row each: $(call unit,NAME,SOURCES) is tests/unit/NAME_test.c linked with
# SOURCES, tap.c, format.a and libcommon.a. Where those three are enough, SOURCES is empty.

# What several tests share.
guest_SRCS   := tests/unit/snapshot_guest.c
sample_SRCS  := tests/unit/sample.c tests/unit/sample_x86.c
chardev_SRCS := $(addprefix vmrun/host/,loop.c chardev.c chardev_host.c chardev_spec.c \
		accept.c)
memory_SRCS  := $(addprefix vmrun/,memory.c memory_file.c pagemap_scan.c sigbus.c)
core_SRCS    := tests/unit/core_fake.c $(memory_SRCS) vmrun/clock.c
# Devices over a fake accelerator; with the boards of vmrun behind them in board_fake_SRCS.
device_fake_SRCS := tests/unit/board_fake.c $(memory_SRCS) vmrun/clock.c \
		    $(chardev_SRCS) $(addprefix vmrun/devices/,$(devices_SRCS))
board_fake_SRCS  := $(device_fake_SRCS) $(addprefix vmrun/board/,$(board_SRCS))
# An accelerator over a stand-in for the board.
rv64_SRCS := tests/unit/rv64_harness.c $(memory_SRCS) vmrun/clock.c \
	     $(addprefix vmrun/accel/,$(accel_soft_SRCS))
kvm_SRCS  := tests/unit/kvm_rig.c $(memory_SRCS) vmrun/clock.c \
	     $(addprefix vmrun/accel/,$(accel_kvm_SRCS))

# libcommon and format
$(call unit,adapt,        )
$(call unit,auth,         $(guest_SRCS))
$(call unit,chunk,        $(guest_SRCS))
$(call unit,chunk_table,  )
$(call unit,encoder,      $(guest_SRCS))
$(call unit,fail,         )
$(call unit,field,        )
$(call unit,file_parts,   $(guest_SRCS))
$(call unit,flat,         $(guest_SRCS))
$(call unit,hostkey,      )
$(call unit,image,        $(guest_SRCS))
$(call unit,images,       $(guest_SRCS))
$(call unit,index_level,  )
$(call unit,lease_client, )
$(call unit,machine,      $(sample_SRCS))
$(call unit,moves,        )
$(call unit,option,       )
$(call unit,pageset,      )
$(call unit,populated,    )
# libcommon.a comes last, and the engine hashes pages by format.a.
$(call unit,precopy,      format/snapshot/page_chunk.c)
$(call unit,progress,     )
$(call unit,publish,      )
$(call unit,refused,      $(guest_SRCS))
$(call unit,snapshot,     $(guest_SRCS) $(sample_SRCS))
$(call unit,text,         )
$(call unit,tree,         $(sample_SRCS))
$(call unit,units,        )
$(call unit,x86_state,    $(sample_SRCS))

# These count what is read of a file; one makes it up.
$(BUILD)/tests/image_test $(BUILD)/tests/index_level_test: LDFLAGS += -Wl,--wrap=io_pread
$(BUILD)/tests/flat_test: LDFLAGS += -Wl,--wrap=io_pread,--wrap=io_read_cancel
# This one takes a system call away.
$(BUILD)/tests/memory_test: LDFLAGS += -Wl,--wrap=ioctl

# vmmigrate
$(call unit,handover,     $(addprefix vmmigrate/,source_handover.c find.c message.c \
			  message_members.c wire.c address.c))
$(call unit,receiver,     $(addprefix vmmigrate/,message.c message_members.c wire.c address.c \
			  receiver.c target_fill.c))
$(call unit,wire,         $(addprefix vmmigrate/,message.c message_members.c wire.c address.c \
			  sender.c receiver.c))
# Holds writes up, and lets them fail.
$(BUILD)/tests/receiver_test: LDFLAGS += -Wl,--wrap=page_sink_batch

# vmrun: the core, over fakes of accelerator, board and control server
$(call unit,clock,        vmrun/clock.c)
$(call unit,dirty,        $(core_SRCS) vmrun/dirty.c)
$(call unit,events,       vmrun/vm_events.c vmrun/vm_memory.c vmrun/note.c $(memory_SRCS))
$(call unit,memory,       $(memory_SRCS))
$(call unit,qmp,          vmrun/control/qmp.c)
$(call unit,reset,        $(core_SRCS) vmrun/vm_reset.c vmrun/vm_runstate.c)
$(call unit,runstate,     $(core_SRCS) vmrun/vm_runstate.c)

# vmrun: what it loads, and its character devices
$(call unit,chardev,      $(chardev_SRCS))
$(call unit,image_pieces, vmrun/boot/image_pieces.c)
$(call unit,initrd,       $(addprefix vmrun/boot/,initrd.c initrd_modules.c cpio.c))

# vmrun: boards and devices
$(call unit,acpi,         $(board_fake_SRCS))
$(call unit,blk,          $(board_fake_SRCS) vmrun/blk_all.c)
$(call unit,boot,         $(board_fake_SRCS))
$(call unit,notifier,     $(board_fake_SRCS))
$(call unit,plic,         $(board_fake_SRCS))
$(call unit,uart,         $(board_fake_SRCS))
$(call unit,virtio,       $(board_fake_SRCS))
$(call unit,virtqueue,    $(board_fake_SRCS))
$(call unit,vmgenid,      $(board_fake_SRCS))
$(call unit,x86_boot,     $(board_fake_SRCS))
# The small devices of a PC, on a board of the test's own: no board/list.c.
$(call unit,x86_devices,  $(device_fake_SRCS) vmrun/board/board.c)

# vmrun: accelerators
$(call unit,rv64,         $(rv64_SRCS))
$(call unit,rv64_oracle,  $(rv64_SRCS))
$(call unit,rv64_smp,     $(rv64_SRCS))
# On x86-64 hosts. The tests skip themselves where KVM can't be used; its headers they do need.
ifneq ($(accel_kvm_SRCS),)
$(call unit,kvm_exit,     $(kvm_SRCS))
$(call unit,kvm_fail,     $(kvm_SRCS))
$(call unit,kvm_irq,      $(kvm_SRCS))
$(call unit,kvm_log,      $(kvm_SRCS))
$(call unit,kvm_pause,    $(kvm_SRCS))
# The CPU's part of a machine, on a host that the test makes up: runs without KVM.
$(call unit,x86_plan,     $(addprefix vmrun/accel/kvm/x86/,kvm_cpuid.c kvm_cpuid_features.c \
			  kvm_cpuid_models.c kvm_cpuid_topology.c kvm_msrs.c))
# These replace system calls, to say that KVM or the host can do less than it can.
$(BUILD)/tests/kvm_log_test:  LDFLAGS += -Wl,--wrap=ioctl
$(BUILD)/tests/kvm_fail_test: LDFLAGS += -Wl,--wrap=ioctl,--wrap=open64,--wrap=mmap64
$(BUILD)/tests/kvm_fail_test: LDFLAGS += -Wl,--wrap=pthread_create
endif
