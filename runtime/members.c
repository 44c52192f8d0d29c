/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/members.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sched/base/assert.h"

#define FIRST_CAPACITY UINT64_C(8)

static uint64_t capacity_of(unsigned class)
{
    return FIRST_CAPACITY << class;
}

static struct tr_members *members_new(unsigned class)
{
    uint64_t capacity = capacity_of(class);
    size_t list = capacity * sizeof(struct tr_member), index = 2 * capacity * sizeof(uint32_t);
    struct tr_members *members = calloc(1, sizeof *members + list + index);
    if (!members)
        return NULL;
    members->class = class;
    members->capacity = capacity;
    members->index = (uint32_t *)(void *)((char *)members->list + list);
    return members;
}

/* --- memory --- */

void tr_members_spare(struct tr_shard *shard, struct tr_members *members)
{
    members->spare = shard->spares[members->class];
    shard->spares[members->class] = members;
}

static struct tr_members *take_spare(struct tr_shard *shard, unsigned class)
{
    struct tr_members *members = shard->spares[class];
    if (members)
        shard->spares[class] = members->spare;
    return members;
}

int tr_members_supply(struct tr_shard *shard, unsigned class)
{
    struct tr_members *members = class < TR_MEMBER_CLASSES ? members_new(class) : NULL;
    if (!members)
        return -ENOMEM;
    tr_lock_take(&shard->lock);
    members->all = shard->all;
    shard->all = members;
    tr_members_spare(shard, members);
    tr_lock_release(&shard->lock);
    return 0;
}

void tr_members_free_all(struct tr_shard *shard)
{
    for (struct tr_members *members = shard->all, *next; members; members = next) {
        next = members->all;
        free(members);
    }
}

/* --- the index --- */

static uint64_t index_start(const struct tr_members *members, uint64_t addr)
{
    uint64_t mixed = addr * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ mixed >> 32) & (2 * members->capacity - 1);
}

static void index_add(struct tr_members *members, uint64_t addr, uint64_t place)
{
    uint64_t mask = 2 * members->capacity - 1, i = index_start(members, addr);
    while (members->index[i] != 0)
        i = (i + 1) & mask;
    members->index[i] = (uint32_t)place + 1;
}

struct tr_member *tr_members_find(struct tr_name *name, troupe_addr addr)
{
    struct tr_members *members = name->members;
    if (!members)
        return NULL;
    uint64_t mask = 2 * members->capacity - 1;
    for (uint64_t i = index_start(members, addr.bits); members->index[i] != 0; i = (i + 1) & mask) {
        struct tr_member *member = &members->list[members->index[i] - 1];
        if (member->addr == addr.bits)
            return member;
    }
    return NULL;
}

/* --- the list --- */

static void put(struct tr_members *members, uint64_t place, const struct tr_member *from)
{
    struct tr_member *member = &members->list[place];
    ck_pr_store_64(&member->addr, from->addr);
    ck_pr_store_64(&member->seq, from->seq);
    ck_pr_store_64(&member->kind, from->kind);
    member->tie = from->tie;
    index_add(members, from->addr, place);
}

/* Moves the members, without the holes, to another list, and makes that the name's. */
static void rebuild(struct tr_shard *shard, struct tr_name *name, struct tr_members *to)
{
    struct tr_members *from = name->members;
    uint64_t used = 0;
    memset(to->index, 0, 2 * to->capacity * sizeof to->index[0]);
    for (uint64_t i = name->first; from && i < name->used; i++)
        if (from->list[i].addr != 0)
            put(to, used++, &from->list[i]);
    TR_ASSERT(used == name->live && used < to->capacity);
    tr_shard_change(shard);
    ck_pr_store_ptr(&name->members, to);
    ck_pr_store_64(&name->used, used);
    tr_shard_changed(shard);
    name->first = 0;
    if (from)
        tr_members_spare(shard, from);
}

/* With as much room again as there are members. */
static unsigned wanted_class(const struct tr_name *name)
{
    unsigned class = 0;
    while (class < TR_MEMBER_CLASSES && capacity_of(class) < 2 * (name->live + 1))
        class ++;
    return class;
}

bool tr_members_room(struct tr_shard *shard, struct tr_name *name, unsigned *class)
{
    if (name->members && name->used < name->members->capacity)
        return true;
    *class = wanted_class(name);
    struct tr_members *to = *class < TR_MEMBER_CLASSES ? take_spare(shard, *class) : NULL;
    if (!to)
        return false;
    rebuild(shard, name, to);
    return true;
}

void tr_members_add(struct tr_shard *shard, struct tr_name *name, troupe_addr addr, unsigned kind, struct tr_tie *tie)
{
    struct tr_member member = {.addr = addr.bits, .seq = name->next_seq, .kind = kind, .tie = tie};
    TR_ASSERT(name->members && name->used < name->members->capacity);
    tr_shard_change(shard);
    put(name->members, name->used, &member);
    ck_pr_store_64(&name->used, name->used + 1);
    ck_pr_store_64(&name->next_seq, name->next_seq + 1);
    tr_shard_changed(shard);
    name->live++;
}

/* A list that is nearly empty is moved into a smaller one if there is a spare: it is no loss if there is none. */
static void shrink(struct tr_shard *shard, struct tr_name *name)
{
    unsigned class = wanted_class(name);
    if (name->live == 0 || name->live >= name->members->capacity / 8 || class >= name->members->class)
        return;
    struct tr_members *to = take_spare(shard, class);
    if (to)
        rebuild(shard, name, to);
}

void tr_members_remove(struct tr_shard *shard, struct tr_name *name, struct tr_member *member)
{
    struct tr_members *members = name->members;
    tr_shard_change(shard);
    ck_pr_store_64(&member->addr, 0);
    tr_shard_changed(shard);
    name->live--;
    while (name->first < name->used && members->list[name->first].addr == 0)
        name->first++;
    shrink(shard, name);
}

void tr_members_set_kind(struct tr_shard *shard, struct tr_member *member, unsigned kind)
{
    tr_shard_change(shard);
    ck_pr_store_64(&member->kind, kind);
    tr_shard_changed(shard);
}

struct tr_member *tr_members_first(struct tr_name *name)
{
    return &name->members->list[name->first];
}

/* --- reading --- */

const struct tr_members *tr_members_look(const struct tr_name *name, uint64_t *used)
{
    const struct tr_members *members = ck_pr_load_ptr(&name->members);
    *used = ck_pr_load_64(&name->used);
    ck_pr_fence_load_depends();
    if (members && *used > members->capacity)
        *used = members->capacity; /* the two belong to different moments: the look was disturbed */
    return members;
}

/* The first place whose seq is larger than after. */
static uint64_t place_behind(const struct tr_members *members, uint64_t used, uint64_t after)
{
    uint64_t low = 0, high = used;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (ck_pr_load_64(&members->list[middle].seq) > after)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static unsigned read_some(const struct tr_name *name, struct tr_reading *reading, struct tr_reader_member *out,
                          unsigned max)
{
    uint64_t used, upto = ck_pr_load_64(&name->next_seq), serial = ck_pr_load_64(&name->serial);
    const struct tr_members *members = tr_members_look(name, &used);
    if (!reading->begun)
        *reading = (struct tr_reading){.name = name, .serial = serial, .upto = upto, .begun = true};
    if (!members || name != reading->name || serial != reading->serial)
        return 0;
    unsigned count = 0;
    for (uint64_t i = place_behind(members, used, reading->after); i < used && count < max; i++) {
        const struct tr_member *member = &members->list[i];
        uint64_t seq = ck_pr_load_64(&member->seq);
        if (seq >= reading->upto)
            break;
        reading->after = seq;
        out[count].addr.bits = ck_pr_load_64(&member->addr);
        out[count].kind = (unsigned)ck_pr_load_64(&member->kind);
        count += out[count].addr.bits != 0;
    }
    return count;
}

unsigned tr_members_read(struct tr_shard *shard, const struct tr_key *key, struct tr_reading *reading,
                         struct tr_reader_member *out, unsigned max)
{
    struct tr_look look = {.shard = shard};
    struct tr_reading next;
    unsigned count;
    do {
        tr_look_begin(&look);
        next = *reading;
        const struct tr_name *name = tr_look_find(&look, key);
        count = name ? read_some(name, &next, out, max) : 0;
    } while (!tr_look_end(&look));
    *reading = next;
    return count;
}
