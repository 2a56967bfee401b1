# SPDX-License-Identifier: MIT
TOOLS += stepcheck
