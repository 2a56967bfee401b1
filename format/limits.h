/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_LIMITS_H
#define FORMAT_LIMITS_H

/* What this build accepts from files, peers and guests. Each is checked before any allocation that
 * depends on it. */
#define LIMIT_CPUS         512u
#define LIMIT_CPUS_X86     128u                    /* state of each: at most 21 KB */
#define LIMIT_CPUID        256u                    /* answers of CPUID */
#define LIMIT_MSRS         512u
#define LIMIT_REGIONS      16u
#define LIMIT_DEVICES      64u
#define LIMIT_HOSTS        64u
#define LIMIT_REGION_BYTES ((uint64_t)1 << 44)     /* 16 TiB a region, and all memory of a VM */
#define LIMIT_TREE_BYTES   (4u << 20)              /* a VM tree, FDT blob */
#define LIMIT_STATE_BYTES  LIMIT_TREE_BYTES        /* the VM tree with state */
#define LIMIT_PROP_BYTES   (64u << 10)             /* one property */
#define LIMIT_CHUNK_BYTES  (8u << 20)              /* payload of one chunk */
#define LIMIT_DATA_BYTES   (2u << 20)              /* raw page bytes of one page chunk */
#define LIMIT_INDEX_RUNS   ((uint64_t)1 << 40)
#define LIMIT_DIRECTORY    (1u << 20)              /* chunks besides pages and index */
#define LIMIT_IMAGE_BYTES  ((uint64_t)1 << 30)     /* a kernel, an initrd */

#endif
