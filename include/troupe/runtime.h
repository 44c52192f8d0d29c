/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime: its start, its stop, its counters, and the verbs for threads that are not its workers.
 * WHEN. A runtime's record lives as long as somebody holds a reference to it. troupe_runtime_start gives the first one,
 * which troupe_runtime_join takes back; whoever else wants to use rt at any time takes one of his own by
 * troupe_runtime_retain, while rt is still somebody's, and gives it back by troupe_runtime_release. With a reference in
 * hand all verbs that take rt, and those on its tokens (token.h), may be called on any thread at any moment: before,
 * during and after the runtime's stop and its join, also in the handlers of another runtime. Without one: from the
 * start until join is called. Once all its actors have ended, the verbs that need one return -ESHUTDOWN and have done
 * nothing; those that only look see what there was, until join frees it. A call that is under way ends, and join waits
 * for it. Several runtimes may live in one process; they share signal handlers (recover_faults, watchdog_signal) and
 * what was read of debug information, and nothing else. Nothing here is for use inside of actors of the same runtime,
 * but troupe_ctx_runtime, and troupe_stats_read, which is safe anywhere. A handler may use another runtime's
 * troupe_runtime_tell, as any thread may; it must not wait there. */
#ifndef TROUPE_RUNTIME_H
#define TROUPE_RUNTIME_H

#include <troupe/actor.h>
#include <troupe/log.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TROUPE_WORKERS_MAX 64
#define TROUPE_NO_BACKTRACES UINT32_MAX

typedef struct troupe_dead_letter {
    troupe_dead_reason reason;
    troupe_addr to, from;
    unsigned kind;       /* of a reply: the kind that was asked */
    bool reply;          /* it was an answer to an ask; its payload is what the replier made */
    const void *payload; /* valid until the hook returns */
    size_t size;         /* bytes; 0 as well for the news of a failed ask that came too late */
} troupe_dead_letter;

/* Zero means the default everywhere: start from `troupe_options options = {0}`. Copied by troupe_runtime_start. */
typedef struct troupe_options {
    /* Threads, with the spare ones at most TROUPE_WORKERS_MAX. Default: as many as the CPUs that this process may use,
     * or fewer where the CPU quota of its control groups is less (rounded up). */
    unsigned workers;
    /* More threads that sit out until the watchdog finds a worker stuck in a handler, and then do its part; default
     * 0. */
    unsigned spare_workers;
    /* Worker i runs on the i-th CPU that the starting thread may use, round and round. For a machine of one's own:
     * beside other busy processes a pinned worker waits for its CPU while others are free. Threads that a worker
     * starts, for operations that block, inherit its CPU. */
    bool pin;
    const char *name; /* thread name prefix, cut at 7 bytes; default "troupe": threads troupe/w0, troupe/w1, ... */
    /* Actors alive at once; up to 64 per worker more may be had. Default 1,048,576; with those at most 2^30. */
    unsigned actors_max;
    unsigned batch;    /* messages handled and sent, signals, I/O events per activation; default 512 */
    uint64_t batch_ns; /* time per activation, from its first look at the clock on; it looks every 16 of
                        * them, or up to 64 where they are quick; default 100 µs */
    uint64_t spin_ns;  /* how long an idle worker searches before it sleeps; default 15 µs */
    /* troupe_run: SIGINT and SIGTERM stop the runtime in order, a second one ends the process. Call it before other
     * threads exist, or block both signals in them. */
    bool stop_on_signals;
    /* troupe_run: after this long the order to stop (by signal or troupe_stop_runtime) has failed: the survivors are
     * logged as by troupe_runtime_stop and troupe_run returns -ETIMEDOUT, with the runtime's threads still there: end
     * the process. Default TROUPE_FOREVER. */
    uint64_t stop_timeout_ns;
    /* Called for each record the runtime logs (log.h), at most one at a time. It must not call anything that logs. At
     * most 20 a second, errors aside: what is left out is counted and said. Default: for a person, on stderr, crashes
     * with their backtrace. */
    void (*log)(void *arg, const troupe_log_record *record);
    void *log_arg;
    troupe_log_level log_level; /* the most verbose level that is logged */
    unsigned crashes_kept;      /* how many crashes troupe_crashes_read can give; default 64, at most 65,536 */
    unsigned backtraces;        /* taken per second and worker; default 10, TROUPE_NO_BACKTRACES: none */
    unsigned quarantine_max;    /* poisonous messages kept; default 1,024 */
    /* SIGSEGV, SIGBUS, SIGFPE, SIGILL and stack overflow in the code of behaviors that say recover_faults too become a
     * crash of the actor, where that can be proved to be only the actor's own code. Else, and for all others, the
     * process dies with a report and a true core. Read docs/SUPERVISION.md before: it is availability, not safety. */
    bool recover_faults;
    /* A handler or callback that runs for longer than this is logged (event "watchdog"), found out within half of it
     * more, and once more when it has ended. Default 1 s; TROUPE_FOREVER: no watchdog. Nobody is interrupted. What
     * waited behind it on its worker is run by others, but timers and I/O of that worker are late by as much. */
    uint64_t watchdog_ns;
    /* A signal for backtraces of such handlers, x86-64 only: one that the program does not use, such as SIGURG or
     * SIGRTMIN + 3. Its handler is installed for the process, from this runtime's start to its join; what is not its
     * own it hands on to the handler that was there, which may then run on a worker. The stuck thread is interrupted
     * for some microseconds: system calls are restarted, but for those that never are (nanosleep, poll, ...:
     * signal(7)), which return EINTR to the actor's handler. 0: no backtraces. */
    int watchdog_signal;
    /* Jobs (offload.h): threads for them, at most 1,024, default 64; jobs that wait for one, default 4,096; how long a
     * thread without a job stays, default 10 s. For work that blocks: what computes needs no more threads than CPUs. */
    unsigned offload_threads, offload_queue;
    uint64_t offload_idle_ns;
    /* Called for each dead letter, on the worker or thread where it died, several at once. Keep it short; it must not
     * panic. */
    void (*dead_letter)(void *arg, const troupe_dead_letter *letter);
    void *dead_letter_arg;
} troupe_options;

/* troupe_run - run a program of actors: start a runtime with root as its first actor, wait until that has ended, stop.
 *   args     root->args_size bytes for root
 *   options  NULL: defaults
 * Returns the status given to troupe_stop_runtime, 0 when root ended by itself or by a signal; 1 when a crash escalated
 * past root; -ETIMEDOUT when it has not stopped in stop_timeout_ns; -errno when the runtime could not start: -EINVAL
 * workers or actors_max are too many, or watchdog_signal is none that can be used; -ENOMEM, or what the kernel said,
 * which is logged with its cause and remedy (io_uring, threads). */
TROUPE_API int troupe_run(const troupe_behavior *root, const void *args, const troupe_options *options);

/* The same in steps. start returns 0 or -errno; *root_addr (may be NULL) is the root's address. */
TROUPE_API int troupe_runtime_start(troupe_runtime **out, const troupe_behavior *root, const void *args,
                                    const troupe_options *options, troupe_addr *root_addr);
/* Tells root to stop; returns at once. Any thread, also one that waits for signals, but not a signal handler;
 * idempotent. */
TROUPE_API void troupe_runtime_request_stop(troupe_runtime *rt);
/* troupe_runtime_stop - tell root to stop and wait until all actors and jobs have ended, at most timeout_ns.
 * Returns 0: join will not wait, but for threads that are in a verb at this moment. -ETIMEDOUT: they have not; the log
 *   names each survivor and what holds it: which handler and since when, which child, which operation; and each
 *   offloaded job that still runs. It may be called again; join would wait on.
 * Any thread; -EDEADLK on a worker of rt: actors use troupe_stop_runtime. */
TROUPE_API int troupe_runtime_stop(troupe_runtime *rt, uint64_t timeout_ns);
/* Writes that report, one line per survivor, as of now: what each actor that still lives is waiting for. Returns its
 * length as snprintf does: 0 once all have ended. Any thread; what it says may be a moment old. */
TROUPE_API size_t troupe_runtime_survivors(troupe_runtime *rt, char *out, size_t size);
/* Waits until root has ended, all threads are joined and nobody from outside is in a verb, frees everything but what
 * other references hold (the record, and the memory of messages and tokens), gives the starter's reference back and
 * returns the status as troupe_run does. Once, by one thread; -EDEADLK on a worker of rt, with nothing done. */
TROUPE_API int troupe_runtime_join(troupe_runtime *rt);

/* Takes one more reference to rt, and returns rt. The caller holds one, or knows that somebody does: the starter of a
 * thread before its start, an actor of rt while it runs. Each is given back once. Any thread. */
TROUPE_API troupe_runtime *troupe_runtime_retain(troupe_runtime *rt);
/* Gives one back. It stops nothing, and does not stand for join: only that frees threads and actors. Any thread. */
TROUPE_API void troupe_runtime_release(troupe_runtime *rt);

/* troupe_tell from a thread that is not a worker of rt; the sender is nobody. Any thread, also a worker of another
 * runtime, in its handlers. Order: first in, first out per thread and receiver. Returns as troupe_tell, but after
 * -EAGAIN nobody is told of room; -ESHUTDOWN: all actors have ended, nothing was sent, and there is no dead letter. */
TROUPE_API int troupe_runtime_tell(troupe_runtime *rt, troupe_addr to, unsigned kind, const void *payload, size_t size);

/* troupe_runtime_ask - send a message that wants a reply, and block the calling thread until there is one.
 *   to, kind, payload, size   as for troupe_tell; the sender is nobody
 *   timeout_ns   from now; TROUPE_FOREVER: no limit
 *   reply        room for the reply's payload, *reply_size bytes; may be NULL when those are 0
 *   reply_size   in: the room; out, with 0 and -ENOBUFS: the reply's true size. NULL: the reply's content is not wanted
 * Returns what became of the ask, exactly one of 0 and the statuses of troupe_answer (message.h); an actor that ends
 *   because the runtime stops answers as one that ends otherwise, mostly -ESRCH. -ENOBUFS: there was a reply, the first
 *   bytes of which are in the room; the rest is lost. And, with nothing sent: -ESHUTDOWN, all actors have ended;
 *   -ENOMEM; -EMSGSIZE; -EDEADLK, on a worker, of whatever runtime, which must not block: actors use troupe_ask.
 * The message carries the deadline (message.h, "Deadlines"). A reply that comes after the time-out is a dead letter
 * (late_reply). Any other thread.
 * There is no spawn from outside: a child is its parent's to supervise and to count. Ask the parent for one. */
TROUPE_API int troupe_runtime_ask(troupe_runtime *rt, troupe_addr to, unsigned kind, const void *payload, size_t size,
                                  uint64_t timeout_ns, void *reply, size_t *reply_size);
/* troupe_depth (actor.h) from any thread; -ESHUTDOWN: all actors have ended. */
TROUPE_API int64_t troupe_runtime_depth(troupe_runtime *rt, troupe_addr actor);
/* The runtime of the running actor. */
TROUPE_API troupe_runtime *troupe_ctx_runtime(const troupe_ctx *ctx);

/* Counters over all workers since the start; gauges are marked. Each is exact in itself, the set is not one instant. */
typedef struct troupe_stats {
    uint64_t workers; /* gauge */
    uint64_t actors;  /* gauge: alive */
    uint64_t spawns, stops;
    uint64_t messages_handled; /* user messages, replies and I/O events whose handler or callback returned */
    uint64_t activations, steals, parks, wakes;
    uint64_t crashes, restarts, escalations, kills;
    uint64_t cleanup_panics;   /* panics in deferred calls, releases and drops: counted and skipped */
    uint64_t faults_recovered; /* hardware faults that became crashes */
    uint64_t dead_letters[TROUPE_DEAD_COUNT];
    uint64_t mailbox_high_water; /* the longest backlog that any actor found at once, messages */
    uint64_t io_submitted, io_completed, io_system_calls;
    uint64_t io_in_flight;    /* gauge: operations the kernel has */
    uint64_t io_in_use;       /* gauge: operation records taken */
    uint64_t io_buffers_lent; /* gauge */
    uint64_t timers_armed;    /* gauge */
    uint64_t log_suppressed;  /* lines dropped by the rate limit */
    /* Handlers told by the watchdog; jobs offloaded, and not taken (-EAGAIN); then gauges. */
    uint64_t handlers_stuck, jobs, jobs_refused;
    uint64_t jobs_queued, jobs_running, job_threads;
} troupe_stats;

/* Any thread, also an actor; costs the reader, not the workers. Of a joined runtime: as they were at its end. */
TROUPE_API void troupe_stats_read(const troupe_runtime *rt, troupe_stats *out);

#ifdef __cplusplus
}
#endif

#endif
