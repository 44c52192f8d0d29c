/* SPDX-License-Identifier: Apache-2.0 */
/* What an incarnation has to give back: resources and deferred calls in one stack, in the order in which they came. The
 * newest goes first; a resource can be taken out anywhere, by slot and serial. Touched by one thread at a time.
 * It owns the table and not what is named there: who pops or takes an entry is the one to release it. */
#ifndef TR_RUNTIME_HOLDINGS_H
#define TR_RUNTIME_HOLDINGS_H

#include <troupe/own.h>

struct tr_holding {
    union {
        const troupe_resource_type *type; /* of a resource: serial is not 0 */
        void (*fn)(void *arg);            /* of a deferred call: serial is 0 */
    };
    uintptr_t handle; /* or arg */
    uint64_t serial;  /* never the same twice while the runtime lives */
    uint32_t older, newer;
};

/* Zeroed: empty. Slots are reused, so the table is as large as the most that were held at once. */
struct tr_holdings {
    struct tr_holding *slots; /* slot 0 closes the ring of those in use: older than it is the newest */
    uint32_t capacity;        /* slots beyond slot 0 */
    uint32_t made;            /* how many of them have been used before */
    uint32_t count;           /* in use */
    uint32_t unused;          /* list of used ones that are free, by older; 0: none */
};

/* Makes sure that count more can be pushed. 0 or -ENOMEM. */
int tr_holdings_reserve(struct tr_holdings *holdings, size_t count);
/* Pushes a copy; its slot. There must be room. */
uint32_t tr_holdings_push(struct tr_holdings *holdings, const struct tr_holding *holding);
/* Takes the newest. False: there is none. */
bool tr_holdings_pop(struct tr_holdings *holdings, struct tr_holding *out);
/* Takes the resource of that slot and serial. False: it is not there, whatever the two are. */
bool tr_holdings_take(struct tr_holdings *holdings, uint64_t slot, uint64_t serial, struct tr_holding *out);
/* Of an empty table: frees it if it is larger than what is worth keeping. */
void tr_holdings_trim(struct tr_holdings *holdings);
/* Frees the table. */
void tr_holdings_fini(struct tr_holdings *holdings);

#endif
