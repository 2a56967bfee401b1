TOOLS += leasectl
leasectl_SRCS :=
