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
/* Of a program, before any thread starts: what is freed at the end of a thread's heap stays with the process, up to so many bytes (128 KiB
 * at least), instead of going back to the kernel. A large stanza is in a few buffers at once, and a page that comes anew costs as much as
 * copying a hundred that are there. A single allocation beyond that, or beyond 32 MiB, is the kernel's as before; smaller ones come from
 * heaps, and what is free there before something that is used stays whatever was asked. */
void mem_keep_freed(size_t bytes);

#define NEW(type) ((type *)mem_alloc(sizeof(type)))

#endif
