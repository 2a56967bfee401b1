/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/x86_64.h"

#include "libcommon/bytes.h"

#include <string.h>

/* Xen's public/arch-x86/hvm/start_info.h, version 1; all of it in one page. */
#define START_MAGIC   0x336ec578u
#define START_MODULES 0x100u          /* one row: the initrd */
#define START_MAP     0x200u
#define START_MAP_ROW 24u

void x86_64_pvh(uint8_t page[4096], const struct x86_64_start *s)
{
	struct x86_64_map map[X86_64_MAP_MAX];
	unsigned          n = x86_64_map(s->cfg, map);

	memset(page, 0, 4096);
	put_le32(page, START_MAGIC);
	put_le32(page + 4, 1);                                  /* version */
	put_le32(page + 12, s->initrd_len ? 1 : 0);             /* modules */
	put_le64(page + 16, s->initrd_len ? X86_64_START + START_MODULES : 0);
	put_le64(page + 24, X86_64_CMDLINE);
	put_le64(page + 32, s->rsdp);
	put_le64(page + 40, X86_64_START + START_MAP);
	put_le32(page + 48, n);
	put_le64(page + START_MODULES, s->initrd);
	put_le64(page + START_MODULES + 8, s->initrd_len);
	for (unsigned i = 0; i < n; i++) {
		put_le64(page + START_MAP + i * START_MAP_ROW, map[i].gpa);
		put_le64(page + START_MAP + i * START_MAP_ROW + 8, map[i].size);
		put_le32(page + START_MAP + i * START_MAP_ROW + 16, map[i].type);
	}
}
