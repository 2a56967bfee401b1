/* SPDX-License-Identifier: MIT */
/* Syncing the dirty log: what is written reaches every consumer; no page is lost to a save or a
 * sync that fails. */
#include "tests/unit/core_fake.h"
#include "tests/unit/tap.h"

#include "libcommon/populated.h"

#include <stdio.h>
#include <stdlib.h>

/* As a write does: the page is there, then it is marked. */
static void mark(struct vm *vm, unsigned region, uint64_t page)
{
	vm->memory.regions[region].host[page * GUEST_PAGE] = 1;
	region_mark(&vm->memory.regions[region], page, 1);
}

static uint64_t word(struct dirty_consumer *c, unsigned region)
{
	return atomic_load(&c->map[region][0]);
}

/* The first map of an epoch, whose consumer is its first member. */
static uint64_t epoch_word(struct epoch *e)
{
	return word((struct dirty_consumer *)(void *)e, 0);
}

/* A large VM that uses little: 64 GiB, three pages. */
static void sparse(void)
{
	const unsigned        npages = 1u << 24, last = npages - 1;
	struct vm             vm;
	struct dirty_consumer a    = { .map = { calloc(npages / 64, 8) } };
	struct uuid           s1   = { { 1 } }, s2 = { { 2 } };
	struct fail           why  = { 0 };
	uint64_t              fresh = 0;

	core_fake_open(&vm, npages);
	dirty_consumer_add(&vm.dirty, &a, &why);
	dirty_epoch_begin(&vm.dirty, &s1, &why);
	dirty_epoch_commit(&vm.dirty, &s1, &why);
	dirty_epoch_begin(&vm.dirty, &s2, &why);
	mark(&vm, 0, 0);
	mark(&vm, 0, 9000000);
	mark(&vm, 0, last);
	ok(dirty_sync(&vm.dirty, &a, &fresh, &why) == 0 && fresh == 3 &&
		   vm.dirty.words <= 3 * POPULATED_WORDS,
	   "a sync looks at the maps of what is used, not of all");
	dirty_epoch_abandon(&vm.dirty);
	ok(epoch_word(vm.dirty.epoch) == 1 &&
	   atomic_load(&((struct dirty_consumer *)(void *)vm.dirty.epoch)->map[0][last / 64]) >> 63,
	   "the last page too is given back to the epoch before");
	region_mark(&vm.memory.regions[0], 4000000, 1);
	dirty_sync(&vm.dirty, &a, &fresh, &why);
	vm.memory.regions[0].host[(uint64_t)4000000 * GUEST_PAGE] = 1;
	ok(dirty_sync(&vm.dirty, &a, &fresh, &why) == 0 && fresh == 1,
	   "a mark of a page that is about to exist waits for the next sync");
	dirty_consumer_remove(&vm.dirty, &a);
	dirty_epoch_close(&vm.dirty);
	core_fake_close(&vm);
	free(a.map[0]);
}

int main(void)
{
	struct vm             vm;
	bitmap_word           a0[2] = { 0 }, a1[2] = { 0 }, b0[2] = { 0 };
	struct dirty_consumer a = { .map = { a0, a1 } }, b = { .map = { b0 } };
	struct uuid           s1 = { { 1 } }, s2 = { { 2 } }, s3 = { { 3 } };
	struct fail           why = { 0 };
	uint64_t              fresh = 0;

	core_fake_open(&vm, 100);
	dirty_consumer_add(&vm.dirty, &a, &why);
	dirty_consumer_add(&vm.dirty, &b, &why);
	mark(&vm, 0, 3);
	mark(&vm, 0, 99);
	mark(&vm, 1, 7);
	ok(dirty_sync(&vm.dirty, &a, &fresh, &why) == 0 && fresh == 3,
	   "a sync counts what is fresh to the one who asks");
	ok(word(&a, 0) == 1 << 3 && word(&a, 1) == 1 << 7 &&
	   atomic_load(&a0[1]) == (uint64_t)1 << 35, "every page written is in its map");
	ok(word(&b, 0) == 1 << 3, "and in every other consumer's");
	ok(atomic_load(&vm.memory.regions[0].dirty[0]) == 0, "the marks are taken");
	mark(&vm, 0, 3);
	mark(&vm, 0, 4);
	ok(dirty_sync(&vm.dirty, &a, &fresh, &why) == 0 && fresh == 1,
	   "a page that is still in the map is not fresh");
	ok(bitmap_take(&(uint64_t){ 0 }, a0, 64) == 2, "what a client takes by exchange");
	core_fake.own_marks = 1 << 10;
	ok(dirty_sync(&vm.dirty, &a, &fresh, &why) == 0 && fresh == 1 && word(&a, 0) == 1 << 10 &&
	   word(&b, 0) == (1 << 3 | 1 << 4 | 1 << 10),
	   "the accelerator's own log is added");
	core_fake.own_marks    = 0;
	core_fake.fail_sync = true;
	mark(&vm, 0, 20);
	ok(dirty_sync(&vm.dirty, &a, &fresh, &why) == -1 && word(&a, 0) == 1 << 10,
	   "a sync that fails names no page");
	core_fake.fail_sync = false;
	ok(dirty_sync(&vm.dirty, &a, &fresh, &why) == 0 && fresh == 1 &&
	   word(&a, 0) == (1 << 10 | 1 << 20), "and loses none");
	dirty_consumer_remove(&vm.dirty, &b);
	dirty_consumer_remove(&vm.dirty, &b);
	mark(&vm, 0, 21);
	ok(dirty_sync(&vm.dirty, NULL, NULL, &why) == 0 && !(word(&b, 0) & 1 << 21) &&
	   word(&a, 0) & 1 << 21, "a consumer that left gets nothing");

	ok(dirty_epoch_begin(&vm.dirty, &s1, &why) == 0 &&
	   dirty_epoch_commit(&vm.dirty, &s2, &why) == -1 && why.kind == FAIL_REFUSED &&
	   dirty_epoch_commit(&vm.dirty, &s1, &why) == 0 && vm.dirty.epoch &&
	   !vm.dirty.epoch_pending,
	   "only the pending snapshot can be committed");
	mark(&vm, 0, 1);
	dirty_sync(&vm.dirty, NULL, NULL, &why);
	ok(epoch_word(vm.dirty.epoch) == 1 << 1,
	   "an epoch collects what is written since its snapshot");
	dirty_epoch_begin(&vm.dirty, &s2, &why);
	mark(&vm, 0, 2);
	dirty_sync(&vm.dirty, NULL, NULL, &why);
	ok(epoch_word(vm.dirty.epoch_pending) == 1 << 2 && epoch_word(vm.dirty.epoch) == 1 << 1,
	   "a pause begins a new one beside the old");
	dirty_epoch_abandon(&vm.dirty);
	ok(!vm.dirty.epoch_pending && epoch_word(vm.dirty.epoch) == (1 << 1 | 1 << 2),
	   "a save that fails gives its pages back to the one before");
	mark(&vm, 0, 5);
	dirty_sync(&vm.dirty, NULL, NULL, &why);
	ok(epoch_word(vm.dirty.epoch) == (1 << 1 | 1 << 2 | 1 << 5),
	   "which then goes on collecting");
	dirty_epoch_begin(&vm.dirty, &s2, &why);
	mark(&vm, 0, 6);
	dirty_sync(&vm.dirty, NULL, NULL, &why);
	dirty_epoch_begin(&vm.dirty, &s3, &why);
	ok(epoch_word(vm.dirty.epoch) == (1 << 1 | 1 << 2 | 1 << 5 | 1 << 6) &&
	   dirty_epoch_commit(&vm.dirty, &s2, &why) == -1,
	   "a new pause abandons a save that never came to its end");
	ok(dirty_epoch_commit(&vm.dirty, &s3, &why) == 0 && epoch_word(vm.dirty.epoch) == 0,
	   "a commit drops the old one");
	dirty_epoch_close(&vm.dirty);
	core_fake_close(&vm);
	sparse();
	return done_testing();
}
