# SPDX-License-Identifier: MIT
# vmsnap: saves a running VM.
#   main        the life of a save, and what is said about it
#   options     the command line
#   save        lease, rounds, pause, state, publication, in the order its comment explains
#   save_images kernel and initrd, to be put in
#   space       space on the file system, reserved before it is written
#   inuse       files of the VM that a snapshot must not replace
#   interrupt   signals end the tool at once, except while a file gets its name
#   report      the final report, text or JSON
PROGS += vmsnap
vmsnap_SRCS   := main.c options.c save.c save_images.c space.c inuse.c interrupt.c report.c
vmsnap_USES   := format libcommon
vmsnap_LDLIBS := -lfdt -ljansson -lzstd -lxxhash -lcrypto -lm -pthread
