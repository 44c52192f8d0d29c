/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: names for single actors, so that who does not know an actor's address can find it.
 * One per runtime. The verbs with a troupe_ctx are for the running actor, those with a troupe_runtime for any thread
 * at any time, as runtime.h has it: once all actors have ended they return -ESHUTDOWN, nobody or 0. A lookup takes no
 * lock; it costs about as much as a tell.
 * It holds one actor per name: see group.h for many, and monitor.h to be told when the one that was found ends. */
#ifndef TROUPE_REGISTRY_H
#define TROUPE_REGISTRY_H

#include <troupe/crash.h>
#include <troupe/message.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The longest name of an actor, a group or a topic, bytes without the closing zero. Any other byte may be in it.
 * Actors, groups and topics have names of their own kind: equal ones have nothing to do with each other. */
#define TROUPE_NAME_MAX 63

/* troupe_register - give an actor a name.
 *   name   copied
 *   actor  any live one; it may have several names
 * The name goes with the actor's end, however it ends: from that moment on it is free. A restart changes nothing, as
 * the address stays the same.
 * Returns 0, also when the actor has this name already, so that `started` of each incarnation may register anew;
 *   -EEXIST: another live actor has it; -ESRCH: the actor has ended; -EINVAL: an empty name, or NULL; -ENAMETOOLONG;
 *   -ENOMEM. */
TROUPE_API int troupe_register(troupe_ctx *ctx, const char *name, troupe_addr actor);
/* Takes it away again, if that actor has it. 0 or -ENOENT; -EINVAL and -ENAMETOOLONG as above. */
TROUPE_API int troupe_unregister(troupe_ctx *ctx, const char *name, troupe_addr actor);

/* Who has that name; nobody: nobody alive. The answer was true at some moment of the call. */
TROUPE_API troupe_addr troupe_lookup(const troupe_ctx *ctx, const char *name);
/* Lookup and tell in one: as troupe_tell (message.h). Where nobody has the name: -ESRCH, and a dead letter (no_actor,
 * to nobody). */
TROUPE_API int troupe_tell_name(troupe_ctx *ctx, const char *name, unsigned kind, const void *payload, size_t size);

/* What troupe_await_name sends. */
typedef struct troupe_registered {
    troupe_addr actor;
    char name[TROUPE_NAME_MAX + 1];
} troupe_registered;

/* troupe_await_name - have a message of kind, with a troupe_registered as payload and that actor as sender, sent to the
 * running actor as soon as somebody has this name; at once if somebody has. Once: await again to hear of the next. It
 * survives a restart, ends with the actor, and a second one for the same name replaces the first, so that `started` may
 * ask in each incarnation. Memory for the message is reserved now. By the time it is handled the name may be free
 * again.
 * Returns 0, -EINVAL, -ENAMETOOLONG or -ENOMEM. */
TROUPE_API int troupe_await_name(troupe_ctx *ctx, const char *name, unsigned kind);

/* The same from any thread; the sender of what is told is nobody. */
TROUPE_API int troupe_runtime_register(troupe_runtime *rt, const char *name, troupe_addr actor);
TROUPE_API int troupe_runtime_unregister(troupe_runtime *rt, const char *name, troupe_addr actor);
TROUPE_API troupe_addr troupe_runtime_lookup(const troupe_runtime *rt, const char *name);
TROUPE_API int troupe_runtime_tell_name(troupe_runtime *rt, const char *name, unsigned kind, const void *payload,
                                        size_t size);

#ifdef __cplusplus
}
#endif

#endif
