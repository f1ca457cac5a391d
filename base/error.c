/* The texts of the error table. */
#include "base/error.h"

const char *error_text(int code)
{
	switch (code) {
	case 0:
		return "no error";
#define ERROR_ROW(name, number, text)                                                                                  \
	case name:                                                                                                     \
		return text;
		ERROR_TABLE(ERROR_ROW)
#undef ERROR_ROW
	default:
		return "unknown error";
	}
}
