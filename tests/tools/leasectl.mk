# SPDX-License-Identifier: MIT
TOOLS += leasectl
leasectl_SRCS :=
