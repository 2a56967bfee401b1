# SPDX-License-Identifier: MIT
TOOLS += retree
retree_SRCS := tests/unit/snapshot_guest.c
