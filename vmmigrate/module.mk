# SPDX-License-Identifier: MIT
# vmmigrate: moves a running VM to another host; docs/protocol.md.
#   main, options   the command line; what is printed
#   address         HOST:PORT, connecting, listening, loopback or not
#   message         control messages: structs to JSON and back, by a table of members
#   message_members those that are lists or have a form of their own
#   wire            preamble and chunks over a socket, deadlines, the bandwidth cap
#   source          a move from the side that gives: its stages
#   source_hello    HELLO: what is offered, and where its memory is populated
#   sender          pages onto the wire, barriers, what is asked for again, the audit's hashes
#   move_images     kernel and initrd, offered, sent and taken
#   image_cache     those that have come, by content
#   source_handover after RELEASED: GO until it is answered; taking back; letting go
#   listen          the side that takes: connections, children
#   slots           how many connections are served at a time, and which give way
#   unresolved      moves without an outcome, and when their sources are asked
#   target          one incoming move: agree, load, READY, GO
#   target_check    what is checked before it agrees
#   target_fill     memory and images, from AGREE to STATE
#   spawn           starting vmrun --incoming
#   receiver        pages off the wire into memory, the audit
#   outcome         GO, ABORT and QUERY about moves of the past; records without a listener
#   find            the live vmrun of a VM; the judged record
#   answer          --answer: a source that answers the target's questions
#   status          `status`
#   resume          `resume`
#   resolve         `resolve`
#   note            a listener's lines
PROGS += vmmigrate
vmmigrate_SRCS   := main.c options.c address.c message.c message_members.c wire.c move_images.c \
		    image_cache.c source.c source_hello.c source_handover.c sender.c answer.c \
		    listen.c slots.c unresolved.c target.c target_check.c target_fill.c spawn.c \
		    receiver.c outcome.c find.c status.c resume.c resolve.c note.c
vmmigrate_USES   := format libcommon
vmmigrate_LDLIBS := -larchive -lfdt -ljansson -lzstd -lxxhash -lcrypto -lm -pthread
