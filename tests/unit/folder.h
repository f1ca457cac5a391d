/* A folder of the test's own, removed with all that is in it. */
#ifndef WEIR_TESTS_UNIT_FOLDER_H
#define WEIR_TESTS_UNIT_FOLDER_H

#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static char folder[64];

static inline int folder_make(void)
{
	strcpy(folder, "/tmp/weir-unit.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

/* In memory where there is room for it: for tests that wait for a disk hundreds of times and do not need one. */
static inline int folder_make_in_memory(void)
{
	const uint64_t room = 1 << 30;
	struct statvfs fs;

	strcpy(folder, "/dev/shm/weir-unit.XXXXXX");
	if (statvfs("/dev/shm", &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize >= room && mkdtemp(folder))
		return 0;
	return folder_make();
}

/* FOLDER/name; good until the next call but three. */
static inline const char *in_folder(const char *name)
{
	static _Thread_local char paths[4][PATH_MAX];
	static _Thread_local unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

/* Entries in the folder; each is removed where `remove_them` says so. */
static inline int folder_count(int remove_them)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int count = 0;

	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		if (remove_them)
			remove(in_folder(entry->d_name));
	}
	if (dir)
		closedir(dir);
	return count;
}

static inline int folder_remove(void)
{
	folder_count(1);
	return rmdir(folder);
}

#endif
