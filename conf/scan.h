/* A look at the text before libconfuse gets it: finds all that is unknown, out of place or not built yet, and takes it
 * out, because libconfuse would stop at the first of it. Pure. */
#ifndef WEIR_CONF_SCAN_H
#define WEIR_CONF_SCAN_H

#include "conf/report.h"

/* Changes `text` (NUL-terminated, len bytes without it) in place, newlines stay where they are: comments and what was
 * reported become blanks. What follows a syntax error is cut off.
 *
 * SCAN_WHOLE: what is left is well formed. SCAN_CUT: there is a syntax error at its end, not yet in the report.
 * SCAN_BROKEN: the same, in the report. */
enum conf_scan { CONF_SCAN_WHOLE, CONF_SCAN_CUT, CONF_SCAN_BROKEN };

enum conf_scan conf_scan(char *text, size_t len, struct conf_report *report);

#endif
