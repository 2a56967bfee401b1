# SPDX-License-Identifier: MIT
# The CPU's part of a machine on a host that is made up: no KVM is needed, but its headers are.
ifneq ($(accel_kvm_SRCS),)
UNITS += x86_plan_test
x86_plan_test_SRCS := $(addprefix vmrun/accel/kvm/x86/,kvm_cpuid.c kvm_cpuid_features.c \
		      kvm_cpuid_models.c kvm_cpuid_topology.c kvm_msrs.c)
endif
