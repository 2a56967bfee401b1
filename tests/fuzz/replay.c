/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the files named (folders: every file in them): the corpus on any
 * machine, without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_file(const char *path)
{
	FILE  *f = fopen(path, "rb");
	char  *buf = malloc(16 << 20);
	size_t n;

	if (!f || !buf) {
		perror(path);
		exit(1);
	}
	n = fread(buf, 1, 16 << 20, f);
	fclose(f);
	/* An exact copy, so that a read past the end is seen by ASan. */
	uint8_t *exact = malloc(n ? n : 1);

	if (!exact)
		exit(1);
	for (size_t i = 0; i < n; i++)
		exact[i] = (uint8_t)buf[i];
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	free(buf);
	return 1;
}

int main(int argc, char **argv)
{
	int count = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			DIR *d = opendir(argv[i]);

			for (struct dirent *e; d && (e = readdir(d));) {
				char path[4096];

				snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
				if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
					count += replay_file(path);
			}
			if (d)
				closedir(d);
		} else
			count += replay_file(argv[i]);
	}
	printf("%d inputs\n", count);
	return count ? 0 : 1;
}
