/* Values into fields: the one place that knows how each type of the option table is read and stored. */
#ifndef WEIR_CONF_FIELD_H
#define WEIR_CONF_FIELD_H

#include "conf/options.h"

/* Reads `text` as a value of `o` into its field in `base`, the struct that o's section fills. A string that was there
 * is freed, a list grows. 0, ERR_CONFIG when the text is not allowed, or ERR_NO_MEMORY; the field is untouched then.
 * *why is set where more can be said than what is allowed. */
MUST_USE int conf_field_set(const struct conf_option *o, void *base, const char *text, const char **why);

void conf_patterns_fini(struct conf_patterns *p);
void conf_networks_fini(struct conf_networks *n);

#endif
