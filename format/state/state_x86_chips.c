/* SPDX-License-Identifier: MIT */
#include "format/state/state_x86.h"

static const struct field pic_fields[] = {
	F_X8(struct x86_pic_state, last_irr, 1, 0xff),
	F_X8(struct x86_pic_state, irr, 1, 0xff),
	F_X8(struct x86_pic_state, imr, 1, 0xff),
	F_X8(struct x86_pic_state, isr, 1, 0xff),
	F_U8(struct x86_pic_state, priority_add, 1, 7),
	F_X8(struct x86_pic_state, irq_base, 1, 0xff),
	F_X8(struct x86_pic_state, read_reg_select, 1, 0xff),
	F_X8(struct x86_pic_state, poll, 1, 0xff),
	F_X8(struct x86_pic_state, special_mask, 1, 0xff),
	F_X8(struct x86_pic_state, init_state, 1, 0xff),
	F_X8(struct x86_pic_state, auto_eoi, 1, 0xff),
	F_X8(struct x86_pic_state, rotate_on_auto_eoi, 1, 0xff),
	F_X8(struct x86_pic_state, special_fully_nested_mode, 1, 0xff),
	F_X8(struct x86_pic_state, init4, 1, 0xff),
	F_X8(struct x86_pic_state, elcr, 1, 0xff),
	F_X8(struct x86_pic_state, elcr_mask, 1, 0xff),
	F_END
};

static const struct field ioapic_fields[] = {
	F_X64(struct x86_ioapic_state, base, 1, UINT64_MAX),
	F_X32(struct x86_ioapic_state, ioregsel, 1, 0xff),
	F_X32(struct x86_ioapic_state, id, 1, 0x0f),
	F_X32(struct x86_ioapic_state, irr, 1, (1u << X86_IOAPIC_PINS) - 1),
	F_X64_ARRAY(struct x86_ioapic_state, redirect, 1, UINT64_MAX),
	F_END
};

static const struct field pit_fields[] = {
	F_U32_ARRAY(struct x86_pit_state, count, 1, 0x10000),
	F_U32_ARRAY(struct x86_pit_state, latched_count, 1, 0xffff),
	F_U8_ARRAY(struct x86_pit_state, count_latched, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, status_latched, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, status, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, read_state, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, write_state, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, write_latch, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, rw_mode, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, mode, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, bcd, 1, 0xff),
	F_U8_ARRAY(struct x86_pit_state, gate, 1, 0xff),
	F_X64_ARRAY(struct x86_pit_state, count_load_ns, 1, INT64_MAX),
	F_X32(struct x86_pit_state, flags, 1, 3),
	F_END
};

static const struct field kvmclock_fields[] = {
	F_U64(struct x86_kvmclock_state, clock_ns, 1, INT64_MAX),
	F_END
};

const struct state_table x86_pic_state_table = {
	.name = "x86-pic", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_pic_state), .fields = pic_fields,
};
const struct state_table x86_ioapic_state_table = {
	.name = "x86-ioapic", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_ioapic_state), .fields = ioapic_fields,
};
const struct state_table x86_pit_state_table = {
	.name = "x86-pit", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_pit_state), .fields = pit_fields,
};
const struct state_table x86_kvmclock_state_table = {
	.name = "x86-kvmclock", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_kvmclock_state), .fields = kvmclock_fields,
};
