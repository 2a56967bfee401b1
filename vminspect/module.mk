# SPDX-License-Identifier: MIT
# vminspect: looks into snapshots, offline. Links nothing of vmrun.
#   main           which command runs
#   options        the table of options and commands; operands
#   input          a file or a pipe, and what it is when it is no snapshot
#   open_snapshot  all that the commands ask of a snapshot, from a file by its index or from a pipe
#                  in one pass
#   rounds         what was written round by round
#   show           text that cannot steer a terminal; JSON
#   info, tree, regs, mem, verify  one command each
#   properties     properties of the VM tree and how they read
#   dts            the tree as dtc's source text
#   tree_json      the tree as JSON
#   arch/          a kind of CPU: regs_riscv, regs_x86: its registers; riscv, x86: what their bits
#                  mean
PROGS += vminspect
vminspect_SRCS   := main.c options.c input.c open_snapshot.c rounds.c show.c info.c info_json.c \
		    tree.c properties.c dts.c tree_json.c regs.c arch/regs_riscv.c \
		    arch/regs_x86.c arch/riscv.c arch/x86.c mem.c verify.c
vminspect_USES   := format libcommon
vminspect_LDLIBS := -lfdt -ljansson -lzstd -lxxhash -lcrypto -lm -pthread
