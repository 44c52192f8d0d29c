/* SPDX-License-Identifier: Apache-2.0 */
/* The parking word in every interleaving: the real io/park.c, with one owner, wakers, and a kernel that is a futex and a
 * ring of one completion. No sleep may outlast a wake. */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <ck_pr.h>

#include "tests/support/explore.h"
#include "tests/support/sanitizer.h"

static inline bool cas_step(uint32_t *word, uint32_t from, uint32_t to)
{
    explore_step();
    return ck_pr_cas_32(word, from, to);
}

static inline uint32_t fas_step(uint32_t *word, uint32_t to)
{
    explore_step();
    return ck_pr_fas_32(word, to);
}

static long futex_step(uint32_t *word, int what, uint32_t value, const struct timespec *until);

#define ck_pr_cas_32 cas_step
#define ck_pr_fas_32 fas_step
#define syscall(number, word, what, value, until, ...) futex_step(word, what, value, until)
#include "io/park.c"
#undef syscall

static long futex_step(uint32_t *word, int what, uint32_t value, const struct timespec *until)
{
    (void)until; /* only a wake ends a sleep here: a time-out would hide that it is missing */
    explore_step();
    if (what == FUTEX_WAKE_PRIVATE) {
        explore_wake(word);
        return 0;
    }
    if (*word != value) {
        errno = EAGAIN;
        return -1;
    }
    explore_sleep(word);
    return 0;
}

/* --- the world --- */

enum { OWNER, FIRST_WAKER };

static struct tr_park park;
static bool rung; /* the ring has a completion */
static unsigned published, taken, wakers_each, sleeps;

static void begin(void)
{
    park = (struct tr_park){0};
    rung = false;
    published = taken = sleeps = 0;
}

static void ring(void)
{
    explore_step();
    rung = true;
    explore_wake(&rung);
}

static void sleep_in_ring(void)
{
    explore_step();
    if (!rung)
        explore_sleep(&rung);
    explore_step();
    rung = false;
}

static void take(void)
{
    explore_step();
    taken = published;
}

static void sleep_once(enum tr_park_state how)
{
    if (tr_park_begin(&park, how)) {
        sleeps++;
        if (how == TR_PARK_IN_FUTEX)
            tr_park_sleep(&park, UINT64_MAX);
        else
            sleep_in_ring();
    }
    tr_park_end(&park);
}

static unsigned expected;

/* Until all that is ever published is taken: as a loop does, it takes before it sleeps and after. */
static void owner(unsigned index)
{
    (void)index;
    for (take(); taken < expected; take())
        sleep_once(explore_choose(2) ? TR_PARK_IN_RING : TR_PARK_IN_FUTEX);
}

static void waker(unsigned index)
{
    (void)index;
    for (unsigned i = 0; i < wakers_each; i++) {
        explore_step();
        published++;
        if (tr_park_notify(&park))
            ring();
    }
}

/* An operation of the owner's completes. */
static void kernel(unsigned index)
{
    (void)index;
    ring();
}

static bool owner_has_all(void)
{
    return explore_ended(OWNER) && taken == expected;
}

static unsigned long explored(void (*const bodies[])(unsigned), unsigned count, unsigned wakes, unsigned each)
{
    expected = wakes;
    wakers_each = each;
    unsigned long runs = explore(bodies, count, UINT_MAX, begin, owner_has_all);
    printf("%lu runs\n", runs);
    return runs;
}

Test(park_model, one_waker_that_wakes_twice_is_never_missed, .disabled = SANITIZED)
{
    cr_assert_gt(explored((void (*const[])(unsigned)){owner, waker}, 2, 2, 2), 100ul);
}

Test(park_model, two_wakers_at_once_are_never_missed, .disabled = SANITIZED)
{
    cr_assert_gt(explored((void (*const[])(unsigned)){owner, waker, waker}, 3, 2, 1), 1000ul);
}

Test(park_model, a_completion_beside_a_wake_takes_nothing_from_it, .disabled = SANITIZED)
{
    cr_assert_gt(explored((void (*const[])(unsigned)){owner, waker, kernel}, 3, 1, 1), 1000ul);
}

/* --- the tester, tested: wrong protocols, in which a wake is lost --- */

static void looks_and_then_sleeps(unsigned index)
{
    (void)index;
    for (take(); taken < expected; take()) {
        explore_step();
        if (park.word == TR_PARK_AWAKE) {
            explore_step();
            park.word = TR_PARK_IN_FUTEX;
            tr_park_sleep(&park, UINT64_MAX);
        }
        tr_park_end(&park);
    }
}

static void publishes_too_late(unsigned index)
{
    (void)index;
    if (tr_park_notify(&park))
        ring();
    explore_step();
    published++;
}

static void rings_the_wrong_bell(unsigned index)
{
    (void)index;
    explore_step();
    published++;
    tr_park_notify(&park);
}

Test(park_model, broken_protocols_are_found_out, .disabled = SANITIZED)
{
    cr_assert_eq(explored((void (*const[])(unsigned)){looks_and_then_sleeps, waker}, 2, 1, 1), 0ul);
    cr_assert_eq(explored((void (*const[])(unsigned)){owner, publishes_too_late}, 2, 1, 1), 0ul);
    cr_assert_eq(explored((void (*const[])(unsigned)){owner, rings_the_wrong_bell}, 2, 1, 1), 0ul);
}
