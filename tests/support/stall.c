/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_getname_np */
#endif

#include "stall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ck_pr.h>

#include "runtime/instance.h"

enum { THREADS = 64, ROWS = 1024, WAITING = 1024 };
#define PERIOD_NS UINT64_C(10000000)
#define SETTLED_NS UINT64_C(400000000) /* after so long the watchdog has told, and samples are there */
#define LATE_NS UINT64_C(5000000)      /* a sleeper may be as late as that on a busy machine */

/* What there was since the start. Rows are the sampling thread's. */
struct row {
    uint64_t time_ns, stolen_ns, late_ns;
    uint64_t watch_ns; /* the watchdog's thread was ready to run, and did not */
    struct at {
        uint64_t ran_ns, waited_ns, parked_ns;
        bool parked, stuck; /* at this moment; and told of by the watchdog */
    } workers[THREADS];
};

struct delay {
    const char *what;
    int from, on;
    uint64_t due_ns, done_ns;
    bool handler;
};

static struct {
    pthread_t thread;
    uint32_t ending;
    const troupe_runtime *rt;
    unsigned threads;
    uint64_t bound_ns;
    int files[THREADS], states[THREADS], watch_file, stat_file;
    uint64_t tick_ns; /* of /proc/stat */
    struct row rows[ROWS];
    uint64_t rows_count;
    uint64_t delays, longest_ns; /* by atomic access */
    pthread_mutex_t lock;        /* of what follows */
    struct delay waiting[WAITING];
    unsigned waiting_count;
    struct stall_summary sum;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t stall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* --- who ---------------------------------------------------------------------------------------------------------- */

/* Of "troupe/w12" the 12. */
static int number_of(const char *thread_name)
{
    const char *slash = strchr(thread_name, '/');
    return slash && slash[1] == 'w' && slash[2] >= '0' && slash[2] <= '9' ? atoi(slash + 2) : STALL_NO_WORKER;
}

int stall_worker(void)
{
    static _Thread_local int mine = -2;
    char name[16];
    if (mine == -2)
        mine = pthread_getname_np(pthread_self(), name, sizeof name) == 0 ? number_of(name) : STALL_NO_WORKER;
    return mine;
}

static int open_file(const char *task, const char *file)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static size_t read_file(int fd, char *out, size_t size)
{
    ssize_t got = fd >= 0 ? pread(fd, out, size - 1, 0) : 0;
    out[got > 0 ? got : 0] = '\0';
    return strlen(out);
}

/* Workers have their names once the runtime has started. */
static void find_workers(void)
{
    DIR *dir = opendir("/proc/self/task");
    const char *prefix = all.rt->options.name;
    size_t length = strlen(prefix);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char name[32];
        int fd = open_file(entry->d_name, "comm");
        read_file(fd, name, sizeof name);
        close(fd);
        int worker = number_of(name);
        if (strncmp(name, prefix, length) == 0 && strcmp(name + length, "/watch\n") == 0)
            all.watch_file = open_file(entry->d_name, "schedstat");
        if (strncmp(name, prefix, length) == 0 && name[length] == '/' && worker >= 0 && worker < (int)all.threads) {
            all.files[worker] = open_file(entry->d_name, "schedstat");
            all.states[worker] = open_file(entry->d_name, "stat");
        }
    }
    if (dir)
        closedir(dir);
}

/* --- samples ------------------------------------------------------------------------------------------------------ */

/* The watchdog's own: nobody else writes it, and a look that is a moment old will do. */
__attribute__((no_sanitize("thread"), noinline)) static bool is_stuck(const struct tr_watched *watched)
{
    return *(const volatile bool *)&watched->reported;
}

/* "4711 (name) S ...": it sleeps, and nothing has woken it yet. */
static bool is_asleep(unsigned worker)
{
    char text[128];
    read_file(all.states[worker], text, sizeof text);
    const char *bracket = strrchr(text, ')');
    return bracket && strncmp(bracket, ") S", 3) == 0;
}

/* The first number of schedstat is run time, the second time in which it was ready to run and did not. */
static uint64_t waited_of(int file, uint64_t *ran_ns)
{
    char text[128];
    char *rest = text;
    if (read_file(file, text, sizeof text) == 0)
        return 0;
    *ran_ns = strtoull(rest, &rest, 10);
    return strtoull(rest, &rest, 10);
}

static void look_at(unsigned worker, struct at *at)
{
    const struct tr_watched *watched = &all.rt->watchdog.workers[worker];
    at->parked = ck_pr_load_32(&watched->asleep) && is_asleep(worker);
    at->stuck = is_stuck(watched);
    at->waited_ns = waited_of(all.files[worker], &at->ran_ns);
}

/* The eighth number of "cpu  user nice system idle iowait irq softirq steal". */
static uint64_t stolen(void)
{
    char text[256];
    char *rest = text + 4;
    uint64_t ticks = 0;
    if (read_file(all.stat_file, text, sizeof text) < 5)
        return 0;
    for (unsigned i = 0; i < 8; i++)
        ticks = strtoull(rest, &rest, 10);
    return ticks * all.tick_ns;
}

/* Asleep at both ends: all of the time between, but for what it ran or waited. */
static void add_sleep(struct at *at, const struct at *before, uint64_t ns)
{
    uint64_t awake = at->ran_ns - before->ran_ns + at->waited_ns - before->waited_ns;
    at->parked_ns = before->parked_ns + (at->parked && before->parked && awake < ns ? ns - awake : 0);
}

/* Late is also what it took longer itself: when it lost its CPU on the way. */
static void sample(uint64_t expected_ns)
{
    static const struct row none;
    struct row *row = &all.rows[all.rows_count % ROWS];
    const struct row *before = all.rows_count > 0 ? &all.rows[(all.rows_count - 1) % ROWS] : &none;
    uint64_t now = stall_clock(), late = now > expected_ns ? now - expected_ns : 0;
    row->stolen_ns = stolen();
    row->late_ns = before->late_ns + (late > LATE_NS ? late : 0);
    row->time_ns = now;
    row->watch_ns = waited_of(all.watch_file, &(uint64_t){0});
    for (unsigned i = 0; i < all.threads; i++) {
        look_at(i, &row->workers[i]);
        add_sleep(&row->workers[i], &before->workers[i], now - before->time_ns);
    }
    all.rows_count++;
    pthread_mutex_lock(&all.lock);
    if (late > all.sum.late_ns)
        all.sum.late_ns = late;
    pthread_mutex_unlock(&all.lock);
}

/* --- judgement ---------------------------------------------------------------------------------------------------- */

static uint64_t oldest(void)
{
    return all.rows_count > ROWS ? all.rows_count - ROWS : 0;
}

/* The last row before that time; the oldest if there is none. */
static uint64_t row_before(uint64_t ns)
{
    uint64_t i = all.rows_count - 1;
    while (i > oldest() && all.rows[i % ROWS].time_ns > ns)
        i--;
    return i;
}

static uint64_t at_most(uint64_t ns, uint64_t limit)
{
    return ns < limit ? ns : limit;
}

/* Adds up what a worker did from one moment to another, which are between two rows. Busy: on a CPU, or asleep in its
 * loop. Blocked: in a lock, a page fault or the like. */
struct share {
    uint64_t busy_ns, blocked_ns;
};

static void add_share(struct share *sum, int worker, uint64_t begin_ns, uint64_t end_ns, uint64_t first, uint64_t last)
{
    uint64_t length = end_ns > begin_ns ? end_ns - begin_ns : 0;
    if (worker < 0 || worker >= (int)all.threads)
        return;
    const struct at *a = &all.rows[first % ROWS].workers[worker], *b = &all.rows[last % ROWS].workers[worker];
    uint64_t busy = at_most(b->ran_ns - a->ran_ns + b->parked_ns - a->parked_ns, length);
    sum->busy_ns += busy;
    sum->blocked_ns += length - busy - at_most(b->waited_ns - a->waited_ns, length - busy);
}

/* What of a delay is left. Rows that matter: from the last before it was due to the first after it was done. */
static struct share left_of(const struct delay *delay, uint64_t first, uint64_t last)
{
    const struct row *before = &all.rows[first % ROWS], *after = &all.rows[last % ROWS];
    uint64_t length = delay->done_ns - delay->due_ns, others = after->stolen_ns - before->stolen_ns;
    if (delay->handler)
        others += after->watch_ns - before->watch_ns;
    struct share best = {length, 0};
    for (uint64_t i = first; i <= last && !delay->handler; i++) {
        struct share sum = {0, 0};
        uint64_t split = all.rows[i % ROWS].time_ns;
        split = split < delay->due_ns ? delay->due_ns : at_most(split, delay->done_ns);
        add_share(&sum, delay->from, delay->due_ns, split, first, i);
        add_share(&sum, delay->on, split, delay->done_ns, i, last);
        best = sum.busy_ns < best.busy_ns ? sum : best;
    }
    best.busy_ns -= at_most(others, best.busy_ns);
    best.busy_ns = at_most(best.busy_ns, length - at_most(after->late_ns - before->late_ns, length));
    best.blocked_ns = at_most(best.blocked_ns, length - at_most(after->late_ns - before->late_ns, length));
    return best;
}

static bool was_stuck(const struct delay *delay, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        const struct at *workers = all.rows[i % ROWS].workers;
        if ((delay->from >= 0 && workers[delay->from].stuck) || (delay->on >= 0 && workers[delay->on].stuck))
            return true;
    }
    return false;
}

/* What the worker that handled it did meanwhile, in ms since the first row. */
static void tell_rows(const struct delay *delay, uint64_t first, uint64_t last)
{
    for (uint64_t i = first + 1; i <= last && delay->on >= 0; i++) {
        const struct row *row = &all.rows[i % ROWS], *before = &all.rows[(i - 1) % ROWS];
        const struct at *at = &row->workers[delay->on], *then = &before->workers[delay->on];
        fprintf(stderr, "    %.1f: ran %.1f, waited %.1f, slept %.1f, sampled %.1f late\n",
                (double)(row->time_ns - all.rows[first % ROWS].time_ns) / 1e6,
                (double)(at->ran_ns - then->ran_ns) / 1e6, (double)(at->waited_ns - then->waited_ns) / 1e6,
                (double)(at->parked_ns - then->parked_ns) / 1e6, (double)(row->late_ns - before->late_ns) / 1e6);
    }
}

/* Under the lock. */
static void judge(const struct delay *delay)
{
    uint64_t first = row_before(delay->due_ns), last = row_before(delay->done_ns);
    last += last + 1 < all.rows_count;
    struct share left = left_of(delay, first, last);
    bool reported = was_stuck(delay, first, last);
    if (left.busy_ns <= all.bound_ns) {
        bool blocked = left.busy_ns + left.blocked_ns > all.bound_ns && !reported;
        all.sum.explained++;
        all.sum.blocked += blocked;
        if (blocked && left.blocked_ns > all.sum.worst_blocked_ns)
            all.sum.worst_blocked_ns = left.blocked_ns;
        return;
    }
    if (reported) {
        all.sum.reported++;
        return;
    }
    all.sum.unreported++;
    if (left.busy_ns > all.sum.worst_left_ns)
        all.sum.worst_left_ns = left.busy_ns;
    if (all.sum.unreported > 50)
        return;
    fprintf(stderr, "stall: %s, worker %d to %d, due at %.3f s: %.1f ms late, of which nothing explains %.1f ms\n",
            delay->what, delay->from, delay->on, (double)delay->due_ns / 1e9,
            (double)(delay->done_ns - delay->due_ns) / 1e6, (double)left.busy_ns / 1e6);
    tell_rows(delay, first, last);
}

static void judge_settled(uint64_t before_ns)
{
    unsigned kept = 0;
    pthread_mutex_lock(&all.lock);
    for (unsigned i = 0; i < all.waiting_count; i++) {
        if (all.waiting[i].done_ns < before_ns)
            judge(&all.waiting[i]);
        else
            all.waiting[kept++] = all.waiting[i];
    }
    all.waiting_count = kept;
    pthread_mutex_unlock(&all.lock);
}

static void *run(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "stall");
    uint64_t expected = stall_clock();
    while (!ck_pr_load_32(&all.ending)) {
        sample(expected);
        expected = all.rows[(all.rows_count - 1) % ROWS].time_ns + PERIOD_NS;
        judge_settled(stall_clock() - SETTLED_NS);
        nanosleep(&(struct timespec){.tv_nsec = (long)PERIOD_NS}, NULL);
    }
    sample(expected);
    judge_settled(UINT64_MAX);
    return NULL;
}

/* --- what is handed in -------------------------------------------------------------------------------------------- */

static void hand_in(struct delay delay)
{
    pthread_mutex_lock(&all.lock);
    all.sum.over++;
    if (all.waiting_count < WAITING)
        all.waiting[all.waiting_count++] = delay;
    else
        all.sum.unreported++; /* more than there are actors to hand them in */
    pthread_mutex_unlock(&all.lock);
}

void stall_delay(const char *what, int from, uint64_t due_ns)
{
    uint64_t now = stall_clock(), late = now > due_ns ? now - due_ns : 0;
    ck_pr_inc_64(&all.delays);
    for (uint64_t most; late > (most = ck_pr_load_64(&all.longest_ns));)
        ck_pr_cas_64(&all.longest_ns, most, late);
    if (late > all.bound_ns)
        hand_in((struct delay){what, from, stall_worker(), due_ns, now, false});
}

void stall_handler(const char *what, uint64_t began_ns)
{
    int worker = stall_worker();
    uint64_t now = stall_clock();
    if (now - began_ns > all.bound_ns)
        hand_in((struct delay){what, worker, worker, began_ns, now, true});
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void stall_expect(uint64_t bound_ns)
{
    all.bound_ns = bound_ns;
}

void stall_start(const troupe_runtime *rt)
{
    all.rt = rt;
    all.threads = rt->threads;
    all.tick_ns = UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK);
    memset(all.files, -1, sizeof all.files);
    memset(all.states, -1, sizeof all.states);
    all.watch_file = -1;
    all.stat_file = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    find_workers();
    if (pthread_create(&all.thread, NULL, run, NULL) != 0)
        abort();
}

void stall_stop(void)
{
    ck_pr_store_32(&all.ending, 1);
    pthread_join(all.thread, NULL);
    for (unsigned i = 0; i < all.threads; i++)
        close(all.files[i]), close(all.states[i]);
    close(all.watch_file);
    close(all.stat_file);
}

struct stall_summary stall_look(void)
{
    pthread_mutex_lock(&all.lock);
    struct stall_summary copy = all.sum;
    copy.delays = ck_pr_load_64(&all.delays);
    copy.longest_ns = ck_pr_load_64(&all.longest_ns);
    pthread_mutex_unlock(&all.lock);
    return copy;
}
