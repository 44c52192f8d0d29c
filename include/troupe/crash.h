/* SPDX-License-Identifier: Apache-2.0 */
/* Crashes: the record of one, and the ring of the last ones.
 * Records are values: copied into the ring, handed to callbacks by pointer, valid there until the callback returns.
 * What follows a crash is the supervisor's business: see supervision.h. */
#ifndef TROUPE_CRASH_H
#define TROUPE_CRASH_H

#include <troupe/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct troupe_runtime troupe_runtime;

#define TROUPE_CRASH_TEXT 192  /* bytes, the terminator included */
#define TROUPE_CRASH_FRAMES 24 /* return addresses */

/* Why an incarnation ended otherwise than by an end of its actor. The last two are no crashes: they appear only in the
 * records that `restarted` is given, and `child_escalated` of a permanent child that ended too often. */
typedef enum troupe_cause {
    TROUPE_CAUSE_PANIC = 0, /* troupe_panic, or a TROUPE_CHECK that failed */
    TROUPE_CAUSE_START,     /* `started` returned a status below 0, or there was no memory to begin */
    TROUPE_CAUSE_FAULT,     /* a hardware fault that was recovered (troupe_options.recover_faults) */
    TROUPE_CAUSE_LINK,      /* an actor it is linked to crashed */
    TROUPE_CAUSE_CHILD,     /* a child crashed too often, or its children together did */
    TROUPE_CAUSE_SIBLING,   /* no crash: a sibling crashed, and the parent's strategy restarts this one too */
    TROUPE_CAUSE_ENDED,     /* no crash: it stopped itself or was stopped or killed by another, and is permanent */
    TROUPE_CAUSE_COUNT
} troupe_cause;

/* One crash, as it was caught. */
typedef struct troupe_crash {
    uint64_t sequence; /* 1 for the runtime's first, counted in the ring; 0 outside of it */
    uint64_t time_ns;  /* CLOCK_REALTIME */
    troupe_addr actor, parent;
    const char *behavior; /* the actor's name; constant data, as handler */
    const char *handler;  /* which handler or callback ran; "" when none did */
    troupe_cause cause;
    int status;           /* what `started` returned, if that was the cause; else 0 */
    unsigned incarnation; /* the one that crashed, from 1 */
    unsigned restarts;    /* restarts inside the window, this one not counted */
    unsigned worker;      /* its index */
    bool has_message;     /* a message or answer was being handled: */
    unsigned kind;        /* its kind, */
    unsigned attempt;     /* how many times it had been given to a handler, from 1, */
    troupe_addr sender;   /* and who sent it */
    bool tainted;         /* a hardware fault has been recovered in this process before, or now */
    int signal, code;     /* cause FAULT: SIGSEGV, ..., and si_code; else 0 */
    uintptr_t address;    /* cause FAULT: what was accessed, if the CPU told */
    uintptr_t pc;         /* cause FAULT: the instruction; else 0 */
    const char *file;     /* where troupe_panic stands, or "" */
    unsigned line;
    unsigned frames_count;                 /* 0: none were taken, see troupe_options.backtraces */
    uintptr_t frames[TROUPE_CRASH_FRAMES]; /* return addresses, innermost first */
    char text[TROUPE_CRASH_TEXT];          /* what the panic said */
} troupe_crash;

/* "panic", "start", ...: short lower-case names, for logs and metrics. Any thread; never NULL. */
TROUPE_API const char *troupe_cause_name(troupe_cause cause);

/* troupe_crashes_read - copies the crashes that the runtime still remembers, oldest first.
 *   after  0, or the sequence of the last record already read
 *   out    room for count records
 * Returns how many were copied. The ring holds the last troupe_options.crashes_kept; a gap between sequences says how
 * many were overwritten. Any thread, at any time (runtime.h). */
TROUPE_API size_t troupe_crashes_read(troupe_runtime *rt, uint64_t after, troupe_crash *out, size_t count);

/* troupe_crash_print - writes a crash as a person reads it: what happened, where, to whom, and the backtrace with
 * functions, files and lines where they can be found (libdw, if it is installed; else the exported symbols).
 * Returns the length of the whole text as snprintf does; at most size bytes, terminated, are written. It may take
 * milliseconds, mostly at the first time: not for handlers. Any thread. */
TROUPE_API size_t troupe_crash_print(const troupe_crash *crash, char *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
