/* FOLDER/cluster: the id of the cluster that this node has been in. The database may hold a first view that was never
 * agreed on, so it does not say that.
 *
 * One that is damaged is moved aside: the node is one that has been in none, and learns the id with the next view, as
 * it would without its folder. */
#include "cluster/node_state.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/hex.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 2 * CLUS_ID_BYTES + 1 }; /* hexadecimal, and the end of the line */

/* 0; ERR_GONE: there is none; ERR_MALFORMED. */
static int read_text(const char *path, char text[TEXT + 1])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? ERR_GONE : ERR_SYSTEM;
	ssize_t n = read(fd, text, TEXT + 1);
	int err = n < 0 ? errno : 0;
	close(fd);
	errno = err;
	if (err)
		return ERR_SYSTEM;
	return n == TEXT && text[TEXT - 1] == '\n' ? 0 : ERR_MALFORMED;
}

static int read_id(const char *path, uint8_t id[CLUS_ID_BYTES])
{
	char text[TEXT + 1];
	int err = read_text(path, text);

	for (unsigned i = 0; err == 0 && i < CLUS_ID_BYTES; i++) {
		if (!hex_byte((const uint8_t *)text + 2 * (size_t)i, &id[i]))
			err = ERR_MALFORMED;
	}
	if (err)
		memset(id, 0, CLUS_ID_BYTES);
	return err;
}

static int move_aside(const char *dir, const char *path)
{
	char aside[PATH_MAX];

	if (!folder_path(dir, "cluster.damaged", aside) || rename(path, aside) != 0)
		return ERR_SYSTEM;
	log_event(LOG_WARN, "control_damaged", LOG_V("folder", view_str(dir)), LOG_S("file", "cluster"),
		  LOG_S("reason", "is not what weir has written"), LOG_S("moved", "cluster.damaged"));
	return 0;
}

int node_id_read(const char *dir, uint8_t id[CLUS_ID_BYTES], char why[NODE_WHY])
{
	char path[PATH_MAX];

	errno = ENAMETOOLONG;
	int err = folder_path(dir, "cluster", path) ? read_id(path, id) : ERR_SYSTEM;
	if (err == ERR_MALFORMED)
		err = move_aside(dir, path);
	if (err == 0 || err == ERR_GONE)
		return 0;
	snprintf(why, NODE_WHY, "%.100s/cluster: %s", dir, strerror(errno));
	return ERR_BROKEN;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool done = fd >= 0 && write(fd, text, TEXT) == TEXT && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return done ? 0 : ERR_SYSTEM;
}

int node_id_write(const char *dir, const uint8_t id[CLUS_ID_BYTES])
{
	char path[PATH_MAX], fresh[PATH_MAX], text[TEXT + 1];

	for (unsigned i = 0; i < CLUS_ID_BYTES; i++)
		snprintf(text + 2 * (size_t)i, sizeof text - 2 * (size_t)i, "%02x", id[i]);
	snprintf(text + TEXT - 1, 2, "\n");
	if (!folder_path(dir, "cluster", path) || !folder_path(dir, "cluster.new", fresh) ||
	    write_text(fresh, text) != 0 || rename(fresh, path) != 0)
		return ERR_SYSTEM;
	return folder_sync(dir);
}
