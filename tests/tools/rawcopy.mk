# SPDX-License-Identifier: MIT
TOOLS += rawcopy
