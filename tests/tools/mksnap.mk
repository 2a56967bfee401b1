# SPDX-License-Identifier: MIT
TOOLS += mksnap damage
mksnap_SRCS := tests/unit/sample.c tests/unit/sample_x86.c
