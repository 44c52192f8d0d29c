/* SPDX-License-Identifier: Apache-2.0 */
/* What a user may do wrong with the verbs, and what it says then: a crash of the actor or a status that names the
 * cause, never a broken invariant of the library's, never a hang. */
#include "tests/runtime/world.h"

#include <sys/wait.h>

#include "troupe/monitor.h"

enum { MISUSE };

typedef void misuse_fn(troupe_ctx *ctx, const troupe_msg *msg);

static misuse_fn *misuse;

HANDLER(misuse_now)
{
    if (troupe_incarnation(ctx) == 1)
        misuse(ctx, msg);
    troupe_stop_runtime(ctx, 0);
}

RESTARTED(note_restart)
{
    say("%s", crash->text);
    troupe_stop_runtime(ctx, 0);
}

STARTED(begin)
{
    return troupe_incarnation(ctx) > 1 ? 0 : troupe_tell(ctx, troupe_self(ctx), MISUSE, NULL, 0);
}

static const troupe_behavior victim = {
    .name = "victim", .started = begin, .restarted = note_restart, .handlers = {[MISUSE] = ON(misuse_now, 0)}};

static void check(misuse_fn *fn, const char *text)
{
    world_begin(2);
    misuse = fn;
    cr_assert_eq(run(&victim, NULL), 0);
    cr_assert(strstr(world.trace, text) && (*text || !*world.trace), "\"%s\" does not say \"%s\"", world.trace, text);
}

static void release_twice(troupe_ctx *ctx, const troupe_msg *msg)
{
    troupe_msg *kept = troupe_keep(ctx, msg);
    troupe_release(ctx, kept);
    troupe_release(ctx, kept);
}

static void ask_for_nothing(troupe_ctx *ctx, const troupe_msg *msg)
{
    (void)msg;
    troupe_ask(ctx, troupe_self(ctx), MISUSE, NULL, 0, TROUPE_SEC(1), NULL, NULL);
}

static void own_without_type(troupe_ctx *ctx, const troupe_msg *msg)
{
    (void)msg;
    troupe_own(ctx, NULL, 3, NULL);
}

static void defer_nothing(troupe_ctx *ctx, const troupe_msg *msg)
{
    (void)msg;
    troupe_defer(ctx, NULL, NULL);
}

Test(misuse, of_a_verb_is_a_crash_that_names_it)
{
    check(release_twice, "troupe_release: this message is not kept");
    check(ask_for_nothing, "troupe_ask: done is NULL");
    check(own_without_type, "troupe_own: a resource type needs");
    check(defer_nothing, "troupe_defer: fn is NULL");
}

static void wait_on_a_worker(troupe_ctx *ctx, const troupe_msg *msg)
{
    (void)msg;
    troupe_runtime *rt = troupe_ctx_runtime(ctx);
    if (troupe_runtime_wait(rt, troupe_self(ctx), TROUPE_FOREVER, NULL) != -EDEADLK)
        say("wait");
    if (troupe_runtime_stop(rt, TROUPE_FOREVER) != -EDEADLK)
        say("stop");
    if (troupe_runtime_join(rt) != -EDEADLK)
        say("join");
}

Test(misuse, of_verbs_that_wait_is_refused_on_a_worker)
{
    check(wait_on_a_worker, "");
}

/* Runs root in a process of its own; what it printed to stderr. */
static const char *dying_words(const troupe_behavior *root)
{
    static char words[1024];
    int pipe_fds[2], status;
    world_begin(1);
    cr_assert_eq(pipe(pipe_fds), 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        dup2(pipe_fds[1], STDERR_FILENO);
        run(root, NULL);
        _exit(0);
    }
    close(pipe_fds[1]);
    size_t at = 0;
    for (ssize_t n; at < sizeof words - 1 && (n = read(pipe_fds[0], words + at, sizeof words - 1 - at)) > 0;)
        at += (size_t)n;
    words[at] = '\0';
    close(pipe_fds[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status), "it goes on: %s", words);
    return words;
}

static const troupe_behavior wanting = {.name = "wanting", .args_size = 8};
static const troupe_child without_args[] = {{.behavior = &wanting}, {0}};
static const troupe_behavior parent = {.name = "parent", .children = {.declared = without_args}};

STARTED(spawn_without_args)
{
    troupe_spawn(ctx, &wanting, NULL, NULL);
    return 0;
}

static const troupe_behavior spawner = {.name = "spawner", .started = spawn_without_args};

Test(misuse, of_a_behavior_that_wants_args_is_said_at_its_spawn)
{
    static const troupe_behavior *const roots[] = {&wanting, &parent, &spawner};
    for (unsigned i = 0; i < 3; i++) {
        const char *words = dying_words(roots[i]);
        cr_assert(strstr(words, "behavior wanting: args_size is not 0, but it was spawned without args"), "%s", words);
    }
}

Test(misuse, statuses_above_zero_are_not_taken_for_errno)
{
    cr_assert(strstr(troupe_strerror(1), "not a status"));
    cr_assert(strstr(troupe_strerror(-EDEADLK), "on a worker"));
    cr_assert(strstr(troupe_strerror(-ESRCH), "nobody is at this address"));
}
