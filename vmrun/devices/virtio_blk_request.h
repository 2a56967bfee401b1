/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_VIRTIO_BLK_REQUEST_H
#define VMRUN_DEVICES_VIRTIO_BLK_REQUEST_H

#include "vmrun/devices/disks.h"
#include "vmrun/devices/virtqueue.h"

struct disk_sync;

/* What a request asks for, and doing it: no queues, no locks (VIRTIO 1.2, 5.2.6). */

#define BLK_SECTOR       512u
/* Data buffers a request: with header and status, half a queue. */
#define BLK_SEG_MAX      126u
#define BLK_SIZE_MAX     (32u << 10)               /* of one buffer */
#define BLK_REQUEST_MAX  (BLK_SEG_MAX * BLK_SIZE_MAX)
#define BLK_DISCARD_MAX  (1u << 21)                /* sectors a range: 1 GiB */
#define BLK_ZERO_MAX     (1u << 16)                /* sectors a range: 32 MiB, maybe written out */
#define BLK_RANGES_MAX   16u                       /* ranges a discard or write-zeroes request */
#define BLK_ID_BYTES     20u

enum blk_type { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11,
		BLK_WRITE_ZEROES = 13 };
/* BLK_NOSPC is not of the specification: no status was written for the guest, and the whole request
 * can be done again. */
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2, BLK_NOSPC = 0x100,
		  BLK_LOST = 0x101 };

struct blk_request {
	struct blk_request *next;
	uint16_t            head;
	bool                again;       /* it was kept: virtio_blk.c */
	uint32_t            type;        /* enum blk_type, or what the guest made up */
	uint64_t            sector;
	unsigned            nread, nwrite;
	uint64_t            read_len;    /* after the header */
	uint64_t            write_len;   /* before the status byte */
	struct virtq_seg    seg[];
};

/* Copies the chain and its header. NULL: *mistake is the driver's error (no byte for a status), or
 * NULL when the host is out of memory. */
struct blk_request *blk_request_make(struct memory *m, const struct virtq_chain *c,
				     const char **mistake);

/* Does the request, with a buf of BLK_REQUEST_MAX bytes: reads and writes the guest's buffers and
 * the status. Any thread, without the machine lock. *written: bytes from the start of the writable
 * part, for the used ring. */
enum blk_status blk_request_run(const struct blk_request *r, struct disk_sync *sync,
				uint64_t capacity, struct memory *m, uint8_t *buf,
				uint32_t *written);

#endif
