/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: names for any number of actors, told all together or, by a router (router.h), one at a time.
 * A group exists while it has members; nobody owns it. Verbs and threads as in registry.h.
 * These are not the groups of siblings that restart together (supervision.h). */
#ifndef TROUPE_GROUP_H
#define TROUPE_GROUP_H

#include <troupe/registry.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes an actor a member of the group of that name, behind all others. It leaves with its end, however it ends; a
 * restart changes nothing. An actor is a member once: 0 also when it was one already, so that `started` of each
 * incarnation may join. -ESRCH: it has ended; -EINVAL, -ENAMETOOLONG: the name; -ENOMEM. */
TROUPE_API int troupe_group_join(troupe_ctx *ctx, const char *group, troupe_addr actor);
/* 0, or -ENOENT: it is no member; -EINVAL, -ENAMETOOLONG. */
TROUPE_API int troupe_group_leave(troupe_ctx *ctx, const char *group, troupe_addr actor);

/* What became of a message to many. */
typedef struct troupe_fanout {
    size_t told;    /* will be handled or become a dead letter, as by troupe_tell */
    size_t gone;    /* ended at that moment; nothing was sent, and there is no dead letter */
    size_t refused; /* their mailboxes were full (-EAGAIN) */
    size_t starved; /* there was no memory for theirs */
} troupe_fanout;

/* troupe_group_tell - tell all members, the caller included if it is one, in the order in which they joined.
 *   payload  size bytes, copied once for each
 *   out      may be NULL
 * Each who is a member all the time is told once; who leaves or joins meanwhile is told once or not at all. No lock is
 * held while it sends. Order: two calls by one sender arrive at each member in that order.
 * Returns 0, also when there is no member; -EAGAIN, -ENOMEM: some were left out, see out; -EMSGSIZE, -EINVAL,
 *   -ENAMETOOLONG: nobody was told. */
TROUPE_API int troupe_group_tell(troupe_ctx *ctx, const char *group, unsigned kind, const void *payload, size_t size,
                                 troupe_fanout *out);

/* Writes up to max live members to out, in the order in which they joined, each once. Returns how many there are, which
 * may be more than max; max 0: only count. 0 as well for what cannot be a name. */
TROUPE_API size_t troupe_group_members(const troupe_ctx *ctx, const char *group, troupe_addr *out, size_t max);

/* The same from any thread; the sender is nobody. */
TROUPE_API int troupe_runtime_group_join(troupe_runtime *rt, const char *group, troupe_addr actor);
TROUPE_API int troupe_runtime_group_leave(troupe_runtime *rt, const char *group, troupe_addr actor);
TROUPE_API int troupe_runtime_group_tell(troupe_runtime *rt, const char *group, unsigned kind, const void *payload,
                                         size_t size, troupe_fanout *out);
TROUPE_API size_t troupe_runtime_group_members(const troupe_runtime *rt, const char *group, troupe_addr *out,
                                               size_t max);

#ifdef __cplusplus
}
#endif

#endif
