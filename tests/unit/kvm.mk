# SPDX-License-Identifier: MIT
# KVM over a stand-in for the board, on x86-64 hosts; skipped there where KVM can't be used.
ifneq ($(accel_kvm_SRCS),)
kvm_SRCS := tests/unit/kvm_rig.c tests/unit/tap.c vmrun/memory.c vmrun/clock.c $(addprefix vmrun/accel/,$(accel_kvm_SRCS))
UNITS += kvm_exit_test kvm_pause_test kvm_log_test kvm_irq_test kvm_fail_test
kvm_exit_test_SRCS  := $(kvm_SRCS)
kvm_pause_test_SRCS := $(kvm_SRCS)
kvm_log_test_SRCS   := $(kvm_SRCS)
kvm_irq_test_SRCS   := $(kvm_SRCS)
kvm_fail_test_SRCS  := $(kvm_SRCS)
# They say that KVM, or the host, can do less than it can.
$(BUILD)/tests/kvm_log_test: LDFLAGS += -Wl,--wrap=ioctl
$(BUILD)/tests/kvm_fail_test: LDFLAGS += -Wl,--wrap=ioctl,--wrap=open64,--wrap=mmap64,--wrap=pthread_create
endif
