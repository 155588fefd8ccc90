#ifndef AMBROSIA_COMMON_OPTION_HELP_H
#define AMBROSIA_COMMON_OPTION_HELP_H

#include "common/option.h"

/* Private to option.c: what it prints. */
enum { OPTION_ENV_MAX = 64 };

bool option_has_env(const struct option_program *prog, const struct option_def *d);
void option_env_name(const struct option_def *d, char name[OPTION_ENV_MAX]); /* --public-host: AMBROSIA_PUBLIC_HOST */
void option_print_help(const struct option_program *prog);
void option_print_config(const struct option_program *prog, const void *out);

#endif
