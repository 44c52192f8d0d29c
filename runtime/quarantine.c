/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/quarantine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/loop.h"
#include "runtime/instance.h"
#include "runtime/message.h"

struct tr_poison {
    struct tr_list link;
    const troupe_behavior *behavior;
    troupe_poison record;
    _Alignas(16) unsigned char payload[];
};

void tr_quarantine_init(struct tr_quarantine *q, unsigned limit)
{
    *q = (struct tr_quarantine){.limit = limit};
    pthread_mutex_init(&q->lock, NULL);
    tr_list_init(&q->poisons);
}

/* The payload goes the way of a message that was never handled. */
static void drop(struct tr_poison *poison)
{
    const troupe_handler *handler = &poison->behavior->handlers[poison->record.kind];
    if (handler->drop)
        handler->drop(poison->payload, poison->record.size);
    free(poison);
}

void tr_quarantine_fini(struct tr_quarantine *q)
{
    struct tr_list *next;
    for (struct tr_list *link = q->poisons.next; link != &q->poisons; link = next) {
        next = link->next;
        drop(TR_CONTAINER_OF(link, struct tr_poison, link));
    }
    pthread_mutex_destroy(&q->lock);
}

/* Under the lock. */
static struct tr_poison *take_first(struct tr_quarantine *q)
{
    struct tr_list *link = tr_list_pop_front(&q->poisons);
    q->count -= link != NULL;
    return link ? TR_CONTAINER_OF(link, struct tr_poison, link) : NULL;
}

/* Under the lock. Returns who makes room, to be dropped without it, or NULL. */
static struct tr_poison *insert(struct tr_quarantine *q, struct tr_poison *poison)
{
    struct tr_list *after = q->poisons.prev; /* in the order of ids; a new one is the last */
    while (after != &q->poisons && TR_CONTAINER_OF(after, struct tr_poison, link)->record.id > poison->record.id)
        after = after->prev;
    tr_list_insert_between(&poison->link, after, after->next);
    return ++q->count > q->limit ? take_first(q) : NULL;
}

static struct tr_poison *copy_of(troupe_addr to, const troupe_behavior *behavior, const troupe_msg *msg,
                                 unsigned attempts, const char *text)
{
    struct tr_poison *poison = malloc(sizeof *poison + msg->size);
    if (!poison)
        return NULL;
    poison->behavior = behavior;
    poison->record = (troupe_poison){
        .time_ns = tr_loop_wall_clock(),
        .to = to,
        .from = msg->sender,
        .behavior = behavior->name,
        .kind = msg->kind,
        .attempts = attempts,
        .size = msg->size,
    };
    strncpy(poison->record.text, text, sizeof poison->record.text - 1);
    memcpy(poison->payload, msg->payload, msg->size);
    return poison;
}

bool tr_quarantine_add(struct troupe_runtime *rt, troupe_addr to, const troupe_behavior *behavior,
                       const troupe_msg *msg, unsigned attempts, const char *text)
{
    struct tr_quarantine *q = &rt->quarantine;
    struct tr_poison *poison = copy_of(to, behavior, msg, attempts, text), *oldest;
    if (!poison)
        return false;
    pthread_mutex_lock(&q->lock);
    poison->record.id = ++q->last_id;
    oldest = insert(q, poison);
    pthread_mutex_unlock(&q->lock);
    if (oldest)
        drop(oldest);
    return true;
}

static size_t list(troupe_runtime *rt, uint64_t after, troupe_poison *out, size_t count)
{
    struct tr_quarantine *q = &rt->quarantine;
    size_t copied = 0;
    pthread_mutex_lock(&q->lock);
    for (struct tr_list *link = q->poisons.next; link != &q->poisons && copied < count; link = link->next) {
        const struct tr_poison *poison = TR_CONTAINER_OF(link, struct tr_poison, link);
        if (poison->record.id > after)
            out[copied++] = poison->record;
    }
    pthread_mutex_unlock(&q->lock);
    return copied;
}

/* Under the lock. */
static struct tr_poison *find(struct tr_quarantine *q, uint64_t id)
{
    for (struct tr_list *link = q->poisons.next; link != &q->poisons; link = link->next)
        if (TR_CONTAINER_OF(link, struct tr_poison, link)->record.id == id)
            return TR_CONTAINER_OF(link, struct tr_poison, link);
    return NULL;
}

static int64_t payload_of(troupe_runtime *rt, uint64_t id, void *out, size_t size)
{
    struct tr_quarantine *q = &rt->quarantine;
    pthread_mutex_lock(&q->lock);
    const struct tr_poison *poison = find(q, id);
    int64_t result = poison ? (int64_t)poison->record.size : -ESRCH;
    if (poison && size > 0)
        memcpy(out, poison->payload, size < poison->record.size ? size : poison->record.size);
    pthread_mutex_unlock(&q->lock);
    return result;
}

static struct tr_poison *take(struct tr_quarantine *q, uint64_t id)
{
    pthread_mutex_lock(&q->lock);
    struct tr_poison *poison = find(q, id);
    if (poison) {
        tr_list_remove(&poison->link);
        q->count--;
    }
    pthread_mutex_unlock(&q->lock);
    return poison;
}

/* Others may have come meanwhile, so that there is no room any more. */
static void put_back(struct tr_quarantine *q, struct tr_poison *poison)
{
    pthread_mutex_lock(&q->lock);
    struct tr_poison *oldest = insert(q, poison);
    pthread_mutex_unlock(&q->lock);
    if (oldest)
        drop(oldest);
}

static int resend(troupe_runtime *rt, uint64_t id, troupe_addr to)
{
    struct tr_poison *poison = take(&rt->quarantine, id);
    if (!poison)
        return -ESRCH;
    troupe_addr receiver = troupe_addr_is_nobody(to) ? poison->record.to : to;
    int status = troupe_runtime_tell(rt, receiver, poison->record.kind, poison->payload, poison->record.size);
    if (status < 0)
        put_back(&rt->quarantine, poison);
    else
        free(poison);
    return status;
}

static int take_and_drop(troupe_runtime *rt, uint64_t id)
{
    struct tr_poison *poison = take(&rt->quarantine, id);
    if (!poison)
        return -ESRCH;
    drop(poison);
    return 0;
}

/* --- the verbs ---------------------------------------------------------------------------------------------------- */

size_t troupe_quarantine_list(troupe_runtime *rt, uint64_t after, troupe_poison *out, size_t count)
{
    if (!tr_gate_look(&rt->gate))
        return 0;
    size_t copied = list(rt, after, out, count);
    tr_gate_leave(&rt->gate);
    return copied;
}

int64_t troupe_quarantine_payload(troupe_runtime *rt, uint64_t id, void *out, size_t size)
{
    if (!tr_gate_look(&rt->gate))
        return -ESHUTDOWN;
    int64_t result = payload_of(rt, id, out, size);
    tr_gate_leave(&rt->gate);
    return result;
}

int troupe_quarantine_resend(troupe_runtime *rt, uint64_t id, troupe_addr to)
{
    if (!tr_gate_look(&rt->gate))
        return -ESHUTDOWN;
    int status = resend(rt, id, to);
    tr_gate_leave(&rt->gate);
    return status;
}

int troupe_quarantine_drop(troupe_runtime *rt, uint64_t id)
{
    if (!tr_gate_look(&rt->gate))
        return -ESHUTDOWN;
    int status = take_and_drop(rt, id);
    tr_gate_leave(&rt->gate);
    return status;
}
