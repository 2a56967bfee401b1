TOOLS += mksnap damage
mksnap_SRCS := tests/unit/sample.c
