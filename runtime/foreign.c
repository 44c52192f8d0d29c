/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/foreign.h"

#include <troupe/runtime.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/deadletter.h"
#include "runtime/expiry.h"
#include "runtime/send.h"
#include "sched/base/assert.h"

_Static_assert(offsetof(struct tr_foreign_ask, word) >= sizeof(struct tr_block), "the serial survives the free list");

enum { FREE, WAITING, CLAIMED };
#define SERIAL_SHIFT 32

/* A thread in troupe_runtime_ask, on its stack. */
struct tr_foreign_waiter {
    uint32_t told; /* futex: 0, then 1 */
    troupe_msg *answer;
};

static uint64_t word_of(uint32_t serial, uint32_t state)
{
    return (uint64_t)serial << SERIAL_SHIFT | state;
}

/* --- the record --- */

static struct tr_foreign_ask *ask_new(struct troupe_runtime *rt, struct tr_foreign_waiter *waiter, uint32_t *serial)
{
    struct tr_foreign_ask *ask = tr_slab_alloc(&rt->slab, NULL, TR_CLASS_FOREIGN_ASK);
    if (!ask)
        return NULL;
    *serial = (uint32_t)(ck_pr_load_64(&ask->word) >> SERIAL_SHIFT);
    ask->waiter = waiter;
    ck_pr_fence_release();
    ck_pr_store_64(&ask->word, word_of(*serial, WAITING));
    return ask;
}

/* F, or an ask that was never sent. */
static void ask_free(struct troupe_runtime *rt, struct tr_foreign_ask *ask, uint32_t serial)
{
    ck_pr_store_64(&ask->word, word_of(serial + 1, FREE));
    tr_slab_free(&rt->slab, NULL, TR_CLASS_FOREIGN_ASK, ask);
}

/* --- who answers --- */

int tr_foreign_answer(struct troupe_runtime *rt, troupe_ctx *ctx, troupe_msg *msg)
{
    struct tr_foreign_ask *ask = (void *)msg->ask;
    uint32_t serial = msg->ask_generation;
    if (!ck_pr_cas_64(&ask->word, word_of(serial, WAITING), word_of(serial, CLAIMED))) {
        tr_dead_letter(rt, ctx, (troupe_addr){0}, msg, TROUPE_DEAD_LATE_REPLY);
        tr_msg_let_go(rt, ctx, msg);
        return -ESRCH;
    }
    ck_pr_fence_acquire();
    struct tr_foreign_waiter *waiter = ask->waiter;
    waiter->answer = msg;
    ck_pr_fence_release();
    ck_pr_store_32(&waiter->told, 1);
    /* The thread may have gone on by now: a wake that finds nobody at this address is harmless. */
    syscall(SYS_futex, &waiter->told, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    return 0;
}

/* --- who waits --- */

/* False: the deadline has passed first. */
static bool wait_until(struct tr_foreign_waiter *waiter, uint64_t deadline_ns)
{
    struct timespec at = {.tv_sec = (time_t)(deadline_ns / TROUPE_SEC(1)),
                          .tv_nsec = (long)(deadline_ns % TROUPE_SEC(1))};
    const struct timespec *until = deadline_ns == TROUPE_FOREVER ? NULL : &at;
    while (!ck_pr_load_32(&waiter->told)) {
        long woken =
            syscall(SYS_futex, &waiter->told, FUTEX_WAIT_BITSET_PRIVATE, 0, until, NULL, FUTEX_BITSET_MATCH_ANY);
        if (woken < 0 && errno == ETIMEDOUT)
            return ck_pr_load_32(&waiter->told);
    }
    return true;
}

/* The answer, or NULL: the time was up first. The record is gone afterwards. */
static troupe_msg *await(struct troupe_runtime *rt, struct tr_foreign_ask *ask, uint32_t serial,
                         struct tr_foreign_waiter *waiter, uint64_t deadline_ns)
{
    if (!wait_until(waiter, deadline_ns)) {
        if (ck_pr_cas_64(&ask->word, word_of(serial, WAITING), word_of(serial + 1, FREE))) {
            tr_slab_free(&rt->slab, NULL, TR_CLASS_FOREIGN_ASK, ask);
            return NULL;
        }
        wait_until(waiter, TROUPE_FOREVER); /* it is being handed over at this moment */
    }
    ck_pr_fence_acquire();
    ask_free(rt, ask, serial);
    return waiter->answer;
}

/* What the answer says, copied out. */
static int outcome_of(const troupe_msg *answer, void *reply, size_t *reply_size)
{
    if (answer->flags & TR_MSG_STATUS)
        return answer->outcome;
    if (!reply_size)
        return 0;
    size_t room = *reply_size, size = answer->size;
    *reply_size = size;
    if (size > 0 && room > 0)
        memcpy(reply, answer->payload, size < room ? size : room);
    return size <= room ? 0 : -ENOBUFS;
}

/* --- the verbs --- */

static int build(struct troupe_runtime *rt, unsigned kind, const void *payload, size_t size, size_t tail,
                 troupe_msg **out)
{
    if (size > TROUPE_PAYLOAD_MAX)
        return -EMSGSIZE;
    troupe_msg *msg = tr_msg_alloc_with_tail(&rt->slab, NULL, size, tail);
    if (!msg)
        return -ENOMEM;
    msg->kind = tr_msg_kind(kind);
    if (size)
        memcpy(msg->payload, payload, size);
    *out = msg;
    return 0;
}

static int tell(troupe_runtime *rt, troupe_addr to, unsigned kind, const void *payload, size_t size)
{
    troupe_msg *msg;
    tr_pool_about_to_schedule(rt->pool);
    int status = build(rt, kind, payload, size, 0, &msg);
    return status < 0 ? status : tr_offer(rt, NULL, to, msg);
}

int troupe_runtime_tell(troupe_runtime *rt, troupe_addr to, unsigned kind, const void *payload, size_t size)
{
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = tell(rt, to, kind, payload, size);
    tr_gate_leave(&rt->gate);
    return status;
}

static int ask_and_wait(troupe_runtime *rt, troupe_addr to, troupe_msg *msg, uint64_t timeout_ns, void *reply,
                        size_t *reply_size)
{
    struct tr_foreign_waiter waiter = {0};
    uint32_t serial;
    uint64_t deadline_ns = timeout_ns == TROUPE_FOREVER ? TROUPE_FOREVER : tr_loop_deadline(timeout_ns);
    struct tr_foreign_ask *ask = ask_new(rt, &waiter, &serial);
    if (!ask) {
        tr_msg_free(&rt->slab, NULL, msg);
        return -ENOMEM;
    }
    msg->flags |= TR_MSG_ASK;
    msg->ask = (void *)ask;
    msg->ask_generation = serial;
    tr_expiry_set(msg, deadline_ns, troupe_no_token());
    tr_post(rt, NULL, to, msg); /* if the receiver is gone, the dead letter comes back as the answer */
    troupe_msg *answer = await(rt, ask, serial, &waiter, deadline_ns);
    if (!answer)
        return -ETIMEDOUT;
    int status = outcome_of(answer, reply, reply_size);
    tr_msg_free(&rt->slab, NULL, answer);
    return status;
}

int troupe_runtime_ask(troupe_runtime *rt, troupe_addr to, unsigned kind, const void *payload, size_t size,
                       uint64_t timeout_ns, void *reply, size_t *reply_size)
{
    troupe_msg *msg;
    if (tr_worker_self())
        return -EDEADLK;
    if (!tr_gate_enter(&rt->gate))
        return -ESHUTDOWN;
    int status = build(rt, kind, payload, size, tr_expiry_tail(size, false), &msg);
    if (status == 0)
        status = ask_and_wait(rt, to, msg, timeout_ns, reply, reply_size);
    tr_gate_leave(&rt->gate);
    return status;
}
