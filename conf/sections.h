/* The sections that stand once: store, admin, status. Part of conf/conf.h. */
#ifndef WEIR_CONF_SECTIONS_H
#define WEIR_CONF_SECTIONS_H

#include "conf/network.h"
#include "session/evicters.h"

/* What leaves memory, see weir.conf(5): CONF_EVICT_NEVER and so on. */
#define CONF_EVICT_ROW(name, NAME) CONF_EVICT_##NAME,
enum conf_evict { EVICTERS(CONF_EVICT_ROW) };
#undef CONF_EVICT_ROW

struct conf_memory {
	uint64_t max;        /* bytes of all sessions */
	uint64_t max_pinned; /* of them */
	enum conf_evict evict;
	uint64_t after_ms; /* IDLE: unused for that long */
};

enum conf_disk_evict { CONF_DISK_EVICT_TTL };

/* NONE: into the buffer of the process; WRITE: each batch to the kernel; GROUP: each batch to the disk. */
enum conf_sync { CONF_SYNC_NONE, CONF_SYNC_WRITE, CONF_SYNC_GROUP };

struct conf_disk {
	uint64_t max; /* bytes; 0: no disk store */
	enum conf_disk_evict evict;
	enum conf_sync sync;
	uint64_t cache; /* bytes of memory for pages */
};

enum conf_admin_open { CONF_ADMIN_ON_SIGNAL, CONF_ADMIN_ALWAYS, CONF_ADMIN_NEVER };

struct conf_admin {
	char *socket; /* fits a Unix socket's address; owned */
	enum conf_admin_open open;
	uint64_t idle_ms; /* without a client, until it is closed again */
};

struct conf_status {
	char *path; /* of plain segments; NULL: no status page; owned */
	struct conf_networks allow;
};

#endif
