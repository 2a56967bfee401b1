# SPDX-License-Identifier: MIT
# accel: what runs the guest's instructions, behind accel.h; accel_list: the backends.
# A new backend is a folder here, its sources below and a row in accel_list.c.
# soft/:
#   soft*          the software CPU as a backend: threads, requests between them, timers
#   rv64_expand    compressed instructions to long ones
#   rv64_decode    instructions to ops
#   rv64_code      decoded pages, fetch TLB
#   rv64_run       executor (bodies in rv64_exec_*.inc)
#   rv64_mmu       Sv39, data TLB, dirty marks; rv64_access: slow loads and stores, atomics
#   rv64_fp        F and D on the host's FPU; rv64_softfp: what no FPU does
#   rv64_csr       CSRs, traps, interrupts
#   rv64_sbi       SBI
# kvm/:
#   kvm            KVM as a backend, on x86-64 hosts only
#   kvm_caps       what this host's KVM can do, ioctls
#   kvm_slots      memory, dirty log
#   kvm_vcpu       a vCPU's thread; kvm_exit: why it left the guest
#   kvm_irq        interrupts; kvm_selftest
# kvm/x86/:
#   kvm_cpuid      what CPUID answers the guest (_features: what can be offered; _models: --cpu;
#                  _topology)
#   kvm_cpu        a vCPU's state; kvm_msrs: which MSRs
#   kvm_chips      the in-kernel interrupt controllers and PIT; kvm_time: kvm-clock and TSC
accel_soft_SRCS := $(addprefix soft/,soft.c soft_hart.c soft_timer.c soft_selftest.c \
		   rv64_expand.c rv64_decode.c rv64_code.c rv64_run.c rv64_mmu.c rv64_access.c \
		   rv64_fp.c rv64_softfp.c rv64_csr.c rv64_sbi.c)
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
accel_kvm_SRCS := $(addprefix kvm/,kvm.c kvm_caps.c kvm_slots.c kvm_vcpu.c kvm_exit.c kvm_irq.c \
		  kvm_selftest.c) \
		  $(addprefix kvm/x86/,kvm_cpuid.c kvm_cpuid_features.c kvm_cpuid_models.c \
		  kvm_cpuid_topology.c kvm_cpu.c kvm_msrs.c kvm_chips.c kvm_time.c)
endif
accel_SRCS := accel_list.c $(accel_soft_SRCS) $(accel_kvm_SRCS)
