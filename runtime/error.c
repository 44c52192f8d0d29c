/* SPDX-License-Identifier: Apache-2.0 */
/* Names and sentences for statuses and reasons. */
#include <troupe/crash.h>
#include <troupe/types.h>

#include <errno.h>
#include <string.h>

static const char *const reason_names[TROUPE_REASON_COUNT] = {
    [TROUPE_REASON_NORMAL] = "normal",       [TROUPE_REASON_STOPPED] = "stopped",
    [TROUPE_REASON_SHUTDOWN] = "shutdown",   [TROUPE_REASON_CRASHED] = "crashed",
    [TROUPE_REASON_ESCALATED] = "escalated", [TROUPE_REASON_KILLED] = "killed",
    [TROUPE_REASON_NO_ACTOR] = "no_actor",
};

static const char *const dead_names[TROUPE_DEAD_COUNT] = {
    [TROUPE_DEAD_NO_ACTOR] = "no_actor", [TROUPE_DEAD_STOPPED] = "stopped",
    [TROUPE_DEAD_CRASHED] = "crashed",   [TROUPE_DEAD_UNHANDLED] = "unhandled",
    [TROUPE_DEAD_BAD_SIZE] = "bad_size", [TROUPE_DEAD_LATE_REPLY] = "late_reply",
    [TROUPE_DEAD_POISON] = "poison",     [TROUPE_DEAD_MAILBOX_FULL] = "mailbox_full",
    [TROUPE_DEAD_EXPIRED] = "expired",   [TROUPE_DEAD_CANCELLED] = "cancelled",
};

static const char *const cause_names[TROUPE_CAUSE_COUNT] = {
    [TROUPE_CAUSE_PANIC] = "panic", [TROUPE_CAUSE_START] = "start", [TROUPE_CAUSE_FAULT] = "fault",
    [TROUPE_CAUSE_LINK] = "link",   [TROUPE_CAUSE_CHILD] = "child", [TROUPE_CAUSE_SIBLING] = "sibling",
    [TROUPE_CAUSE_ENDED] = "ended",
};

const char *troupe_cause_name(troupe_cause cause)
{
    return (unsigned)cause < TROUPE_CAUSE_COUNT ? cause_names[cause] : "unknown";
}

const char *troupe_reason_name(troupe_reason reason)
{
    return (unsigned)reason < TROUPE_REASON_COUNT ? reason_names[reason] : "unknown";
}

const char *troupe_dead_reason_name(troupe_dead_reason reason)
{
    return (unsigned)reason < TROUPE_DEAD_COUNT ? dead_names[reason] : "unknown";
}

/* Where errno's own text leaves a user of this library guessing. */
static const struct {
    int status;
    const char *text;
} sentences[] = {
    {0, "no error"},
    {-ESRCH,
     "nobody is at this address: the actor has ended (ask its parent for its successor), or the address is nobody's: a spawn "
     "that failed, a declared child that has not started"},
    {-ETIMEDOUT,
     "the time was up first: give more, or look what is slow (of an ask: the receiver; of a stop: the log names who is left)"},
    {-ECONNRESET, "the other side went away while it had the request: an actor that crashed, or a peer that reset"},
    {-ENODATA, "the receiver handled the message without replying: it should troupe_reply or troupe_keep it"},
    {-EOPNOTSUPP,
     "the receiver has no handler for this kind and size of message: compare the two sides' protocols; of troupe_depth: its behavior sets no mailbox.limit"},
    {-ENOTCONN, "nobody waits for a reply to this message: it was a tell, or was answered before"},
    {-EMSGSIZE, "the payload is larger than TROUPE_PAYLOAD_MAX"},
    {-EBADF, "the handle is stale: the port was closed, or belongs to another actor or incarnation"},
    {-EAGAIN,
     "too many operations are in flight, or the receiver's mailbox is full: try again when some have completed, or "
     "when `room` is called"},
    {-EMFILE, "this process has used up its file descriptors: raise its limit (ulimit -n) or close some"},
    {-ENFILE, "the system has used up its file descriptors: raise fs.file-max or close some"},
    {-EADDRINUSE, "another socket listens on this address: choose another port, or stop the other program"},
    {-EACCES,
     "permission denied: look at the owner and mode of the file and its folder; a port below 1024 needs privileges"},
    {-ECANCELED, "the cancel token that it was started under was cancelled"},
    {-EDEADLK,
     "called on a worker, which must not wait, or by an actor for an answer of its own: actors use troupe_stop_runtime, "
     "troupe_monitor and troupe_ask"},
    {-EEXIST, "it is there already: a file of this name, or another live actor that is registered under it"},
    {-ENOENT, "it is not there: no such file, or the actor is not registered, a member or subscribed under this name"},
    {-ENAMETOOLONG, "the name is too long: of an actor, group or topic it has at most TROUPE_NAME_MAX bytes"},
    {-ESHUTDOWN, "the runtime has stopped: all its actors have ended"},
    {-ENOBUFS, "the reply is longer than the room given for it: its true size was told, ask again with more"},
    {-ENOMEM, "out of memory: lower the limits in the options, or give the process more"},
};

const char *troupe_strerror(int status)
{
    if (status > 0)
        return "not a status of this library: what troupe_stop_runtime was given, or 1: the root crashed too often";
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
        if (sentences[i].status == status)
            return sentences[i].text;
    return strerrordesc_np(-status) ? strerrordesc_np(-status) : "unknown status";
}
