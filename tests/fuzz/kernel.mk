# SPDX-License-Identifier: MIT
FUZZ += kernel
kernel_fuzz_SRCS := vmrun/board/kernel.c vmrun/board/riscv64/riscv64_kernel.c vmrun/board/x86_64/x86_64_kernel.c
