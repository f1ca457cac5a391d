/* What the section session of an app must hold, and must not. Part of conf/check.c. */
#ifndef WEIR_CONF_CHECK_SESSION_H
#define WEIR_CONF_CHECK_SESSION_H

#include "conf/tree.h"

/* Of c->apps[app], whose section is `at`. */
void conf_check_session(const struct conf *c, size_t app, const struct conf_node *at, struct conf_report *r);

#endif
