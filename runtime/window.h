/* SPDX-License-Identifier: Apache-2.0 */
/* The restart window: may an actor that crashed now restart once more? Sliding: at most `restarts` restarts within any
 * window_ns. Owns the times of the last restarts; touched only by the worker that runs the actor.
 * It is not a back-off: it decides whether, not when. */
#ifndef TR_RUNTIME_WINDOW_H
#define TR_RUNTIME_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct tr_window {
    uint64_t *times; /* ring of `restarts` entries, allocated at the first crash */
    uint32_t next;   /* where the next time goes; the oldest once the ring is full */
    uint32_t count;  /* entries in use, oldest first; those that have left the window go when it is asked next */
};

/* Asks and records: true, and the restart counts; false: it would be one too many, or the ring could not be had. */
bool tr_window_allow(struct tr_window *w, unsigned restarts, uint64_t window_ns, uint64_t now_ns);
/* How many restarts lie within the window that ends now. now_ns never goes back. */
unsigned tr_window_count(struct tr_window *w, unsigned restarts, uint64_t window_ns, uint64_t now_ns);
void tr_window_forget(struct tr_window *w);
void tr_window_fini(struct tr_window *w);

#endif
