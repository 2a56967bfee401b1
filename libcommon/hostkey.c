/* SPDX-License-Identifier: MIT */
#include "libcommon/hostkey.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "libcommon/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOSTKEY_FILE "snapshot.key"

/* Opens the folder, which must be ours and not a link, so that nobody else can put a key into
 * it. */
static int hostkey_folder(char path[PATHS_MAX], bool create, struct fail *why)
{
	struct stat st;
	int         dir;

	if (paths_state(path, create, why))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return fail_sys(why, "%s", path);
	if (fstat(dir, &st)) {
		fail_sys(why, "%s", path);
	} else if (st.st_uid != geteuid() || st.st_mode & 022) {
		fail_set(why, FAIL_SYSTEM, "%s: owned by another user, or writable by others",
			 path);
	} else {
		return dir;
	}
	close(dir);
	return -1;
}

static int hostkey_read(struct hostkey *k, int dir, const char *path, struct fail *why)
{
	struct stat st;
	uint8_t     buf[HOSTKEY_BYTES + 1];
	size_t      got = 0;
	int fd = openat(dir, HOSTKEY_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc = -1;

	if (fd < 0)
		return fail_sys(why, "%s/%s", path, HOSTKEY_FILE);
	if (fstat(fd, &st))
		fail_sys(why, "%s/%s", path, HOSTKEY_FILE);
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		fail_set(why, FAIL_SYSTEM,
			 "%s/%s: not a private regular file owned by this user (mode 0600)",
			 path, HOSTKEY_FILE);
	else if (io_read_some(fd, buf, sizeof(buf), &got, HOSTKEY_FILE, why) == 0)
		rc = got == HOSTKEY_BYTES
			   ? 0
			   : fail_set(why, FAIL_SYSTEM,
				      "%s/%s: invalid key length, expected %u bytes: remove it",
				      path, HOSTKEY_FILE, HOSTKEY_BYTES);
	if (rc == 0)
		memcpy(k->b, buf, HOSTKEY_BYTES);
	explicit_bzero(buf, sizeof(buf));
	close(fd);
	return rc;
}

/* Writes the complete key to disk under a temporary name, which is then linked: who finds the key
 * finds all of it, and of several processes that make one the first wins. */
static int hostkey_make(int dir, const char *path, struct fail *why)
{
	uint8_t  key[HOSTKEY_BYTES];
	uint64_t n;
	char     temp[40];
	int      fd, rc = -1;

	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key) ||
	    getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
		return fail_sys(why, "getrandom");
	snprintf(temp, sizeof(temp), ".%s.%016" PRIx64, HOSTKEY_FILE, n);
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		fail_sys(why, "%s/%s: create", path, temp);
		goto out;
	}
	if (io_write(fd, key, sizeof(key), temp, why))
		goto out;
	if (fsync(fd)) {
		fail_sys(why, "%s/%s: sync", path, temp);
		goto out;
	}
	if (linkat(dir, temp, dir, HOSTKEY_FILE, 0) && errno != EEXIST) {
		fail_sys(why, "%s/%s: create", path, HOSTKEY_FILE);
		goto out;
	}
	rc = fsync(dir) && errno != EINVAL ? fail_sys(why, "%s: sync", path) : 0;
out:
	if (fd >= 0) {
		close(fd);
		unlinkat(dir, temp, 0);
	}
	explicit_bzero(key, sizeof(key));
	return rc;
}

int hostkey_open(struct hostkey *k, bool create, struct fail *why)
{
	char path[PATHS_MAX];
	int  dir = hostkey_folder(path, create, why), rc;

	if (dir < 0)
		return -1;
	rc = hostkey_read(k, dir, path, why);
	if (rc && create && why->kind == FAIL_SYSTEM && why->sys == ENOENT)
		rc = hostkey_make(dir, path, why) ? -1 : hostkey_read(k, dir, path, why);
	close(dir);
	return rc;
}

void hostkey_clear(struct hostkey *k)
{
	explicit_bzero(k, sizeof(*k));
}

int hostkey_mac(const struct hostkey *k, const struct hostkey_part *parts, size_t n,
		uint8_t out[HOSTKEY_MAC_BYTES], struct fail *why)
{
	static char      digest[] = "SHA256";
	const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
								       digest, 0),
				      OSSL_PARAM_construct_end() };
	EVP_MAC         *mac      = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX     *c        = mac ? EVP_MAC_CTX_new(mac) : NULL;
	size_t           len      = 0;
	bool             good     = c && EVP_MAC_init(c, k->b, sizeof(k->b), params);

	for (size_t i = 0; good && i < n; i++) {
		uint8_t length[8];

		put_le64(length, parts[i].len);
		good = EVP_MAC_update(c, length, sizeof(length)) &&
		       EVP_MAC_update(c, parts[i].data, parts[i].len);
	}
	good = good && EVP_MAC_final(c, out, &len, HOSTKEY_MAC_BYTES) && len == HOSTKEY_MAC_BYTES;
	EVP_MAC_CTX_free(c);
	EVP_MAC_free(mac);
	return good ? 0 : fail_set(why, FAIL_SYSTEM, "HMAC-SHA-256: libcrypto error");
}

int hostkey_id(const struct hostkey *k, uint8_t out[HOSTKEY_ID_BYTES], struct fail *why)
{
	static const char purpose[] = "vmferry key id";
	uint8_t           mac[HOSTKEY_MAC_BYTES];

	if (hostkey_mac(k, &(struct hostkey_part){ purpose, strlen(purpose) }, 1, mac, why))
		return -1;
	memcpy(out, mac, HOSTKEY_ID_BYTES);
	return 0;
}

bool hostkey_mac_same(const uint8_t a[HOSTKEY_MAC_BYTES], const uint8_t b[HOSTKEY_MAC_BYTES])
{
	return CRYPTO_memcmp(a, b, HOSTKEY_MAC_BYTES) == 0;
}
