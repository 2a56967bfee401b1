/* SPDX-License-Identifier: MIT */
#include "vmrun/board/board.h"

#include "vmrun/board/riscv64/riscv64.h"
#include "vmrun/board/x86_64/x86_64.h"

/* The boards, in the order in which a kernel is shown to them. */
const struct board_ops *const board_list[] = { &board_riscv64, &board_x86_64, NULL };
