/* The errors found in a configuration file: collected in any order, written in the order of the lines. */
#ifndef WEIR_CONF_REPORT_H
#define WEIR_CONF_REPORT_H

#include "base/buf.h"

/* More than anybody reads; the rest is counted. */
enum { CONF_REPORT_MAX = 100 };

struct conf_error {
	unsigned line; /* 0: the file as a whole */
	char *text;    /* owned */
};

struct conf_report {
	struct conf_error errors[CONF_REPORT_MAX];
	size_t count;   /* filled */
	size_t found;   /* all, also those that had no room */
	bool no_memory; /* something could not be recorded */
};

/* NAME: "VALUE": WHY. `value` may be NULL: then it is left out. */
void conf_report_add(struct conf_report *r, unsigned line, const char *name, const char *value, const char *why);

/* FILE:LINE: before each. */
void conf_report_write(struct conf_report *r, const char *file, struct buf *out);

void conf_report_fini(struct conf_report *r);

#endif
