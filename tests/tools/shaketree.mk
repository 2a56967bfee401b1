# SPDX-License-Identifier: MIT
TOOLS += shaketree
