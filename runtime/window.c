/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/window.h"

#include <stdlib.h>

/* Each entry leaves once, so this costs nothing in the long run. */
unsigned tr_window_count(struct tr_window *w, unsigned restarts, uint64_t window_ns, uint64_t now_ns)
{
    while (w->count > 0) {
        uint32_t oldest = w->next >= w->count ? w->next - w->count : w->next + restarts - w->count;
        if (now_ns - w->times[oldest] < window_ns)
            break;
        w->count--;
    }
    return w->count;
}

bool tr_window_allow(struct tr_window *w, unsigned restarts, uint64_t window_ns, uint64_t now_ns)
{
    if (restarts == 0 || tr_window_count(w, restarts, window_ns, now_ns) == restarts)
        return false;
    if (!w->times && !(w->times = calloc(restarts, sizeof *w->times)))
        return false;
    w->times[w->next] = now_ns;
    w->next = w->next + 1 == restarts ? 0 : w->next + 1;
    w->count++;
    return true;
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
