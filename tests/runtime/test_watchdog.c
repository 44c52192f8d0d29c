/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog: what it tells of a handler that does not return, what it does not, and that it rests when all rest; and
 * that meanwhile others do the stuck worker's work. Stuck handlers wait for the watchdog's own record, not for time. */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "runtime/fault_support.h"
#include "runtime/instance.h"
#include "tests/support/sanitizer.h"
#include "world.h"

#define LIMIT TROUPE_MS(20)

/* Words of the world. */
enum { RECORDS, STARTS, ENDS, GATE, IN, HANDLED, URGENT, AT };
enum { WORK, BLOCK, SHORT, NEXT, TICK };

static void await_word(unsigned i, uint64_t at_least)
{
    while (word(i) < at_least)
        sched_yield();
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- what was logged ---------------------------------------------------------------------------------------------- */

static struct {
    char text[512], fields[512];
    troupe_crash crash;
    bool has_crash;
} said[2]; /* of a start, of an end */

static void collect(void *arg, const troupe_log_record *record)
{
    (void)arg;
    if (strcmp(record->event, "watchdog") != 0)
        return;
    bool ended = strstr(record->text, " has left ") != NULL;
    snprintf(said[ended].text, sizeof said[ended].text, "%s", record->text);
    said[ended].fields[0] = '\0';
    for (size_t i = 0; i < record->fields_count; i++) {
        size_t at = strlen(said[ended].fields);
        snprintf(said[ended].fields + at, sizeof said[ended].fields - at, "%s=%s ", record->fields[i].key,
                 record->fields[i].value);
    }
    said[ended].has_crash = record->crash != NULL;
    if (record->crash)
        said[ended].crash = *record->crash;
    bump(ended ? ENDS : STARTS);
}

/* --- an actor that gets stuck ------------------------------------------------------------------------------------- */

/* Computes until it was told of, at least once more than `times` before. */
static __attribute__((noinline)) void spin_here(uint64_t times)
{
    while (word(STARTS) <= times)
        ck_pr_stall();
}

HANDLER(work)
{
    bump(IN);
    spin_here(word(STARTS));
    uint64_t until = clock_ns() + LIMIT; /* for more looks, at which it is not told again */
    while (clock_ns() < until)
        ck_pr_stall();
    bump(HANDLED);
}

/* In a system call that a signal interrupts. */
static __attribute__((noinline)) void wait_here(uint64_t times)
{
    while (word(STARTS) <= times)
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
}

HANDLER(block)
{
    wait_here(word(STARTS));
    bump(HANDLED);
}

HANDLER(brief)
{
    uint64_t until = clock_ns() + TROUPE_MS(30);
    while (clock_ns() < until)
        ck_pr_stall();
    bump(HANDLED);
}

static const troupe_behavior stuck = {
    .name = "stuck", .handlers = {[WORK] = ON(work, 0), [BLOCK] = ON(block, 0), [SHORT] = ON(brief, 0)}};

static troupe_runtime *start_it(const troupe_behavior *root, troupe_options options, troupe_addr *addr)
{
    troupe_runtime *rt;
    memset(said, 0, sizeof said);
    options.log = collect;
    cr_assert_eq(troupe_runtime_start(&rt, root, NULL, &options, addr), 0);
    return rt;
}

static troupe_options watching(uint64_t limit_ns, int signal)
{
    troupe_options options = world_options();
    options.watchdog_ns = limit_ns;
    options.watchdog_signal = signal;
    return options;
}

static troupe_stats end(troupe_runtime *rt)
{
    troupe_stats stats;
    cr_assert_eq(troupe_runtime_stop(rt, TROUPE_SEC(60)), 0);
    troupe_stats_read(rt, &stats);
    cr_assert_eq(troupe_runtime_join(rt), 0);
    return stats;
}

static double seconds_of(const char *fields)
{
    double seconds = 0;
    const char *at = strstr(fields, "seconds=");
    cr_assert(at && sscanf(at + 8, "%lf", &seconds) == 1, "%s", fields);
    return seconds;
}

Test(watchdog, a_stuck_handler_is_told_when_it_is_stuck_and_when_it_has_ended)
{
    troupe_addr addr;
    world_begin(2);
    troupe_runtime *rt = start_it(&stuck, watching(LIMIT, 0), &addr);
    for (unsigned i = 1; i <= 3; i++) {
        troupe_runtime_tell(rt, addr, WORK, NULL, 0);
        await_word(ENDS, i);
        cr_assert_eq(word(STARTS), i, "once each");
    }
    troupe_stats stats = end(rt);
    cr_assert_eq(stats.handlers_stuck, 3);
    cr_assert_eq(word(HANDLED), 3);
    cr_assert(strstr(said[0].text, "stuck#") == said[0].text, "%s", said[0].text);
    cr_assert(strstr(said[0].text, "is stuck in handler \"work\" (kind 0) on worker "), "%s", said[0].text);
    cr_assert(strstr(said[0].fields, "behavior=stuck handler=work kind=0 worker="), "%s", said[0].fields);
    cr_assert(strstr(said[0].fields, "state=runs") && strstr(said[1].fields, "state=ended"));
    cr_assert(strstr(said[1].text, "has left handler \"work\" (kind 0) on worker "), "%s", said[1].text);
    cr_assert(!said[0].has_crash && !said[1].has_crash, "no signal, no backtrace");
    cr_assert_geq(seconds_of(said[0].fields), 0.02);
    cr_assert_geq(seconds_of(said[1].fields), seconds_of(said[0].fields));
}

STARTED(stuck_in_started)
{
    spin_here(0);
    return 0;
}

static const troupe_behavior starter = {.name = "starter", .started = stuck_in_started};

Test(watchdog, callbacks_are_watched_too)
{
    world_begin(1);
    troupe_runtime *rt = start_it(&starter, watching(LIMIT, 0), NULL);
    await_word(ENDS, 1);
    end(rt);
    cr_assert(strstr(said[0].text, "is stuck in handler \"started\" on worker 0"), "%s", said[0].text);
    cr_assert(!strstr(said[0].fields, "kind="), "%s", said[0].fields);
}

Test(watchdog, many_short_handlers_in_one_activation_are_not_told)
{
    enum { MANY = 48 };
    troupe_addr addr;
    world_begin(1);
    troupe_options options = watching(TROUPE_SEC(1), 0);
    options.batch_ns = TROUPE_SEC(10);
    troupe_runtime *rt = start_it(&stuck, options, &addr);
    for (unsigned i = 0; i < MANY; i++)
        troupe_runtime_tell(rt, addr, SHORT, NULL, 0);
    await_word(HANDLED, MANY);
    cr_assert_eq(end(rt).handlers_stuck, 0);
}

/* Another process that stops this one for 1.5 s once told to. */
static pid_t make_stopper(int *go)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t stopped = getpid(), pid = fork();
    if (pid == 0) {
        char byte;
        if (read(ends[0], &byte, 1) == 1) {
            kill(stopped, SIGSTOP);
            nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500000000}, NULL);
            kill(stopped, SIGCONT);
        }
        _exit(0);
    }
    close(ends[0]);
    *go = ends[1];
    return pid;
}

/* In it for long enough that the watchdog has looked, which it does every 150 ms. */
HANDLER(until_gate)
{
    uint64_t until = clock_ns() + TROUPE_MS(200);
    while (clock_ns() < until)
        ck_pr_stall();
    bump(IN);
    await_word(GATE, 1);
}

static const troupe_behavior gated = {.name = "gated", .handlers = {[WORK] = ON(until_gate, 0)}};

Test(watchdog, time_in_which_the_whole_process_was_stopped_is_nobodys_fault)
{
    troupe_addr addr;
    int go;
    world_begin(1);
    pid_t stopper = make_stopper(&go);
    troupe_runtime *rt = start_it(&gated, watching(TROUPE_MS(600), 0), &addr);
    troupe_runtime_tell(rt, addr, WORK, NULL, 0);
    await_word(IN, 1);
    cr_assert_eq(write(go, "", 1), 1);
    cr_assert_eq(waitpid(stopper, NULL, 0), stopper);
    bump(GATE);
    close(go);
    cr_assert_eq(end(rt).handlers_stuck, 0);
}

/* --- backtraces --------------------------------------------------------------------------------------------------- */

static bool is_in(void (*function)(uint64_t), uintptr_t frame)
{
    uintptr_t begin = (uintptr_t)function;
    return frame > begin && frame < begin + 512;
}

static void expect_frame_in(void (*function)(uint64_t), const char *behavior)
{
    bool found = false;
    cr_assert(said[0].has_crash, "%s", said[0].text);
    for (unsigned i = 0; i < said[0].crash.frames_count; i++)
        found |= is_in(function, said[0].crash.frames[i]);
    cr_assert(found, "%u frames, none of the function's", said[0].crash.frames_count);
    cr_assert_str_eq(said[0].crash.behavior, behavior);
    cr_assert_geq(said[0].crash.frames_count, 3);
}

Test(watchdog, a_backtrace_shows_where_it_is_stuck)
{
    troupe_addr addr;
    world_begin(2);
    if (!TR_FAULTS || UNDER_TSAN)
        return; /* ThreadSanitizer holds signals back */
    troupe_runtime *rt = start_it(&stuck, watching(LIMIT, SIGURG), &addr);
    troupe_runtime_tell(rt, addr, WORK, NULL, 0);
    await_word(ENDS, 1);
    expect_frame_in(spin_here, "stuck");
    troupe_runtime_tell(rt, addr, BLOCK, NULL, 0);
    await_word(ENDS, 2);
    expect_frame_in(wait_here, "stuck");
    end(rt);
}

static void on_urgent(int signal)
{
    (void)signal;
    bump(URGENT);
}

Test(watchdog, signals_that_are_not_its_own_go_to_who_was_there_before)
{
    struct sigaction mine = {.sa_handler = on_urgent}, now;
    troupe_addr addr;
    world_begin(1);
    sigaction(SIGURG, &mine, NULL);
    troupe_runtime *rt = start_it(&stuck, watching(LIMIT, SIGURG), &addr);
    troupe_runtime *other = start_it(&stuck, watching(LIMIT, SIGURG), NULL);
    raise(SIGURG);
    cr_assert_eq(word(URGENT), 1);
    end(other);
    troupe_runtime_tell(rt, addr, WORK, NULL, 0);
    await_word(ENDS, 1);
    cr_assert_eq(word(URGENT), 1, "its own it keeps");
    cr_assert(said[0].has_crash || !TR_FAULTS || UNDER_TSAN, "the handler is there until the last runtime ends");
    raise(SIGURG);
    cr_assert_eq(word(URGENT), 2);
    end(rt);
    sigaction(SIGURG, NULL, &now);
    cr_assert_eq(now.sa_handler, on_urgent);
}

Test(watchdog, without_a_signal_no_handler_is_installed)
{
    struct sigaction now;
    world_begin(1);
    troupe_runtime *rt = start_it(&stuck, watching(LIMIT, 0), NULL);
    for (int signal = 1; signal < NSIG; signal++)
        if (sigaction(signal, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
            bump(AT);
    end(rt);
    cr_assert_geq(word(AT), 40, "the defaults are in place");
}

Test(watchdog, a_signal_that_cannot_be_used_is_refused)
{
    troupe_runtime *rt;
    world_begin(1);
    int bad[] = {SIGSEGV, SIGKILL, 32, 65, -1};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        troupe_options options = watching(LIMIT, bad[i]);
        cr_assert_eq(troupe_runtime_start(&rt, &stuck, NULL, &options, NULL), -EINVAL, "signal %d", bad[i]);
    }
}

/* --- rest --------------------------------------------------------------------------------------------------------- */

/* Context switches of all other threads; *watches: the watchdog is among them. */
static uint64_t switches(bool *watches)
{
    uint64_t sum = 0;
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    *watches = false;
    while ((entry = readdir(dir))) {
        char path[300], line[128];
        unsigned long long count;
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file)) {
            *watches |= !strcmp(line, "Name:\ttroupe/watch\n");
            const char *at = strstr(line, "voluntary_ctxt_switches:");
            if (at && sscanf(at, "voluntary_ctxt_switches: %llu", &count) == 1)
                sum += count;
        }
        if (file)
            fclose(file);
    }
    closedir(dir);
    return sum;
}

/* True: nothing moved for 40 looks of the watchdog. What is awaited is that time goes by without anything. */
static bool rests(void)
{
    bool watches;
    uint64_t before = switches(&watches);
    usleep(10 * LIMIT / 1000);
    return switches(&watches) == before && watches;
}

Test(watchdog, it_rests_when_all_workers_do_and_wakes_with_them)
{
    troupe_addr addr;
    world_begin(2);
    if (UNDER_TSAN)
        return; /* it has a thread of its own that wakes up */
    troupe_runtime *rt = start_it(&stuck, watching(LIMIT, 0), &addr);
    for (unsigned i = 1; i <= 5; i++) {
        while (!rests())
            ;
        troupe_runtime_tell(rt, addr, WORK, NULL, 0);
        await_word(ENDS, i);
    }
    end(rt);
}

Test(watchdog, none_is_there_if_none_is_wanted)
{
    bool watches;
    world_begin(1);
    troupe_runtime *rt = start_it(&stuck, watching(TROUPE_FOREVER, 0), NULL);
    (void)switches(&watches);
    cr_assert(!watches);
    end(rt);
}

/* --- the work of a stuck worker ----------------------------------------------------------------------------------- */

static troupe_addr behind[3];

HANDLER(next_one)
{
    (void)msg;
    ck_pr_store_64(&world.word[AT], clock_ns()); /* before it is counted: who waits for three reads it next */
    bump(HANDLED);
}

static const troupe_behavior follower = {.name = "follower", .handlers = {[NEXT] = ON(next_one, 0)}};

/* Sends to three, of whom the last is in the LIFO slot and the others in the run queue of this worker, and blocks until
 * they have handled it, at most 10 s: only another worker can do that. */
HANDLER(block_others)
{
    uint64_t begin = clock_ns();
    for (unsigned i = 0; i < 3; i++)
        troupe_tell(ctx, behind[i], NEXT, NULL, 0);
    while (word(HANDLED) < 3 && clock_ns() - begin < TROUPE_SEC(10))
        sched_yield();
    say("%u", (unsigned)word(HANDLED));
    uint64_t took = word(AT) - begin, *best = &world.word[GATE];
    if (*best == 0 || took < *best)
        *best = took;
    ck_pr_store_64(&world.word[HANDLED], 0);
    bump(IN);
}

STARTED(spawn_followers)
{
    for (unsigned i = 0; i < 3; i++)
        behind[i] = troupe_spawn(ctx, &follower, NULL, NULL);
    return 0;
}

static const troupe_behavior blocker = {
    .name = "blocker", .started = spawn_followers, .handlers = {[BLOCK] = ON(block_others, 0)}};

Test(watchdog, what_waits_behind_a_stuck_handler_is_handled_by_another_worker)
{
    troupe_addr addr;
    world_begin(2);
    troupe_runtime *rt = start_it(&blocker, watching(TROUPE_SEC(1), 0), &addr);
    for (unsigned i = 1; i <= 5; i++) {
        troupe_runtime_tell(rt, addr, BLOCK, NULL, 0);
        await_word(IN, i);
    }
    end(rt);
    cr_assert_str_eq(world.trace, "3 3 3 3 3");
    fprintf(stderr, "watchdog: three behind a stuck handler were handled after %.3f ms at best\n",
            (double)word(GATE) / 1e6);
    cr_assert_lt(word(GATE), TROUPE_MS(50) * (UNDER_TSAN ? 10 : 1));
}

Test(watchdog, a_spare_worker_is_called_in_for_the_only_one)
{
    troupe_addr addr;
    world_begin(1);
    troupe_options options = watching(LIMIT, 0);
    options.spare_workers = 1;
    troupe_runtime *rt = start_it(&blocker, options, &addr);
    for (unsigned i = 1; i <= 3; i++) {
        troupe_runtime_tell(rt, addr, BLOCK, NULL, 0);
        await_word(IN, i);
        await_word(ENDS, i); /* not this alone: a worker that gets no processor for 20 ms is told of, too */
    }
    end(rt);
    cr_assert_str_eq(world.trace, "3 3 3");
    cr_assert(strstr(said[0].text, "a spare worker was called in"), "%s", said[0].text);
    fprintf(stderr, "watchdog: with a limit of 20 ms the only worker's spare had done its work after %.1f ms at best\n",
            (double)word(GATE) / 1e6);
}

HANDLER(tick)
{
    uint64_t armed;
    memcpy(&armed, troupe_payload(msg), sizeof armed);
    ck_pr_store_64(&world.word[AT], clock_ns() - armed);
    bump(HANDLED);
}

/* Arms a timer for somebody else and blocks for as long as it is not told of. */
HANDLER(arm_and_block)
{
    uint64_t now = clock_ns();
    troupe_send_after(ctx, TROUPE_MS(5), behind[0], TICK, &now, sizeof now, NULL);
    spin_here(word(STARTS));
}

static const troupe_behavior ticked = {.name = "ticked", .handlers = {[TICK] = ON(tick, sizeof(uint64_t))}};

STARTED(spawn_ticked)
{
    behind[0] = troupe_spawn(ctx, &ticked, NULL, NULL);
    return 0;
}

static const troupe_behavior armer = {
    .name = "armer", .started = spawn_ticked, .handlers = {[BLOCK] = ON(arm_and_block, 0)}};

/* No promise is tested here but that it comes: the figure is for the documentation. */
Test(watchdog, a_timer_on_a_stuck_worker_comes_late)
{
    troupe_addr addr;
    world_begin(2);
    troupe_runtime *rt = start_it(&armer, watching(TROUPE_MS(200), 0), &addr);
    troupe_runtime_tell(rt, addr, BLOCK, NULL, 0);
    await_word(HANDLED, 1);
    end(rt);
    fprintf(stderr, "watchdog: a timer of 5 ms on a worker stuck for %.0f ms came after %.0f ms\n",
            seconds_of(said[0].fields) * 1e3, (double)word(AT) / 1e6);
}

/* A worker that gets up sets the timer. If that comes behind the word to end, which comes by the same timer, the join
 * must not last until it rings. */
Test(watchdog, a_worker_that_gets_up_late_does_not_delay_the_end)
{
    troupe_addr addr;
    world_begin(2);
    troupe_runtime *rt = start_it(&stuck, watching(TROUPE_SEC(4 * 3600), 0), &addr);
    struct tr_watchdog *dog = &rt->watchdog;
    ck_pr_store_32(&dog->ending, 1);
    ck_pr_fence_store();
    ck_pr_store_32(&dog->resting, 1); /* so that the next one up sets the timer */
    tr_watchdog_wake(dog);
    pthread_join(dog->thread, NULL);
    dog->running = false;
    end(rt);
}
