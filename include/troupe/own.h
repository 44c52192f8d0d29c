/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership: what an incarnation holds and what happens to it when the incarnation ends, by crash, stop or kill.
 * For the running actor, in its own handlers and callbacks; nothing here is shared between actors.
 * A panic leaves C frames without unwinding: what was acquired with these verbs is released all the same, what came
 * from malloc or open and was not handed over here leaks.
 *
 * When an incarnation ends: its children end first; `stopped` runs, if the end is orderly; timers, asks and ports go;
 * `crashed` runs, if it crashed; kept messages are answered; then deferred calls and owned resources go, last in first
 * out, each under a guard of its own (a panic in one is counted in troupe_stats.cleanup_panics, logged and skipped; a
 * hardware fault in one ends the process); then blocks, then the arena and the state.
 * In `crashed` the incarnation is closed: troupe_reserve, troupe_defer and troupe_own return -ENOMEM. Memory may be had
 * until the very end, and what is owned may still be disowned or released there. */
#ifndef TROUPE_OWN_H
#define TROUPE_OWN_H

#include <troupe/supervision.h>
#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* troupe_alloc - memory of the incarnation, zeroed, aligned to 16 bytes, freed with it and not before (an arena: a
 * pointer is moved on, nothing is kept per block). Never NULL: out of memory, or a size that no memory has, is a panic,
 * and nothing was taken. */
TROUPE_API void *troupe_alloc(troupe_ctx *ctx, size_t size);
/* The same until this handler or callback returns or panics; contents undefined. For what a handler needs while it
 * works. The memory is the worker's: a second use costs no allocation, up to 1 MiB in one callback. */
TROUPE_API void *troupe_scratch(troupe_ctx *ctx, size_t size);

/* A block that may be given back before the incarnation ends: as malloc, realloc and free, 16 bytes more than those.
 * NULL: out of memory (troupe_block_resize then leaves the old block as it was). troupe_block_free(NULL) does nothing.
 * What is not a block of this incarnation (freed before, another actor's, the middle of one), and one that was written
 * over just before its start, is a panic as far as it can be told: the 16 bytes before it are read. */
TROUPE_API void *troupe_block(troupe_ctx *ctx, size_t size);
TROUPE_API void *troupe_block_resize(troupe_ctx *ctx, void *block, size_t size);
TROUPE_API void troupe_block_free(troupe_ctx *ctx, void *block);

/* Makes room for count deferred calls and owned resources, so that the next count troupe_defer and troupe_own cannot
 * fail: reserve first, acquire then. Two reserves in a row do not add up. 0 or -ENOMEM. */
TROUPE_API int troupe_reserve(troupe_ctx *ctx, unsigned count);

/* Has fn(arg) called once when this incarnation ends. For what the runtime cannot know of: a lock file, a library's
 * object. It runs on the actor's worker; ports are closed and kept messages gone by then, state and memory are still
 * there. It is given no ctx and must not use one, but for a panic.
 * 0, or -ENOMEM, which means that fn will not be called: then release what you acquired. */
TROUPE_API int troupe_defer(troupe_ctx *ctx, void (*fn)(void *arg), void *arg);

/* A kind of resource; constant data. */
typedef struct troupe_resource_type {
    const char *name;                  /* for logs */
    void (*release)(uintptr_t handle); /* as fn of troupe_defer */
} troupe_resource_type;

/* Names an owned resource; zeroed it names none. Stale once it was disowned or its incarnation ended: then harmless. */
typedef struct troupe_owned {
    void *ref;
    uint64_t generation;
} troupe_owned;

/* troupe_own - hands a resource over to the incarnation, which releases it when it ends. 0, or -ENOMEM: it is still
 * yours. owned may be NULL. */
TROUPE_API int troupe_own(troupe_ctx *ctx, const troupe_resource_type *type, uintptr_t handle, troupe_owned *owned);
/* Takes it back without releasing it: true, and *handle (may be NULL) is yours again. False: stale. */
TROUPE_API bool troupe_disown(troupe_ctx *ctx, troupe_owned owned, uintptr_t *handle);
/* Releases it now: a panic in that is the actor's own, and it is not released again. False: stale. */
TROUPE_API bool troupe_release_owned(troupe_ctx *ctx, troupe_owned owned);

/* File descriptors: closed when the incarnation ends. What troupe_take_fd returns is owned without it (net.h). */
extern TROUPE_API const troupe_resource_type troupe_resource_fd;

#ifdef __cplusplus
}
#endif

#endif
