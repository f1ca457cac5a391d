/* The secret that session ids are made with. Kept in STATE-DIR/secret, so that ids stay good over a restart. */
#ifndef WEIR_GATEWAY_SECRET_H
#define WEIR_GATEWAY_SECRET_H

#include "session/id.h"

#include "base/compiler.h"

/* Reads the file, or makes it (mode 0600). Where there is no such directory the secret is a new one each time, and one
 * log line says so; then *kept is false. ERR_SYSTEM with errno; ERR_MALFORMED: the file is there and has a wrong
 * length. */
MUST_USE int secret_load(const char *state_dir, uint8_t secret[SESS_SECRET_BYTES], bool *kept);

#endif
