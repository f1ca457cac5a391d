/* One table of error codes for all of weir: functions return 0 or one of these negative codes.
 * Adding a code is one row here. */
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#define ERROR_TABLE(ROW)                                                                                               \
	ROW(ERR_NO_MEMORY, -1, "out of memory")                                                                        \
	ROW(ERR_TOO_LARGE, -2, "over a limit")                                                                         \
	ROW(ERR_MALFORMED, -3, "malformed")                                                                            \
	ROW(ERR_REFUSED, -4, "connection refused")                                                                     \
	ROW(ERR_BUSY, -5, "busy, try again")                                                                           \
	ROW(ERR_CLOSED, -6, "closed by the other side")                                                                \
	ROW(ERR_TIMEOUT, -7, "no answer in time")                                                                      \
	ROW(ERR_GONE, -8, "ended meanwhile")                                                                           \
	ROW(ERR_FULL, -9, "no space left")                                                                             \
	ROW(ERR_SYSTEM, -10, "system call failed")                                                                     \
	ROW(ERR_CONFIG, -11, "configuration is wrong")                                                                 \
	ROW(ERR_RESET, -12, "connection reset")                                                                        \
	ROW(ERR_OVERLOADED, -13, "overloaded")                                                                         \
	ROW(ERR_ROLE, -14, "role not spoken")                                                                          \
	ROW(ERR_VERSION, -15, "of a newer format")                                                                     \
	ROW(ERR_BROKEN, -16, "store cannot go on")                                                                     \
	ROW(ERR_STOPPED, -17, "stopped by an operator")                                                                \
	ROW(ERR_DRAINED, -18, "drained by an operator")                                                                \
	ROW(ERR_FENCED, -19, "fenced from the cluster")

enum error_code {
#define ERROR_ROW(name, code, text) name = (code),
	ERROR_TABLE(ERROR_ROW)
#undef ERROR_ROW
};

/* A short text for `code`, for logs and people; never NULL. */
const char *error_text(int code);

#endif
