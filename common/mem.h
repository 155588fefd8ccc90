#ifndef AMBROSIA_COMMON_MEM_H
#define AMBROSIA_COMMON_MEM_H

#include <stddef.h>

#include "common/slice.h"

/* Small allocations of the daemons: they return memory or abort. What a peer sizes must have been checked against a limit first. */
void *mem_alloc(size_t n);                /* zeroed */
void *mem_resize(void *p, size_t n);      /* as realloc */
char *mem_strdup(const char *s);          /* NULL stays NULL */
char *mem_slicedup(struct slice s);       /* NUL-terminated copy */
void mem_wipe(void *p, size_t n);         /* cannot be optimised away */
void mem_random(void *p, size_t n);       /* getrandom, complete or abort */

#define NEW(type) ((type *)mem_alloc(sizeof(type)))

#endif
