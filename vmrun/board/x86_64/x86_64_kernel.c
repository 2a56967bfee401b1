/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/x86_64.h"

#include "libcommon/bytes.h"

#include <inttypes.h>
#include <string.h>

/* Linux' setup header, Documentation/arch/x86/boot.rst: offsets in the file and in the zero
 * page. */
#define SETUP_HEADER    0x1f1u
#define SETUP_SECTS     0x1f1u
#define SETUP_SYSSIZE   0x1f4u          /* of 16 bytes */
#define SETUP_JUMP      0x201u          /* the header ends that far after 0x202 */
#define SETUP_MAGIC     0x202u
#define SETUP_VERSION   0x206u
#define SETUP_LOADFLAGS 0x211u
#define SETUP_INITRD    0x22cu
#define SETUP_ALIGN     0x230u
#define SETUP_MOVABLE   0x234u
#define SETUP_XLOAD     0x236u
#define SETUP_CMDLINE   0x238u
#define SETUP_PREFERRED 0x258u
#define SETUP_INIT_SIZE 0x260u
#define SETUP_END       0x264u
#define SETUP_MAX       0x290u          /* other fields of the zero page follow */

#define LOADED_HIGH   0x01u
#define XLF_KERNEL_64 0x01u
#define ENTRY_64      0x200u            /* of the 64-bit entry, from the load address */

#define PVH_NOTE 18u                    /* XEN_ELFNOTE_PHYS32_ENTRY */

bool x86_64_kernel(const uint8_t *head, size_t len)
{
	if (len >= sizeof(Elf32_Ehdr) && !memcmp(head, ELFMAG, SELFMAG))
		return get_le16(head + 18) == EM_X86_64 || get_le16(head + 18) == EM_386;
	return len >= SETUP_END && get_le16(head + 0x1fe) == 0xaa55 &&
	       !memcmp(head + SETUP_MAGIC, "HdrS", 4);
}

/* ELF notes, names and contents each padded to a multiple of 4. True when one of them is PVH's. */
static bool x86_64_note(const uint8_t *p, uint64_t len, uint64_t *entry)
{
	while (len >= 12) {
		uint64_t name = get_le32(p), content = get_le32(p + 4);
		uint64_t skip = (name + 3) & ~(uint64_t)3;

		if (skip > len - 12 || content > len - 12 - skip)
			return false;
		if (get_le32(p + 8) == PVH_NOTE && name == 4 && !memcmp(p + 12, "Xen", 4) &&
		    (content == 4 || content == 8)) {
			*entry = content == 4 ? get_le32(p + 16) : get_le64(p + 16);
			return true;
		}
		skip += 12 + ((content + 3) & ~(uint64_t)3);
		if (skip > len)
			return false;
		p   += skip;
		len -= skip;
	}
	return false;
}

static bool x86_64_pvh_entry(const struct kernel_elf *e, uint64_t *entry)
{
	Elf64_Phdr p;

	for (unsigned i = 0; i < e->phnum; i++) {
		kernel_elf_header(e, i, &p);
		if (p.p_type == PT_NOTE && p.p_offset <= e->file->len &&
		    p.p_filesz <= e->file->len - p.p_offset &&
		    x86_64_note(e->file->data + p.p_offset, p.p_filesz, entry))
			return true;
	}
	return false;
}

static int x86_64_elf(struct x86_64_kernel *k, const struct kernel_file *f, struct fail *why)
{
	struct kernel_elf e;
	uint64_t          entry = 0;
	bool              pvh;

	if (kernel_elf_open(&e, f, why))
		return -1;
	if (e.machine != (e.wide ? EM_X86_64 : EM_386))
		return fail_set(why, FAIL_USAGE,
				"kernel: unsupported ELF machine, expected x86-64");
	pvh = x86_64_pvh_entry(&e, &entry);
	if (!pvh && !e.wide)
		return fail_set(why, FAIL_USAGE,
				"kernel: 32-bit ELF file without a PVH note not supported");
	if (kernel_elf_load(&k->k, &e, why))
		return -1;
	k->how = pvh ? BOOT_X86_PVH : BOOT_X86_64;
	return kernel_elf_entry(&k->k, pvh ? entry : e.entry, why);
}

/* Its preferred address, or as low as it can be relocated: the protected-mode part, which needs
 * size bytes in all once it runs. */
static int x86_64_bzimage_place(struct x86_64_kernel *k, const struct kernel_file *f, uint64_t size,
				struct fail *why)
{
	uint64_t at = get_le64(f->data + SETUP_PREFERRED), align = get_le32(f->data + SETUP_ALIGN);

	if (!kernel_fits(f, at, size) && f->data[SETUP_MOVABLE]) {
		if (align < 4096 || align > (1u << 30) || align & (align - 1))
			return fail_at(why, FAIL_CORRUPT, SETUP_ALIGN,
					"kernel: invalid bzImage alignment 0x%" PRIx64, align);
		at = (f->ram + align - 1) & ~(align - 1);
	}
	if (at < f->ram)
		return fail_at(why, FAIL_CORRUPT, SETUP_PREFERRED,
				"kernel: invalid bzImage load address 0x%" PRIx64 ", below 1 MiB",
				at);
	if (!kernel_fits(f, at, size))
		return fail_set(why, FAIL_USAGE,
				"kernel: does not fit into RAM: needs %" PRIu64 " MiB at %" PRIu64
				" MiB, RAM ends at %" PRIu64 " MiB; increase --memory",
				(size + 0xfffff) >> 20, at >> 20, (f->ram + f->ram_size) >> 20);
	k->k.entry = at + ENTRY_64;
	k->k.lo    = at;
	k->k.hi    = at + size;
	return 0;
}

static int x86_64_bzimage(struct x86_64_kernel *k, const struct kernel_file *f, struct fail *why)
{
	const uint8_t *d = f->data;
	unsigned       version = get_le16(d + SETUP_VERSION);
	size_t         setup = ((d[SETUP_SECTS] ? d[SETUP_SECTS] : 4u) + 1u) * 512u;
	size_t         end   = SETUP_MAGIC + d[SETUP_JUMP];
	uint64_t       code  = (uint64_t)get_le32(d + SETUP_SYSSIZE) * 16;
	uint64_t       size  = get_le32(d + SETUP_INIT_SIZE);

	/* Which has xloadflags; 3.8 and later. */
	if (version < 0x020c)
		return fail_at(why, FAIL_USAGE, SETUP_VERSION,
			"kernel: unsupported bzImage boot protocol %u.%02u, expected 2.12 or later",
			version >> 8, version & 0xff);
	if (!(d[SETUP_LOADFLAGS] & LOADED_HIGH) || !(d[SETUP_XLOAD] & XLF_KERNEL_64))
		return fail_at(why, FAIL_USAGE, SETUP_XLOAD,
				"kernel: bzImage without a 64-bit entry point not supported");
	/* The last 16 bytes may be less; a signature may follow. */
	if (setup >= f->len || code > f->len - setup + 15)
		return fail_set(why, FAIL_CORRUPT,
				"kernel: truncated: bzImage of %" PRIu64 " bytes, file has %zu",
				setup + code, f->len);
	if (code > f->len - setup)
		code = f->len - setup;
	if (code <= ENTRY_64)
		return fail_at(why, FAIL_CORRUPT, SETUP_SYSSIZE,
				"kernel: invalid bzImage code size: %" PRIu64 " bytes", code);
	if (x86_64_bzimage_place(k, f, size > code ? size : code, why))
		return -1;
	k->k.nsegments   = 1;
	k->k.segments[0] = (struct kernel_segment){ .gpa = k->k.lo, .at = setup,
						    .len = (size_t)code };
	k->how           = BOOT_X86_64;
	k->header        = d + SETUP_HEADER;
	end              = end < SETUP_END ? SETUP_END : end > SETUP_MAX ? SETUP_MAX : end;
	k->header_len    = end - SETUP_HEADER;
	k->cmdline_max   = get_le32(d + SETUP_CMDLINE);
	if (get_le32(d + SETUP_INITRD) < k->initrd_end)
		k->initrd_end = (uint64_t)get_le32(d + SETUP_INITRD) + 1;
	return 0;
}

int x86_64_parse(struct x86_64_kernel *k, const uint8_t *data, size_t len, uint64_t ram_end,
		 struct fail *why)
{
	const struct kernel_file f = { .data = data, .len = len, .ram = X86_64_KERNEL,
				       .ram_size = ram_end - X86_64_KERNEL };

	*k = (struct x86_64_kernel){ .initrd_end = ram_end, .cmdline_max = UINT64_MAX };
	if (kernel_is_elf(&f))
		return x86_64_elf(k, &f, why);
	if (len >= 1024 && x86_64_kernel(data, len))
		return x86_64_bzimage(k, &f, why);
	if (len >= 2 && data[0] == 0x1f && data[1] == 0x8b)
		return fail_set(why, FAIL_USAGE,
			"kernel: gzip-compressed kernel not supported: decompress it first");
	return fail_set(why, FAIL_USAGE,
			"kernel: unsupported format (supported: Linux bzImage, x86-64 ELF)");
}
