/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/message.h"

#include <stdlib.h>

#include "runtime/delay.h"
#include "sched/base/assert.h"

troupe_msg *tr_msg_alloc_with_tail(struct tr_slab *slab, struct tr_slab_cache *cache, size_t size, size_t tail)
{
    if (size > TROUPE_PAYLOAD_MAX)
        return NULL;
    size_t total = sizeof(troupe_msg) + size;
    enum tr_class class = tr_class_for(total + tail);
    troupe_msg *msg = class == TR_CLASS_HEAP ? malloc(total + TR_MSG_TAIL) : tr_slab_alloc(slab, cache, class);
    if (!msg)
        return NULL;
    *msg = (troupe_msg){.size = (uint32_t)size, .class = (uint8_t) class};
    return msg;
}

troupe_msg *tr_msg_alloc(struct tr_slab *slab, struct tr_slab_cache *cache, size_t size)
{
    return tr_msg_alloc_with_tail(slab, cache, size, 0);
}

void tr_msg_free(struct tr_slab *slab, struct tr_slab_cache *cache, troupe_msg *msg)
{
    if (TR_LIKELY(msg->class <= TR_CLASS_MESSAGE_MAX))
        tr_slab_free(slab, cache, (enum tr_class)msg->class, msg);
    else if (msg->class == TR_CLASS_DELAY)
        tr_delay_free_message(slab, cache, msg);
    else
        free(msg);
}

unsigned troupe_kind(const troupe_msg *msg)
{
    return msg->kind;
}

bool troupe_is_ask(const troupe_msg *msg)
{
    return msg->flags & TR_MSG_ASK;
}
