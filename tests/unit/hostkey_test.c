/* SPDX-License-Identifier: MIT */
/* The key by which a host knows its own snapshots: made once, kept from others, never half there.
 */
#include "tests/unit/tap.h"

#include "libcommon/hostkey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char     root[64], folder[80], file[96];

static void fresh(const char *name)
{
	snprintf(folder, sizeof(folder), "%s/%s", root, name);
	snprintf(file, sizeof(file), "%s/snapshot.key", folder);
	setenv("VMFERRY_STATE_DIR", folder, 1);
}

static void put(const char *path, size_t len, mode_t mode)
{
	FILE *f = fopen(path, "w");

	for (size_t i = 0; f && i < len; i++)
		fputc('k', f);
	if (!f || fclose(f) || chmod(path, mode))
		abort();
}

static bool refused(const char *part)
{
	struct hostkey k;
	struct fail    why = { 0 };

	return hostkey_open(&k, true, &why) == -1 && why.kind == FAIL_SYSTEM &&
	       strstr(why.what, part);
}

static void test_made_once(void)
{
	struct hostkey a, b;
	struct stat    st, dir;
	struct fail    why = { 0 };

	fresh("one");
	ok(hostkey_open(&a, false, &why) == -1 && why.sys == ENOENT && access(folder, F_OK),
	   "without being asked for none is made, nor its folder");
	ok(hostkey_open(&a, true, &why) == 0 && hostkey_open(&b, false, &why) == 0 &&
		   !memcmp(&a, &b, sizeof(a)),
	   "it is made once and read again");
	ok(stat(file, &st) == 0 && stat(folder, &dir) == 0 && (st.st_mode & 07777) == 0600 &&
		   st.st_size == 32 && st.st_nlink == 1 && (dir.st_mode & 07777) == 0700,
	   "32 bytes, mode 0600, in a folder of mode 0700, under no second name");
	fresh("two");
	ok(hostkey_open(&b, true, &why) == 0 && memcmp(&a, &b, sizeof(a)) != 0,
	   "another folder has another key");
}

static void test_race(void)
{
	static const struct hostkey none;
	struct hostkey              first = none, k;
	struct fail                 why;
	int                         ends[2];
	bool                        same = true;
	unsigned                    n    = 0;

	fresh("race");
	if (pipe(ends))
		abort();
	for (int i = 0; i < 16; i++)
		if (fork() == 0) {
			int rc = hostkey_open(&k, true, &why);

			_exit(rc || write(ends[1], &k, sizeof(k)) != (ssize_t)sizeof(k));
		}
	close(ends[1]);
	for (int status; wait(&status) > 0;)
		same = same && status == 0;
	for (; read(ends[0], &k, sizeof(k)) == (ssize_t)sizeof(k); n++) {
		if (n == 0)
			first = k;
		same = same && !memcmp(&first, &k, sizeof(k)) && memcmp(&none, &k, sizeof(k));
	}
	close(ends[0]);
	ok(same && n == 16, "of 16 that make one at once all have the same");
}

static void test_refused(void)
{
	struct hostkey k;
	struct fail    why;

	fresh("open");
	if (mkdir(folder, 0700))
		abort();
	put(file, 32, 0640);
	ok(refused("not a private regular file"), "one that others can read is not used");
	put(file, 31, 0600);
	ok(refused("invalid key length, expected 32 bytes"), "one that is too short is not used");
	put(file, 33, 0600);
	ok(refused("invalid key length, expected 32 bytes"), "one that is too long is not used");
	unlink(file);
	if (symlink("/dev/zero", file))
		abort();
	ok(hostkey_open(&k, true, &why) == -1, "a symbolic link is not followed");
	unlink(file);
	if (mkfifo(file, 0600))
		abort();
	ok(refused("not a private regular file"), "a FIFO is not waited for");
	unlink(file);
	if (chmod(folder, 0770))
		abort();
	ok(refused("writable by others") && access(file, F_OK),
	   "in a folder that others can write none is made");
}

static void test_mac(void)
{
	struct hostkey  a = { { 1 } }, b = { { 2 } };
	struct fail     why;
	uint8_t         m1[32], m2[32], m3[32], m4[32], id_a[16], id_b[16];
	struct hostkey_part split[]       = { { "purpose", 7 }, { "ab", 2 }, { "c", 1 } },
			other[]       = { { "purpose", 7 }, { "a", 1 }, { "bc", 2 } };
	/* python3: hmac.new(bytes([1]) + bytes(31), struct.pack('<Q7sQ2sQ1s', 7, b'purpose', 2,
	 * b'ab', 1, b'c'), 'sha256') */
	static const uint8_t want[32] = { 0xbd, 0xf1, 0x70, 0x19, 0x0e, 0xfb, 0x83, 0x9c,
					  0x58, 0xc2, 0xeb, 0x37, 0x48, 0xf6, 0xe7, 0xe1,
					  0x1b, 0xae, 0x57, 0x84, 0x4f, 0xca, 0x33, 0xf3,
					  0x8e, 0xa7, 0xce, 0xcb, 0x09, 0xc8, 0x46, 0x97 };

	ok(hostkey_mac(&a, split, 3, m1, &why) == 0 && hostkey_mac_same(m1, want),
	   "HMAC-SHA-256 over parts with their lengths");
	hostkey_mac(&a, other, 3, m2, &why);
	hostkey_mac(&b, split, 3, m3, &why);
	hostkey_mac(&a, split, 2, m4, &why);
	ok(!hostkey_mac_same(m1, m2) && !hostkey_mac_same(m1, m3) && !hostkey_mac_same(m1, m4),
	   "other borders, another key, a part less: another MAC");
	ok(hostkey_id(&a, id_a, &why) == 0 && hostkey_id(&b, id_b, &why) == 0 &&
		   memcmp(id_a, id_b, 16) && memcmp(id_a, a.b, 16),
	   "keys are told apart by an id that is no part of them");
}

int main(void)
{
	snprintf(root, sizeof(root), "/tmp/hostkey.XXXXXX");
	if (!mkdtemp(root))
		return 1;
	test_made_once();
	test_race();
	test_refused();
	test_mac();

	char remove[96];

	snprintf(remove, sizeof(remove), "rm -rf '%s'", root);
	return system(remove) || done_testing();
}
