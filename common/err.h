#ifndef AMBROSIA_COMMON_ERR_H
#define AMBROSIA_COMMON_ERR_H

enum err {
	ERR_OK = 0,
#define ERR(name, text) ERR_##name,
#include "common/err.def"
#undef ERR
	ERR_MAX_
};

/* Text of a code, given as the positive or the negative value. Never NULL; static. */
const char *err_text(int err);

#endif
