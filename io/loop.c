/* SPDX-License-Identifier: Apache-2.0 */
/* loop->park: whether and how the owner sleeps, and so who must be woken by a system call. See io/park.h.
 *
 * commands, cancels, returns: stacks that any thread pushes to and the owner empties at one stroke, then reverses, so
 * that each poster's order is kept. Edge: push (release) -> batch pop (acquire). Pushers of commands and cancels wake,
 * pushers of returns do not: see op.c for why, and for the order in which they are emptied.
 * Checked by: tests/io/test_loop.c, tests/stress/stress_loop.c under ThreadSanitizer. */
#include "io/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>

#include "io/blocking.h"
#include "io/diagnose.h"
#include "io/loop_state.h"
#include "io/selftest.h"
#include "sched/base/assert.h"
#include "sched/pool.h"

#define COMPLETIONS_PER_CALL 256u
#define TIMERS_PER_CALL 512u
#define REAP_NS UINT64_C(500000)          /* how long one call delivers completions */
#define DETACH_NS UINT64_C(5000000000)    /* how long a leaving loop waits for its ops to end */
#define DETACH_STEP_NS UINT64_C(20000000) /* between two looks meanwhile */
#define OPS_MAX (1u << 24)                /* an op's index has 24 bits of user_data */

static uint64_t clock_read(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t tr_loop_clock(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

static uint64_t deadline_after(uint64_t now_ns, uint64_t timeout_ns)
{
    return timeout_ns < UINT64_MAX - now_ns ? now_ns + timeout_ns : UINT64_MAX;
}

uint64_t tr_loop_deadline(uint64_t timeout_ns)
{
    return deadline_after(tr_loop_clock(), timeout_ns);
}

uint64_t tr_loop_deadline_here(struct tr_loop *loop, uint64_t timeout_ns)
{
    return deadline_after(tr_clock_soon(&loop->clock), timeout_ns);
}

uint64_t tr_loop_wall_clock(void)
{
    return clock_read(CLOCK_REALTIME_COARSE);
}

static uint64_t clock_of(void *arg)
{
    (void)arg;
    return tr_loop_clock();
}

bool tr_loop_is_current(const struct tr_loop *loop)
{
    return pthread_equal(pthread_self(), loop->owner) != 0;
}

struct tr_wheel *tr_loop_wheel(struct tr_loop *loop)
{
    return &loop->wheel;
}

uint64_t tr_loop_now(struct tr_loop *loop)
{
    return loop->now;
}

/* What other threads send. */

static ck_stack_entry_t *take_all(ck_stack_t *stack)
{
    if (!ck_pr_load_ptr(&stack->head))
        return NULL;
    ck_stack_entry_t *entry = ck_stack_batch_pop_upmc(stack), *reversed = NULL;
    ck_pr_fence_acquire();
    while (entry) {
        ck_stack_entry_t *next = entry->next;
        entry->next = reversed;
        reversed = entry;
        entry = next;
    }
    return reversed;
}

static void run_cancels(struct tr_loop *loop)
{
    ck_stack_entry_t *entry = take_all(&loop->cancels);
    while (entry) {
        struct tr_op *op = TR_CONTAINER_OF(entry, struct tr_op, cancel_link);
        entry = entry->next; /* before the node is free again */
        tr_op_cancel_arrived(op);
    }
}

void tr_loop_collect_returns(struct tr_loop *loop)
{
    ck_stack_entry_t *entry = take_all(&loop->returns); /* first: see op.c */
    run_cancels(loop);
    while (entry) {
        struct tr_op *op = TR_CONTAINER_OF(entry, struct tr_op, return_link);
        entry = entry->next;
        tr_op_put_arrived(op);
    }
}

static void run_commands(struct tr_loop *loop)
{
    ck_stack_entry_t *entry = take_all(&loop->commands);
    while (entry) {
        struct tr_loop_command *command = TR_CONTAINER_OF(entry, struct tr_loop_command, link);
        entry = entry->next;
        command->fn(loop, command);
    }
}

static void wake(void *io)
{
    struct tr_loop *loop = io;
    if (tr_park_notify(&loop->park))
        loop->backend->wake(loop);
}

void tr_loop_wake(struct tr_loop *loop)
{
    wake(loop);
}

void tr_loop_post(struct tr_loop *loop, struct tr_loop_command *command)
{
    TR_ASSERT(command->fn != NULL);
    ck_pr_fence_release();
    ck_stack_push_upmc(&loop->commands, &command->link);
    wake(loop);
}

/* Polling and sleeping. */

static void take_in(struct tr_loop *loop)
{
    tr_loop_collect_returns(loop);
    run_commands(loop);
    if (TR_UNLIKELY(loop->cancels_unsent))
        tr_op_cancel_again(loop);
}

static unsigned deliver(struct tr_loop *loop)
{
    unsigned count = tr_op_deliver_ready(loop, COMPLETIONS_PER_CALL);
    count += loop->backend->reap(loop, COMPLETIONS_PER_CALL, loop->now + REAP_NS);
    return count;
}

static unsigned fire_timers(struct tr_loop *loop)
{
    unsigned fired = tr_wheel_advance(&loop->wheel, loop->now, TIMERS_PER_CALL);
    ck_pr_store_64(&loop->stats.timers_armed, loop->wheel.count);
    return fired;
}

/* All that is queued goes to the kernel, in as many enters as its queue's size demands: nearly always one. */
static void submit(struct tr_loop *loop)
{
    while (!tr_op_start_waiting(loop)) {
        struct tr_op *first = loop->waiting.head;
        loop->backend->enter(loop, 0);
        if (!tr_op_start_waiting(loop) && loop->waiting.head == first)
            return; /* the kernel takes nothing until completions are reaped */
    }
}

static unsigned poll_once(void *io)
{
    struct tr_loop *loop = io;
    TR_ASSERT(tr_loop_is_current(loop));
    loop->now = tr_loop_clock();
    take_in(loop);
    submit(loop);
    loop->backend->enter(loop, 0);
    return deliver(loop) + fire_timers(loop);
}

static bool timer_due(const struct tr_loop *loop)
{
    return loop->wheel.count && tr_wheel_next(&loop->wheel) <= tr_loop_clock();
}

static bool pending(void *io)
{
    struct tr_loop *loop = io;
    return loop->ready.head || ck_pr_load_ptr(&loop->commands.head) || ck_pr_load_ptr(&loop->cancels.head) ||
           loop->backend->pending(loop) || timer_due(loop);
}

/* Can the kernel complete nothing of ours, so that only a wake or the time will end the sleep? */
static bool nothing_in_flight(const struct tr_loop *loop)
{
    return loop->stats.ops_in_flight == 0 && !loop->backend->engaged(loop);
}

static bool expects(void *io)
{
    const struct tr_loop *loop = io;
    return loop->wheel.count || loop->ready.head || !nothing_in_flight(loop);
}

/* How long the kernel may keep us, or 0: there is something to do already. */
static uint64_t sleep_limit(struct tr_loop *loop, uint64_t timeout_ns)
{
    uint64_t next = tr_wheel_next(&loop->wheel);
    if (loop->ready.head || loop->waiting.head)
        return 0;
    if (next == UINT64_MAX || loop->closing)
        return timeout_ns;
    uint64_t until = next > loop->now ? next - loop->now : 0;
    return until < timeout_ns ? until : timeout_ns;
}

/* In the word if possible, as its wake costs half: see io/park.h. True: it was, and so nothing has completed. */
static bool sleep_for(struct tr_loop *loop, uint64_t limit)
{
    bool in_futex = limit && nothing_in_flight(loop);
    if (!limit || !tr_park_begin(&loop->park, in_futex ? TR_PARK_IN_FUTEX : TR_PARK_IN_RING)) {
        loop->backend->enter(loop, 0);
    } else if (in_futex) {
        tr_count(&loop->stats.enters, 1);
        tr_park_sleep(&loop->park, deadline_after(loop->now, limit));
        if (loop->worker)
            tr_worker_getting_up(loop->worker);
    } else {
        loop->backend->enter(loop, limit);
    }
    if (tr_park_end(&loop->park))
        tr_count(&loop->stats.wakes_received, 1);
    return in_futex;
}

static bool sleep_in_kernel(struct tr_loop *loop, uint64_t timeout_ns)
{
    take_in(loop);
    submit(loop);
    loop->now = tr_loop_clock();
    bool in_futex = sleep_for(loop, sleep_limit(loop, timeout_ns));
    loop->now = tr_loop_clock();
    return in_futex;
}

static unsigned wait_once(void *io, uint64_t timeout_ns)
{
    struct tr_loop *loop = io;
    TR_ASSERT(tr_loop_is_current(loop));
    bool in_futex = sleep_in_kernel(loop, timeout_ns);
    take_in(loop);
    return (in_futex && !loop->ready.head ? 0 : deliver(loop)) + fire_timers(loop);
}

/* Attaching and detaching. */

static uint64_t seed(const struct tr_loop *loop)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != (ssize_t)sizeof bits)
        bits = tr_loop_clock() ^ (uint64_t)(uintptr_t)loop;
    return bits;
}

static uint64_t random_bits(void *io)
{
    struct tr_loop *loop = io;
    return tr_rng_next(&loop->random);
}

/* A futex's time-out comes as late as the thread's timer slack, 50 us by default, and then our timers would, too. The
 * ring's does not know slack. What else this thread sleeps for is not late, either. */
static unsigned long sleep_punctually(void)
{
    int before = prctl(PR_GET_TIMERSLACK);
    prctl(PR_SET_TIMERSLACK, 1ul); /* ns; it cannot fail, but where it did, timers were late a little */
    return before > 0 ? (unsigned long)before : 0;
}

static int attach(void *arg, struct tr_worker *worker, void **io_out)
{
    struct tr_io *io = arg;
    struct tr_loop *loop = aligned_alloc(_Alignof(struct tr_loop), sizeof *loop);
    if (!loop)
        return -ENOMEM;
    memset(loop, 0, sizeof *loop);
    loop->io = io;
    loop->worker = worker;
    loop->backend = io->backend;
    loop->owner = pthread_self();
    loop->now = tr_loop_clock();
    tr_rng_init(&loop->random, seed(loop));
    tr_clock_init(&loop->clock);
    tr_op_slab_init(loop);
    int error = tr_wheel_init(&loop->wheel, loop->now);
    if (!error)
        error = tr_bufring_init(&loop->buffers, io->options.buffers, io->options.buffer_size);
    if (!error)
        error = loop->backend->open(loop);
    if (error) {
        tr_bufring_fini(&loop->buffers);
        tr_wheel_fini(&loop->wheel);
        free(loop);
        return error;
    }
    loop->slack_before = sleep_punctually();
    loop->attached = true;
    ck_stack_push_upmc(&io->loops, &loop->all_link);
    *io_out = loop;
    return 0;
}

static bool quiet(const struct tr_loop *loop)
{
    return loop->stats.ops_in_flight == 0 && !ck_pr_load_ptr(&loop->commands.head) &&
           !ck_pr_load_ptr(&loop->cancels.head);
}

/* The loop's memory stays until tr_io_destroy: workers that leave later may still wake it or put its ops. */
static void detach(void *io)
{
    struct tr_loop *loop = io;
    TR_ASSERT(tr_loop_is_current(loop) && loop->attached);
    uint64_t give_up = tr_loop_clock() + DETACH_NS;
    loop->closing = true;
    take_in(loop);
    tr_op_cancel_all(loop);
    while (!quiet(loop) && loop->now < give_up) {
        tr_op_start_waiting(loop);
        sleep_in_kernel(loop, DETACH_STEP_NS);
        take_in(loop);
        deliver(loop);
    }
    if (loop->stats.ops_in_flight)
        fprintf(stderr, "troupe: %llu I/O operations did not end when a worker left; their memory is not freed\n",
                (unsigned long long)loop->stats.ops_in_flight);
    loop->backend->close(loop);
    prctl(PR_SET_TIMERSLACK, loop->slack_before); /* 0: the default. The self-test runs in a thread that is not ours */
    loop->attached = false;
}

static void destroy_loop(struct tr_loop *loop)
{
    TR_ASSERT(!loop->attached);
    loop->owner = pthread_self(); /* the workers are gone: this thread is the last that touches it */
    do {
        take_in(loop); /* what came after detach; ops submitted by it are cancelled at once */
    } while (tr_op_deliver_ready(loop, UINT_MAX) || ck_pr_load_ptr(&loop->commands.head));
    loop->backend->free(loop);
    if (loop->stats.ops_in_flight)
        return; /* the kernel may still write to them */
    tr_op_slab_check(loop);
    tr_op_slab_fini(loop);
    tr_bufring_fini(&loop->buffers);
    tr_wheel_fini(&loop->wheel);
    free(loop);
}

void tr_loop_stats(const struct tr_loop *loop, struct tr_loop_stats *out)
{
    const struct tr_loop_stats *s = &loop->stats;
    uint64_t returned_ops = ck_pr_load_64(&loop->returned_ops);
    uint64_t returned_buffers = ck_pr_load_64(&loop->returned_buffers);
    uint64_t in_use = ck_pr_load_64(&s->ops_in_use), lent = ck_pr_load_64(&s->buffers_lent);
    *out = (struct tr_loop_stats){
        .submitted = ck_pr_load_64(&s->submitted),
        .completed = ck_pr_load_64(&s->completed),
        .enters = ck_pr_load_64(&s->enters),
        .sq_full = ck_pr_load_64(&s->sq_full),
        .stale_completions = ck_pr_load_64(&s->stale_completions),
        .buffers_exhausted = ck_pr_load_64(&s->buffers_exhausted),
        .wakes_received = ck_pr_load_64(&s->wakes_received),
        .ops_in_use = in_use > returned_ops ? in_use - returned_ops : 0,
        .ops_in_flight = ck_pr_load_64(&s->ops_in_flight),
        .buffers_lent = lent > returned_buffers ? lent - returned_buffers : 0,
        .timers_armed = ck_pr_load_64(&s->timers_armed),
    };
}

/* The io as a whole. */

static unsigned or_default(unsigned value, unsigned fallback)
{
    return value ? value : fallback;
}

static int resolve(struct tr_io_options *out, const struct tr_io_options *options)
{
    struct tr_io_options given = options ? *options : (struct tr_io_options){0};
    *out = (struct tr_io_options){
        .sq_entries = or_default(given.sq_entries, 256),
        .cq_entries = or_default(given.cq_entries, 4096),
        .ops_max = or_default(given.ops_max, 65536),
        .buffers = or_default(given.buffers, 1024),
        .buffer_size = or_default(given.buffer_size, 16384),
        .iowq_max = or_default(given.iowq_max, 4),
        .without = given.without,
    };
    bool power_of_two = (out->buffers & (out->buffers - 1)) == 0;
    return power_of_two && out->buffers <= TR_BUFRING_MAX && out->ops_max <= OPS_MAX ? 0 : -EINVAL;
}

int tr_io_create(struct tr_io **out, unsigned loops, const struct tr_io_options *options, char *why, size_t why_size)
{
    struct tr_io *io = calloc(1, sizeof *io);
    if (why_size)
        why[0] = '\0';
    if (!io || loops == 0 || resolve(&io->options, options) != 0) {
        int error = io ? -EINVAL : -ENOMEM;
        snprintf(why, why_size, "%s",
                 io ? "invalid I/O options: buffers must be a power of two up to 32768, ops_max at "
                      "most 2^24, and there must be at least one loop"
                    : "out of memory");
        free(io);
        return error;
    }
    io->backend = &tr_uring;
    io->blocking = tr_blocking_create();
    if (!io->blocking) {
        snprintf(why, why_size, "out of memory");
        free(io);
        return -ENOMEM;
    }
    struct tr_hooks hooks = tr_io_hooks(io);
    int error = tr_io_selftest(io, &hooks);
    if (error) {
        tr_diagnose(error, why, why_size);
        tr_io_destroy(io);
        return error;
    }
    *out = io;
    return 0;
}

void tr_io_destroy(struct tr_io *io)
{
    tr_blocking_destroy(io->blocking); /* first: its threads post to the loops */
    ck_stack_entry_t *entry = take_all(&io->loops);
    while (entry) {
        struct tr_loop *loop = TR_CONTAINER_OF(entry, struct tr_loop, all_link);
        entry = entry->next;
        destroy_loop(loop);
    }
    free(io);
}

const char *tr_io_describe(const struct tr_io *io)
{
    return io->describe;
}

struct tr_hooks tr_io_hooks(struct tr_io *io)
{
    return (struct tr_hooks){
        .attach = attach,
        .detach = detach,
        .poll = poll_once,
        .pending = pending,
        .expects = expects,
        .wait = wait_once,
        .wake = wake,
        .now = clock_of,
        .random = random_bits,
        .arg = io,
    };
}
