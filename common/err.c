#include "common/err.h"

const char *err_text(int err)
{
	static const char *const texts[] = {
		[ERR_OK] = "no error",
#define ERR(name, text) [ERR_##name] = text,
#include "common/err.def"
#undef ERR
	};

	if (err < 0 && err > -ERR_MAX_)
		err = -err;
	return err >= 0 && err < ERR_MAX_ ? texts[err] : "unknown error";
}
