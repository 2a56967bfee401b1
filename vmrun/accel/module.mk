# accel: what runs the guest's instructions, behind accel.h.
#   soft*          the software CPU as a backend: threads, requests between them, timers
#   rv64_expand    compressed instructions to long ones
#   rv64_decode    instructions to ops
#   rv64_code      decoded pages, fetch TLB
#   rv64_run       executor (bodies in rv64_exec_*.inc)
#   rv64_mmu       Sv39, data TLB, dirty marks; rv64_access: slow loads and stores, atomics
#   rv64_fp        F and D on the host's FPU; rv64_softfp: what no FPU does
#   rv64_csr       CSRs, traps, interrupts
#   rv64_sbi       SBI
accel_SRCS := list.c soft.c soft_hart.c soft_timer.c soft_selftest.c rv64_expand.c rv64_decode.c rv64_code.c rv64_run.c \
	      rv64_mmu.c rv64_access.c rv64_fp.c rv64_softfp.c rv64_csr.c rv64_sbi.c
