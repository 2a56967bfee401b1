LIBS += format
format_SRCS :=
# The snapshot file: docs/format.md.
format_SRCS += chunk.c page_chunk.c pagemap.c content.c header.c index.c regions.c output.c writer.c stream.c
