# SPDX-License-Identifier: MIT
TOOLS += snapwrite
