# SPDX-License-Identifier: MIT
# Programs that the suites call, one row each: $(call tool,NAME,SOURCES) is tests/tools/NAME.c
# linked with SOURCES, format.a and libcommon.a.
$(call tool,acpitables, $(board_fake_SRCS))
$(call tool,damage,     )
$(call tool,leasectl,   )
$(call tool,mksnap,     $(sample_SRCS))
$(call tool,rawcopy,    )
$(call tool,retree,     $(guest_SRCS))
$(call tool,shaketree,  )
$(call tool,snapwrite,  )
$(call tool,stepcheck,  )
