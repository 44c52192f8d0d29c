/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a family share: the books (family.c), orders to stop (shutdown.c), groups and declared children
 * (group.c), and what children say (news.c). For these four files only; the rest of the runtime uses family.h. */
#ifndef TR_RUNTIME_FAMILY_STATE_H
#define TR_RUNTIME_FAMILY_STATE_H

#include "runtime/args.h"
#include "runtime/context.h"
#include "runtime/family.h"
#include "runtime/window.h"

enum tr_group { TR_GROUP_NONE, TR_GROUP_GATHERING, TR_GROUP_STARTING };

struct tr_family {
    struct tr_list children;       /* in the order of their starts, declared ones first */
    uint32_t dynamic, significant; /* of them */
    bool ending;                   /* they are told to stop, or to die: */
    uint64_t tell_how, tell_shortest_ns;
    struct tr_list *tell_next; /* who is told next, backwards; NULL: all have been, as far as it is their turn */
    enum tr_group group;
    bool group_grew;             /* members may be there that have not been told yet */
    unsigned gathering_place;    /* declared members at this place and behind are down */
    uint32_t gathering;          /* dynamic members that were told and are not down yet */
    struct tr_list *cursor;      /* STARTING: members before this one have been started */
    uint32_t awaited;            /* children whose UP is awaited before anything else is started */
    const troupe_child *spec;    /* the declared child of which the last one was started; NULL: none yet */
    unsigned number, next_place; /* which of the spec's count is next; its place */
    struct tr_cell **staff;      /* declared children by place; NULL: has ended */
    unsigned staff_count;        /* places known so far: those of the specs up to `spec` */
    struct tr_args args;         /* being made for the next declared child */
    struct tr_window window;
    struct tr_alarm *alarm; /* the first shutdown time-out; NULL: none armed */
    uint64_t alarm_due_ns, told_ns;
};

static inline struct tr_cell *tr_family_cell(struct tr_list *link)
{
    return TR_CONTAINER_OF(link, struct tr_cell, siblings);
}

static inline bool tr_family_is_dynamic(const struct tr_cell *child)
{
    return child->place == TR_PLACE_DYNAMIC;
}

/* --- books --- */

/* The running actor's, made if there is none yet; NULL: out of memory. */
struct tr_family *tr_family_of(troupe_ctx *ctx);
/* The child has ended: takes it off the books. */
void tr_family_remove(struct tr_family *family, struct tr_cell *child);

/* --- orders to stop --- */

/* Tells one child to come down (TR_CONTROL_REGROUP) or to stop (TR_CONTROL_STOP). Returns the time it is given. */
uint64_t tr_family_tell(troupe_ctx *ctx, struct tr_cell *child, uint64_t how);
/* Tells all dynamic members of the group that are up to come down. How many were told. */
unsigned tr_family_tell_members(troupe_ctx *ctx, struct tr_family *family);
/* Children have just been told, and the shortest of their times is this. */
void tr_family_time_out(troupe_ctx *ctx, struct tr_family *family, uint64_t shortest_ns);
/* The next step of an ordered stop: the last declared child, once no dynamic one is left. */
void tr_family_stop_next(troupe_ctx *ctx, struct tr_family *family);

/* --- groups and declared children --- */

/* Has child and those that restart with it come down; they join what is left of a group under way. */
void tr_family_group(troupe_ctx *ctx, struct tr_family *family, struct tr_cell *child);
/* A child is down, or gone: before its seat changes. */
void tr_family_gathered(struct tr_family *family, const struct tr_cell *child);
/* The word for a child that is WAITING. */
void tr_family_start_again(troupe_ctx *ctx, struct tr_cell *child);
/* Goes on with whatever is under way: the group, then the declared children that have not been started yet.
 * TR_WISH_STAFFED: nothing is. */
unsigned tr_family_advance(troupe_ctx *ctx, struct tr_family *family);

#endif
