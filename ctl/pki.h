/* `weirctl pki`: a cluster's certificates, without any weir. */
#ifndef WEIR_CTL_PKI_H
#define WEIR_CTL_PKI_H

#include "ctl/ctl.h"
#include "proto/admin.h"

/* Does it, and prints what was done. */
enum ctl_exit ctl_pki(const struct admin_request *r);

#endif
