# SPDX-License-Identifier: MIT
FUZZ += stream image page_chunk
