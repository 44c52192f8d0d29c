/* SPDX-License-Identifier: Apache-2.0 */
/* The members of one name (a group, a topic, those who wait for a name): a list in the order in which they joined, and
 * an index by address. Changed under the shard's lock, read without: see names.h. The memory is the shard's.
 * It does not end with its members: that is the tie's business (tie.h). */
#ifndef TR_RUNTIME_MEMBERS_H
#define TR_RUNTIME_MEMBERS_H

#include <troupe/types.h>

#include "runtime/names.h"

/* A member that leaves makes a hole (addr 0); holes go when the list is next rebuilt, which keeps the order. `seq`
 * grows along the list, so a reader who comes back finds where it was. The index names a place by address; a hole's
 * entry stays until then, and is stepped over. */
struct tr_member {
    uint64_t addr, seq, kind;
    struct tr_tie *tie; /* under the lock only */
};

struct tr_members {
    struct tr_members *all; /* constant, as the next two */
    uint64_t class;
    uint64_t capacity;
    struct tr_members *spare; /* while it is one */
    uint32_t *index;          /* 2 * capacity of: place + 1, or 0; behind the list */
    struct tr_member list[];
};

/* --- under the lock --- */

/* Has name's list room for one more? If not it is rebuilt from a spare, if there is one. False: *class is the class of
 * which tr_members_supply, without the lock, should give the shard one. */
bool tr_members_room(struct tr_shard *shard, struct tr_name *name, unsigned *class);
/* NULL: no member has that address. */
struct tr_member *tr_members_find(struct tr_name *name, troupe_addr addr);
/* There must be room. */
void tr_members_add(struct tr_shard *shard, struct tr_name *name, troupe_addr addr, unsigned kind, struct tr_tie *tie);
void tr_members_remove(struct tr_shard *shard, struct tr_name *name, struct tr_member *member);
void tr_members_set_kind(struct tr_shard *shard, struct tr_member *member, unsigned kind);
/* The member that has been there longest; there is one. */
struct tr_member *tr_members_first(struct tr_name *name);
void tr_members_spare(struct tr_shard *shard, struct tr_members *members);

/* --- without --- */

/* 0 or -ENOMEM. */
int tr_members_supply(struct tr_shard *shard, unsigned class);
void tr_members_free_all(struct tr_shard *shard);

/* What a reader got, and where it goes on. Begin with zeroes. */
struct tr_reading {
    const struct tr_name *name; /* record and serial: which life of the name it is */
    uint64_t serial;
    uint64_t after, upto; /* seq: next are those behind `after` and before `upto`, which is set by the first read */
    bool begun;
};

struct tr_reader_member {
    troupe_addr addr;
    unsigned kind;
};

/* Reads up to max more members, in order. 0: that was all. Who is a member from the first read to the last is found
 * once; who joins after the first read is not found. */
unsigned tr_members_read(struct tr_shard *shard, const struct tr_key *key, struct tr_reading *reading,
                         struct tr_reader_member *out, unsigned max);

/* Within a look: the list and how many of its places to look at; NULL: there is none. */
const struct tr_members *tr_members_look(const struct tr_name *name, uint64_t *used);

#endif
