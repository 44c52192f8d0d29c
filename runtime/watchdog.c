/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np */
#endif

#include "runtime/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "io/loop.h"
#include "runtime/context.h"
#include "runtime/instance.h"
#include "runtime/text.h"
#include "sched/base/count.h"

#define PEEKS __attribute__((no_sanitize("thread"), noinline))
#define LOOKS_PER_LIMIT 4
#define LOOKS_PER_LIMIT_STUCK 64 /* while a handler is stuck, so that its end is known more exactly */
#define LOOK_NS_MIN TROUPE_MS(1)
#define SHOT_NS TROUPE_MS(100) /* how long a backtrace is waited for */
#define STACK_SIZE ((size_t)256 << 10)

/* --- when --------------------------------------------------------------------------------------------------------- */

static void settime(const struct tr_watchdog *dog, uint64_t ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)}};
    int status = timerfd_settime(dog->timer_fd, 0, &when, NULL);
    TR_ASSERT(status == 0);
}

/* Setting a timer takes back that it has rung, and so perhaps the word that the watch ends, which comes by it. Whoever
 * sets it looks for that word afterwards, and gives it again. */
static void set_timer(const struct tr_watchdog *dog, uint64_t ns)
{
    settime(dog, ns);
    ck_pr_fence_memory();
    if (TR_UNLIKELY(ck_pr_load_32(&dog->ending)))
        settime(dog, 1);
}

static uint64_t period_ns(const struct tr_watchdog *dog, bool stuck)
{
    uint64_t ns = dog->limit_ns / (stuck ? LOOKS_PER_LIMIT_STUCK : LOOKS_PER_LIMIT);
    return ns > LOOK_NS_MIN ? ns : LOOK_NS_MIN;
}

void tr_watchdog_wake(struct tr_watchdog *dog)
{
    if (ck_pr_cas_32(&dog->resting, 1, 0))
        set_timer(dog, period_ns(dog, false));
}

static bool all_asleep(const struct tr_watchdog *dog)
{
    for (unsigned i = 0; i < dog->rt->threads; i++)
        if (!ck_pr_load_32(&dog->workers[i].asleep))
            return false;
    return true;
}

/* True: the timer is somebody else's to set. */
static bool rest(struct tr_watchdog *dog)
{
    if (!all_asleep(dog))
        return false;
    ck_pr_store_32(&dog->resting, 1);
    ck_pr_fence_memory();
    return all_asleep(dog) || !ck_pr_cas_32(&dog->resting, 1, 0);
}

/* --- what --------------------------------------------------------------------------------------------------------- */

PEEKS static struct tr_print peek(const struct tr_watchdog *dog, unsigned worker, uint64_t *clock_ns)
{
    const troupe_ctx *ctx = dog->rt->contexts[worker];
    const char *const *named = *(const char *const *const volatile *)&ctx->named; /* once: it changes meanwhile */
    const char *handler = !named ? NULL : *named ? *named : "";
    *clock_ns = ctx->now_ns;
    uint64_t units = ctx->stats.messages_handled;
    return (struct tr_print){tr_pool_tick(dog->rt->pool, worker), units, ctx->cell, handler ? handler : ctx->cleaning};
}

static bool same(const struct tr_print *a, const struct tr_print *b)
{
    return a->tick == b->tick && a->units == b->units && a->cell == b->cell && a->handler == b->handler;
}

/* What is shown of the actor, copied from its cell. */
PEEKS static troupe_crash peek_actor(const struct tr_cell *cell)
{
    troupe_crash shown = {.actor = {(uint64_t)cell->born << 32 | cell->index}, .incarnation = cell->incarnation_nr};
    if (cell->behavior)
        shown.behavior = cell->behavior->name;
    return shown;
}

PEEKS static const troupe_behavior *peek_behavior(const struct tr_cell *cell)
{
    return cell->behavior;
}

/* The kind that a handler of that name is for: names are compared by address, as the context has it from the table. */
static int kind_of(const troupe_behavior *behavior, const char *handler)
{
    for (int kind = 0; kind < TROUPE_KINDS_MAX; kind++)
        if (behavior->handlers[kind].fn && behavior->handlers[kind].name == handler)
            return kind;
    return -1;
}

static uint64_t cpu_of(pthread_t thread)
{
    clockid_t id;
    struct timespec used;
    if (pthread_getcpuclockid(thread, &id) != 0 || clock_gettime(id, &used) < 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

struct words {
    char actor[24], incarnation[12], kind[12], worker[12], seconds[24], cpu[12];
    troupe_log_field fields[TROUPE_LOG_FIELDS_MAX];
    size_t count;
};

static void add(struct words *w, const char *key, const char *value)
{
    w->fields[w->count++] = (troupe_log_field){key, value};
}

static void TROUPE_PRINTF(4, 5) addf(struct words *w, const char *key, char room[static 12], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(room, 12, format, args);
    va_end(args);
    add(w, key, room);
}

static void fill(struct words *w, const struct tr_watched *watched, unsigned worker, const troupe_crash *shown,
                 uint64_t ns, bool goes_on)
{
    int kind = kind_of(watched->behavior, watched->last.handler);
    w->count = 0;
    snprintf(w->actor, sizeof w->actor, "%#llx", (unsigned long long)shown->actor.bits);
    snprintf(w->seconds, sizeof w->seconds, "%.6f", (double)ns / 1e9);
    add(w, "actor", w->actor);
    addf(w, "incarnation", w->incarnation, "%u", shown->incarnation);
    add(w, "behavior", shown->behavior);
    add(w, "handler", watched->last.handler);
    if (kind >= 0)
        addf(w, "kind", w->kind, "%d", kind);
    addf(w, "worker", w->worker, "%u", worker);
    add(w, "seconds", w->seconds);
    add(w, "state", goes_on ? "runs" : "ended");
}

static void tell(struct tr_watchdog *dog, const struct tr_watched *watched, unsigned worker, const troupe_crash *shown,
                 uint64_t ns, const char *line, bool goes_on)
{
    struct words w;
    fill(&w, watched, worker, shown, ns, goes_on);
    troupe_log_record record = {.level = TROUPE_LOG_WARN,
                                .event = "watchdog",
                                .text = line,
                                .fields = w.fields,
                                .fields_count = w.count,
                                .crash = shown->frames_count ? shown : NULL};
    tr_log_record(&dog->rt->log, &record);
}

static void name_kind(struct tr_text *text, const struct tr_watched *watched)
{
    int kind = kind_of(watched->behavior, watched->last.handler);
    tr_text_addf(text, "\"%s\"", watched->last.handler);
    if (kind >= 0)
        tr_text_addf(text, " (kind %d)", kind);
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)(100 * part / whole) : 0;
}

/* The limit is passed. */
static void say_stuck(struct tr_watchdog *dog, struct tr_watched *watched, unsigned worker, uint64_t now_ns)
{
    char line[512];
    struct tr_text text;
    uint64_t clock_ns, ns = now_ns - watched->since_ns, cpu_ns = cpu_of(watched->shot.thread) - watched->cpu_ns;
    troupe_crash shown = peek_actor(watched->last.cell);
    watched->behavior = peek_behavior(watched->last.cell);
    unsigned frames = tr_stackshot_take(&watched->shot, SHOT_NS);
    struct tr_print again = peek(dog, worker, &clock_ns);
    if (!watched->behavior || !same(&again, &watched->last))
        return; /* it ended this moment: what was read may be another's */
    shown.handler = watched->last.handler;
    shown.worker = worker;
    shown.frames_count = frames;
    memcpy(shown.frames, watched->shot.frames, frames * sizeof shown.frames[0]);
    watched->actor = shown.actor;
    watched->index = (uint32_t)shown.actor.bits;
    watched->reported = true;
    watched->has_spare = dog->rt->options.spare_workers > 0 && tr_pool_spare_start(dog->rt->pool);
    tr_count(&dog->reports, 1);
    tr_text_init(&text, line, sizeof line);
    tr_text_addf(&text, "%s#%u is stuck in handler ", shown.behavior, watched->index);
    name_kind(&text, watched);
    tr_text_addf(&text, " on worker %u for more than %.3g s, with %u %% of a CPU; %s", worker, (double)ns / 1e9,
                 percent(cpu_ns, ns), watched->has_spare ? "a spare worker was called in" : "its timers and I/O wait");
    tell(dog, watched, worker, &shown, ns, line, true);
}

/* It has ended. */
static void say_ended(struct tr_watchdog *dog, struct tr_watched *watched, unsigned worker, uint64_t now_ns)
{
    char line[256];
    struct tr_text text;
    uint64_t ns = now_ns - watched->before_ns;
    troupe_crash shown = {.actor = watched->actor, .behavior = watched->behavior->name};
    tr_text_init(&text, line, sizeof line);
    tr_text_addf(&text, "%s#%u has left handler ", watched->behavior->name, watched->index);
    name_kind(&text, watched);
    tr_text_addf(&text, " on worker %u: it ran %.3g s", worker, (double)ns / 1e9);
    if (watched->has_spare)
        tr_pool_spare_stop(dog->rt->pool);
    watched->reported = watched->has_spare = false;
    tell(dog, watched, worker, &shown, ns, line, false);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

/* The clock that the worker last read is at least as old as the handler's beginning, or it would have gone on since;
 * so is the look before. The younger of the two tells more. */
static void begin(struct tr_watchdog *dog, struct tr_watched *watched, const struct tr_print *print, uint64_t clock_ns,
                  uint64_t now_ns)
{
    uint64_t before_ns = dog->looked_ns > clock_ns ? dog->looked_ns : clock_ns;
    watched->last = *print;
    watched->since_ns = now_ns;
    watched->before_ns = before_ns < now_ns ? before_ns : now_ns;
    watched->cpu_ns = 0;
}

/* True: it is stuck. */
static bool examine(struct tr_watchdog *dog, unsigned worker, uint64_t now_ns, uint64_t lost_ns)
{
    struct tr_watched *watched = &dog->workers[worker];
    uint64_t clock_ns;
    struct tr_print print = peek(dog, worker, &clock_ns);
    if (!same(&print, &watched->last) || !print.handler || !print.cell) {
        if (watched->reported)
            say_ended(dog, watched, worker, now_ns);
        begin(dog, watched, &print, clock_ns, now_ns);
        return false;
    }
    watched->since_ns += lost_ns;
    if (watched->cpu_ns == 0)
        watched->cpu_ns = cpu_of(watched->shot.thread);
    if (!watched->reported && now_ns - watched->since_ns >= dog->limit_ns)
        say_stuck(dog, watched, worker, now_ns);
    return watched->reported;
}

/* Time in which not even this thread ran is nobody's fault: the process was stopped, or the machine was. */
static uint64_t lost(const struct tr_watchdog *dog, uint64_t now_ns)
{
    uint64_t late_ns = dog->expected_ns > 0 && now_ns > dog->expected_ns ? now_ns - dog->expected_ns : 0;
    return late_ns > dog->limit_ns / 2 ? late_ns : 0;
}

static void look(struct tr_watchdog *dog)
{
    uint64_t now_ns = tr_loop_clock(), lost_ns = lost(dog, now_ns);
    bool stuck = false;
    for (unsigned i = 0; i < dog->rt->threads; i++)
        stuck |= examine(dog, i, now_ns, lost_ns);
    dog->looked_ns = now_ns;
    dog->expected_ns = 0;
    if (!stuck && rest(dog))
        return;
    uint64_t ns = period_ns(dog, stuck);
    dog->expected_ns = tr_loop_clock() + ns;
    set_timer(dog, ns);
}

static void *run(void *arg)
{
    struct tr_watchdog *dog = arg;
    for (;;) {
        uint64_t times;
        ssize_t got = read(dog->timer_fd, &times, sizeof times);
        if (ck_pr_load_32(&dog->ending))
            return NULL;
        if (got == (ssize_t)sizeof times)
            look(dog);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int fail(struct tr_watchdog *dog, int status, const char *why)
{
    tr_log_line(&dog->rt->log, TROUPE_LOG_ERROR, "start", "cannot start: %s", why);
    return status;
}

int tr_watchdog_init(struct tr_watchdog *dog, struct troupe_runtime *rt)
{
    *dog = (struct tr_watchdog){.rt = rt, .timer_fd = -1, .limit_ns = rt->options.watchdog_ns};
    if (dog->limit_ns == TROUPE_FOREVER)
        return 0;
    if (rt->options.watchdog_signal != 0) {
        if (tr_stackshot_install(rt->options.watchdog_signal) < 0)
            return fail(dog, -EINVAL, "watchdog_signal is no signal that can be used");
        dog->signal = rt->options.watchdog_signal;
    }
    dog->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (dog->timer_fd < 0)
        return fail(dog, -errno, "no file descriptor for the watchdog's timer");
    size_t size = rt->threads * sizeof *dog->workers;
    dog->workers = aligned_alloc(TR_CACHELINE, size);
    if (!dog->workers)
        return -ENOMEM;
    memset(dog->workers, 0, size);
    return 0;
}

void tr_watchdog_attach(struct tr_watchdog *dog, unsigned index)
{
    if (!dog->workers)
        return;
    dog->workers[index].shot.thread = pthread_self();
    if (dog->signal != 0)
        tr_stackshot_attach(&dog->workers[index].shot, dog->signal);
}

void tr_watchdog_start(struct tr_watchdog *dog)
{
    sigset_t all, before;
    pthread_attr_t attr;
    char name[16];
    if (!dog->workers)
        return;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    dog->running = pthread_create(&dog->thread, &attr, run, dog) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (!dog->running) {
        tr_log_line(&dog->rt->log, TROUPE_LOG_WARN, "start", "no thread for the watchdog: stuck handlers are not told");
        return;
    }
    snprintf(name, sizeof name, "%.7s/watch", dog->rt->options.name);
    pthread_setname_np(dog->thread, name);
    set_timer(dog, period_ns(dog, false));
}

void tr_watchdog_stop(struct tr_watchdog *dog)
{
    if (!dog->running)
        return;
    ck_pr_store_32(&dog->ending, 1);
    ck_pr_fence_memory();
    set_timer(dog, 1);
    pthread_join(dog->thread, NULL);
    dog->running = false;
}

void tr_watchdog_fini(struct tr_watchdog *dog)
{
    if (!dog->rt)
        return; /* the start failed before */
    tr_watchdog_stop(dog);
    free(dog->workers);
    if (dog->timer_fd >= 0)
        close(dog->timer_fd);
    if (dog->signal != 0)
        tr_stackshot_uninstall(dog->signal);
}
