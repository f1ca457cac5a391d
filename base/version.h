/* The version of weir. Depends on nothing. */
#ifndef WEIR_BASE_VERSION_H
#define WEIR_BASE_VERSION_H

#define WEIR_VERSION "0.2.0"

#endif
