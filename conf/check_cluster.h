/* Checks of the section cluster. Part of conf/check.c. */
#ifndef WEIR_CONF_CHECK_CLUSTER_H
#define WEIR_CONF_CHECK_CLUSTER_H

#include "conf/tree.h"

/* There is such a section in the file. */
void conf_check_cluster(const struct conf *c, const struct conf_node *file, struct conf_report *r);

#endif
