/* What all nodes that host an app must have alike (doc/cluster.md, "Apps"): one line of text, in one spelling, and its
 * digest. Which options those are is said in the table of options. Pure. */
#ifndef WEIR_CONF_AGREED_H
#define WEIR_CONF_AGREED_H

#include "conf/conf.h"

/* Of the line; as much as fits into a frame between nodes. */
enum { CONF_AGREED_MAX = 2048 };

/* "mode=managed cookie=WEIRSID ... buckets=1024 failure-timeout=2s": what goes with the mode of the app's sessions,
 * then what is the cluster's. Bytes of a value that are no visible ASCII, and '%', are written as %XX, so that a blank
 * only ever ends a value; a value of more than a few hundred bytes is cut, and the hash of the whole stands behind. No
 * secret is in it. `out` is empty before. */
void conf_agreed_put(const struct conf_app *app, const struct conf_cluster *c, struct buf *out);

/* Of such a line. The same on every machine, and in every version of weir that writes the same line. */
uint64_t conf_agreed_digest(struct view line);

#endif
