/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a few small threads of a test in every order there is. Real source, in which each step that others can see first
 * calls explore_step; the threads are contexts of one real thread, so that the test decides who goes next, and the next
 * time decides otherwise (depth first, until every choice has been made). Owns those contexts; one exploration at a
 * time. What it explores is sequentially consistent: of the strength of fences it knows nothing, of lost wakes all.
 * Not for ThreadSanitizer, which cannot follow contexts and has nothing to find in one thread. */
#ifndef TR_TESTS_SUPPORT_EXPLORE_H
#define TR_TESTS_SUPPORT_EXPLORE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

enum { EXPLORE_THREADS = 6, EXPLORE_DEPTH = 4096, EXPLORE_STACK = 65536 };

struct explore_thread {
    ucontext_t context;
    void (*body)(unsigned index);
    const void *waits_for; /* what explore_sleep was called with; NULL: it can go on */
    bool done;
    char *stack;
};

static struct {
    struct explore_thread threads[EXPLORE_THREADS];
    unsigned count, current;
    ucontext_t judge;
    struct {
        uint8_t choice, options;
    } path[EXPLORE_DEPTH];
    unsigned length, at; /* of the path; how far this run has come */
    unsigned preemptions, preemptions_max;
    unsigned long runs;
} explorer;

/* One of `options`, each in its turn. */
static inline unsigned explore_choose(unsigned options)
{
    if (options == 1)
        return 0;
    if (explorer.at == explorer.length) {
        if (explorer.length == EXPLORE_DEPTH)
            abort(); /* a thread that does not end */
        explorer.path[explorer.length].choice = 0;
        explorer.path[explorer.length++].options = (uint8_t)options;
    }
    return explorer.path[explorer.at++].choice;
}

/* A step that others can see comes next: any of them may come before it. */
static inline void explore_step(void)
{
    swapcontext(&explorer.threads[explorer.current].context, &explorer.judge);
}

/* Sleeps until explore_wake is called with the same address. What led to the sleep and the sleep are one step. */
static inline void explore_sleep(const void *address)
{
    explorer.threads[explorer.current].waits_for = address;
    explore_step();
}

/* Wakes all that sleep there. */
static inline void explore_wake(const void *address)
{
    for (unsigned i = 0; i < explorer.count; i++)
        if (explorer.threads[i].waits_for == address)
            explorer.threads[i].waits_for = NULL;
}

static inline void explore_main(void)
{
    struct explore_thread *thread = &explorer.threads[explorer.current];
    thread->body(explorer.current);
    thread->done = true;
    explore_step(); /* for good */
}

static inline bool explore_ready(unsigned i)
{
    return !explorer.threads[i].done && !explorer.threads[i].waits_for;
}

/* Who goes next, the one that ran first; false: nobody can. */
static inline bool explore_next(void)
{
    unsigned ready[EXPLORE_THREADS], count = 0, was = explorer.current;
    bool may_stay = explore_ready(was);
    if (may_stay)
        ready[count++] = was;
    for (unsigned i = 0; i < explorer.count; i++)
        if (i != was && explore_ready(i))
            ready[count++] = i;
    if (count == 0)
        return false;
    if (may_stay && explorer.preemptions == explorer.preemptions_max)
        count = 1;
    explorer.current = ready[explore_choose(count)];
    explorer.preemptions += may_stay && explorer.current != was;
    return true;
}

/* A function of its own, because of what compilers fear about getcontext. */
static inline void explore_prepare(struct explore_thread *thread, void (*body)(unsigned))
{
    thread->body = body;
    thread->waits_for = NULL;
    thread->done = false;
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = thread->stack;
    thread->context.uc_stack.ss_size = EXPLORE_STACK;
    thread->context.uc_link = NULL;
    makecontext(&thread->context, explore_main, 0);
}

static inline void explore_run(void (*const bodies[])(unsigned))
{
    for (unsigned i = 0; i < explorer.count; i++)
        explore_prepare(&explorer.threads[i], bodies[i]);
    explorer.at = explorer.current = explorer.preemptions = 0;
    while (explore_next())
        swapcontext(&explorer.judge, &explorer.threads[explorer.current].context);
    explorer.runs++;
}

/* The next path; false: there is none. */
static inline bool explore_turn(void)
{
    while (explorer.length > 0) {
        if (++explorer.path[explorer.length - 1].choice < explorer.path[explorer.length - 1].options)
            return true;
        explorer.length--;
    }
    return false;
}

/* Has thread i ended? For `good`. */
static inline bool explore_ended(unsigned i)
{
    return explorer.threads[i].done;
}

/* Runs `count` threads in every order, with at most preemptions_max switches away from one that could have gone on
 * (UINT_MAX: any number). Before each run `begin` sets the state, after it, when nobody can go on, `good` judges.
 * Returns how many runs there were, all of them good; or 0: one was not. */
static inline unsigned long explore(void (*const bodies[])(unsigned), unsigned count, unsigned preemptions_max,
                                    void (*begin)(void), bool (*good)(void))
{
    bool all_good = true;
    explorer.count = count;
    explorer.preemptions_max = preemptions_max;
    explorer.length = 0;
    explorer.runs = 0;
    for (unsigned i = 0; i < count; i++)
        explorer.threads[i].stack = malloc(EXPLORE_STACK);
    do {
        begin();
        explore_run(bodies);
        all_good = good();
    } while (all_good && explore_turn());
    for (unsigned i = 0; i < count; i++)
        free(explorer.threads[i].stack);
    return all_good ? explorer.runs : 0;
}

#endif
