# SPDX-License-Identifier: MIT
# vmsnap: saves a running VM, and converts snapshots.
#   main        the two commands, and what is said about them
#   options     the command line
#   save        lease, rounds, pause, state, publication, in the order its comment explains
#   save_images kernel and initrd, to be put in
#   convert     the order of a conversion
#   convert_in  the snapshot to be converted, as a file that can be read in any order
#   convert_spool     one that can be read only once, into a temporary file
#   convert_images    its kernel and initrd
#   convert_pages     its pages, each once, in ascending order
#   convert_report    the report of a conversion, text or JSON
#   destination where a snapshot goes: a file that gets its name at the end, or standard output
#   temporary   files without a name
#   space       space on the file system, reserved before it is written
#   inuse       files of the VM that a snapshot must not replace
#   interrupt   signals end the tool at once, except while a file gets its name
#   report      the report of a save, text or JSON
PROGS += vmsnap
vmsnap_SRCS   := main.c options.c save.c save_images.c space.c inuse.c interrupt.c report.c \
	convert.c convert_in.c convert_spool.c convert_images.c convert_pages.c convert_report.c \
	destination.c temporary.c
vmsnap_USES   := format libcommon
vmsnap_LDLIBS := -lfdt -ljansson -lzstd -lxxhash -lcrypto -lm -pthread
