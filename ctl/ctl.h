/* What the parts of weirctl share: how it ends, and how it complains. */
#ifndef WEIR_CTL_CTL_H
#define WEIR_CTL_CTL_H

#include "base/compiler.h"

/* Exit codes; weirctl(8) promises them to scripts. */
enum ctl_exit {
	CTL_DONE,
	CTL_FAILED,
	CTL_USAGE,
	CTL_UNREACHABLE, /* weir does not run, or does not answer */
	CTL_NOT_FOUND,   /* there is no such session, app or backend */
	CTL_CONFIG,      /* the configuration, which says where weir is, cannot be used */
};

/* One line on standard error, after the program's name. */
void ctl_say(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
