/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <inttypes.h>
#include <stdio.h>

#include <ck_pr.h>

#include "sched/base/rng.h"

enum { SLOTS = 128 }; /* more than there are workers: what is shared is correct as well, only slower */

static struct {
    _Alignas(64) struct ledger_sums kinds[LEDGER_KINDS];
} slots[SLOTS];

static unsigned slots_given;
static _Thread_local struct {
    unsigned slot; /* and 1; 0: none yet */
    struct tr_rng rng;
} mine;

static struct ledger_sums *mine_of(unsigned kind)
{
    if (mine.slot == 0) {
        mine.slot = 1 + ck_pr_faa_uint(&slots_given, 1);
        tr_rng_init(&mine.rng, UINT64_C(7919) * mine.slot);
    }
    return &slots[(mine.slot - 1) % SLOTS].kinds[kind % LEDGER_KINDS];
}

uint64_t ledger_mark(void)
{
    mine_of(0);
    return tr_rng_next(&mine.rng);
}

void ledger_sent(unsigned kind, uint64_t mark)
{
    ledger_sent_many(kind, mark, 1);
}

void ledger_sent_many(unsigned kind, uint64_t mark, uint64_t count)
{
    struct ledger_sums *sums = mine_of(kind);
    ck_pr_add_64(&sums->sent, count);
    ck_pr_add_64(&sums->marks_sent, mark * count);
}

void ledger_handled(unsigned kind, uint64_t mark)
{
    struct ledger_sums *sums = mine_of(kind);
    ck_pr_inc_64(&sums->handled);
    ck_pr_add_64(&sums->marks_gone, mark);
}

void ledger_dead(unsigned kind, unsigned reason, uint64_t mark)
{
    struct ledger_sums *sums = mine_of(kind);
    ck_pr_inc_64(&sums->dead[reason % LEDGER_REASONS]);
    ck_pr_add_64(&sums->marks_gone, mark);
}

void ledger_taken_back(unsigned kind, uint64_t mark)
{
    struct ledger_sums *sums = mine_of(kind);
    ck_pr_inc_64(&sums->taken_back);
    ck_pr_add_64(&sums->marks_gone, mark);
}

/* What is gone is read first: what moves meanwhile is then left, not gone twice. */
struct ledger_sums ledger_of(unsigned kind)
{
    struct ledger_sums all = {0};
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct ledger_sums *sums = &slots[i].kinds[kind];
        all.handled += ck_pr_load_64(&sums->handled);
        all.taken_back += ck_pr_load_64(&sums->taken_back);
        all.marks_gone += ck_pr_load_64(&sums->marks_gone);
        for (unsigned reason = 0; reason < LEDGER_REASONS; reason++)
            all.dead[reason] += ck_pr_load_64(&sums->dead[reason]);
    }
    ck_pr_fence_load();
    for (unsigned i = 0; i < SLOTS; i++) {
        all.sent += ck_pr_load_64(&slots[i].kinds[kind].sent);
        all.marks_sent += ck_pr_load_64(&slots[i].kinds[kind].marks_sent);
    }
    return all;
}

uint64_t ledger_dead_of(const struct ledger_sums *sums)
{
    uint64_t dead = 0;
    for (unsigned reason = 0; reason < LEDGER_REASONS; reason++)
        dead += sums->dead[reason];
    return dead;
}

int64_t ledger_left(unsigned kind)
{
    struct ledger_sums sums = ledger_of(kind);
    return (int64_t)(sums.sent - sums.handled - sums.taken_back - ledger_dead_of(&sums));
}

bool ledger_agrees(const char *const names[])
{
    bool good = true;
    for (unsigned kind = 0; kind < LEDGER_KINDS; kind++) {
        struct ledger_sums sums = ledger_of(kind);
        int64_t left = ledger_left(kind);
        if (left == 0 && sums.marks_sent == sums.marks_gone)
            continue;
        good = false;
        fprintf(stderr, "ledger: %s: %" PRIu64 " sent, %" PRId64 " of them left%s\n", names[kind] ? names[kind] : "?",
                sums.sent, left, left == 0 ? ", but others than were sent are gone" : "");
    }
    return good;
}
