#ifndef AMBROSIA_COMMON_OBJ_H
#define AMBROSIA_COMMON_OBJ_H

#include <stddef.h>
#include <stdint.h>
/* These declare what is banned below, so they come first, wherever else they are included. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

/* An assertion that release builds keep: a failed one is a bug of ours. */
_Noreturn void obj_bug(const char *file, int line, const char *what);
#define ASSERT(cond) ((cond) ? (void)0 : obj_bug(__FILE__, __LINE__, #cond))

/* The magic of an object that travels through a void pointer. */
#define OBJ_CHECK(ptr, want) ASSERT((ptr) != NULL && (ptr)->magic == (want))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Banned: use buf, slice and memcpy instead. */
#undef alloca
#pragma GCC poison strcpy strcat sprintf vsprintf strtok alloca gets

#endif
