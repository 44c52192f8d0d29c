/* SPDX-License-Identifier: Apache-2.0 */
/* Topics: publish and subscribe. Publishers and subscribers know the topic's name and not each other; each subscriber
 * says under which kind it wants to be told. Verbs and threads as in registry.h.
 * A topic keeps nothing: who subscribes later hears nothing of what was published before. */
#ifndef TROUPE_TOPIC_H
#define TROUPE_TOPIC_H

#include <troupe/group.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Has each publication of that topic sent to an actor, as a message of kind (an index into that actor's handler table;
 * its handler's size should be that of the payloads, or TROUPE_ANY_SIZE). Goes with the actor's end, however it ends;
 * survives a restart. An actor is subscribed once: again changes the kind, so that `started` of each incarnation may
 * subscribe. Returns as troupe_group_join. */
TROUPE_API int troupe_subscribe(troupe_ctx *ctx, const char *topic, troupe_addr actor, unsigned kind);
/* 0, or -ENOENT: it is not subscribed; -EINVAL, -ENAMETOOLONG. What was published before may still arrive. */
TROUPE_API int troupe_unsubscribe(troupe_ctx *ctx, const char *topic, troupe_addr actor);

/* troupe_publish - tell all subscribers, each under its kind. Payload, order, out and returns as troupe_group_tell:
 * nobody subscribed is no error. It never waits for a subscriber: one that is slow has a long mailbox, or, if that is
 * bounded, is left out and counted in out->refused; the others are told all the same. */
TROUPE_API int troupe_publish(troupe_ctx *ctx, const char *topic, const void *payload, size_t size, troupe_fanout *out);

/* The same from any thread; the sender is nobody. */
TROUPE_API int troupe_runtime_subscribe(troupe_runtime *rt, const char *topic, troupe_addr actor, unsigned kind);
TROUPE_API int troupe_runtime_unsubscribe(troupe_runtime *rt, const char *topic, troupe_addr actor);
TROUPE_API int troupe_runtime_publish(troupe_runtime *rt, const char *topic, const void *payload, size_t size,
                                      troupe_fanout *out);

#ifdef __cplusplus
}
#endif

#endif
