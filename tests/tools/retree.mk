TOOLS += retree
retree_SRCS := tests/unit/snapshot_guest.c
