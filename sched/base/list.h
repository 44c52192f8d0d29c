/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked ring with a head. Owns nothing: nodes live in what they link.
 * Any single thread at a time may call; there is no locking here.
 * It is not a queue between threads: see sched/inject.h and runtime/mailbox.h for those. */
#ifndef TR_SCHED_BASE_LIST_H
#define TR_SCHED_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct tr_list {
    struct tr_list *next, *prev;
};

#define TR_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void tr_list_init(struct tr_list *head)
{
    head->next = head->prev = head;
}

static inline bool tr_list_empty(const struct tr_list *head)
{
    return head->next == head;
}

static inline void tr_list_insert_between(struct tr_list *node, struct tr_list *prev, struct tr_list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void tr_list_push_back(struct tr_list *head, struct tr_list *node)
{
    tr_list_insert_between(node, head->prev, head);
}

/* Unlinks node; it points to itself afterwards, so that a second removal is harmless. */
static inline void tr_list_remove(struct tr_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    tr_list_init(node);
}

static inline struct tr_list *tr_list_first(const struct tr_list *head)
{
    return tr_list_empty(head) ? NULL : head->next;
}

static inline struct tr_list *tr_list_pop_front(struct tr_list *head)
{
    struct tr_list *node = tr_list_first(head);
    if (node)
        tr_list_remove(node);
    return node;
}

#endif
