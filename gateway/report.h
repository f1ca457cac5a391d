/* What is wrong, or worth telling an operator: lines of text that are gathered while something is tried. */
#ifndef WEIR_GATEWAY_REPORT_H
#define WEIR_GATEWAY_REPORT_H

#include "base/buf.h"

#include <stdbool.h>

/* Cuts the next line off `rest`, without its end. False: there is none. */
bool report_next(struct view *rest, struct view *line);

/* Each of the lines, after the name of the file that they are about. */
void report_put(struct buf *report, const char *file, struct view lines);

#endif
