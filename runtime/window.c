/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/window.h"

#include <stdlib.h>

bool tr_window_allow(struct tr_window *w, unsigned restarts, uint64_t window_ns, uint64_t now_ns)
{
    if (restarts == 0)
        return false;
    if (!w->times && !(w->times = calloc(restarts, sizeof *w->times)))
        return false;
    if (w->count == restarts) {
        /* Full: w->next is the oldest of the last `restarts` restarts. */
        if (now_ns - w->times[w->next] < window_ns)
            return false;
        w->count--;
    }
    w->times[w->next] = now_ns;
    w->next = (w->next + 1) % restarts;
    w->count++;
    return true;
}

unsigned tr_window_count(const struct tr_window *w, unsigned restarts, uint64_t window_ns, uint64_t now_ns)
{
    unsigned within = 0;
    for (uint32_t i = 1; i <= w->count; i++)
        if (now_ns - w->times[(w->next + restarts - i) % restarts] < window_ns)
            within++;
    return within;
}

void tr_window_forget(struct tr_window *w)
{
    w->count = w->next = 0;
}

void tr_window_fini(struct tr_window *w)
{
    free(w->times);
    *w = (struct tr_window){0};
}
