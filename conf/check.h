/* What only the whole configuration can tell: things given twice, missing, or at odds with each other. */
#ifndef WEIR_CONF_CHECK_H
#define WEIR_CONF_CHECK_H

#include "conf/tree.h"

/* The n-th listener, app and backend of `c` are the n-th such sections of `tree`. */
void conf_check(const struct conf *c, const struct conf_tree *tree, struct conf_report *report);

#endif
