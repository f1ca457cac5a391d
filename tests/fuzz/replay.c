/* Runs a fuzz target over all files of the folders given as arguments, without a fuzzer. A folder that cannot be read
 * or is empty is a failure: a check that looks at nothing must not pass. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	long size = -1;

	if (f && fseek(f, 0, SEEK_END) == 0)
		size = ftell(f);
	/* Exactly as large as the file, so that a sanitizer sees one byte too many. */
	uint8_t *data = size >= 0 ? malloc(size > 0 ? (size_t)size : 1) : NULL;
	if (!data || fseek(f, 0, SEEK_SET) != 0 || fread(data, 1, (size_t)size, f) != (size_t)size) {
		perror(path);
		exit(1);
	}
	fclose(f);
	(void)LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
}

static unsigned replay_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	unsigned count = 0;

	if (!dir) {
		perror(folder);
		exit(1);
	}
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		char path[4096];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		replay_file(path);
		count++;
	}
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		unsigned count = replay_folder(argv[i]);
		printf("%s: %u files\n", argv[i], count);
		if (count == 0)
			return 1;
	}
	return 0;
}
