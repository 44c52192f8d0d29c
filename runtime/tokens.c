/* SPDX-License-Identifier: Apache-2.0 */
/* A runtime's tokens as a whole: their beginning and end, and the threads that wait for one. See token.h. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "runtime/context.h"
#include "runtime/hook.h"
#include "runtime/token.h"
#include "sched/base/assert.h"

/* A thread in troupe_token_wait; on its stack. tokens->waiting guards `told` and the list; it is held while the hook is
 * linked and unlinked, so the sweeper's tr_token_wake comes after or finds nothing. The thread returns when it has
 * taken its hook off the token itself, or when it was told: from then on nobody has a pointer to it. */
struct waiter {
    struct tr_token_hook hook;
    struct tr_list link; /* in tokens->waiters */
    pthread_cond_t woken;
    bool told;
};

void tr_tokens_init(struct troupe_runtime *rt)
{
    struct tr_tokens *tokens = &rt->tokens;
    tokens->gone.word = TR_TOKEN_GONE | TR_TOKEN_CANCELLED;
    tr_list_init(&tokens->jobs);
    tr_list_init(&tokens->waiters);
    pthread_mutex_init(&tokens->waiting, NULL);
    pthread_cond_init(&tokens->left, NULL);
}

void tr_tokens_end(struct troupe_runtime *rt)
{
    struct tr_tokens *tokens = &rt->tokens;
    pthread_mutex_lock(&tokens->waiting);
    tokens->over = true;
    for (struct tr_list *link = tokens->waiters.next; link != &tokens->waiters; link = link->next)
        pthread_cond_signal(&TR_CONTAINER_OF(link, struct waiter, link)->woken);
    while (!tr_list_empty(&tokens->waiters))
        pthread_cond_wait(&tokens->left, &tokens->waiting);
    pthread_mutex_unlock(&tokens->waiting);
}

void tr_tokens_fini(struct troupe_runtime *rt)
{
    struct tr_tokens *tokens = &rt->tokens;
    pthread_cond_destroy(&tokens->left);
    pthread_mutex_destroy(&tokens->waiting);
}

void tr_token_wake(struct troupe_runtime *rt, struct tr_token_hook *hook)
{
    struct waiter *waiter = TR_CONTAINER_OF(hook, struct waiter, hook);
    pthread_mutex_lock(&rt->tokens.waiting);
    waiter->told = true;
    pthread_cond_signal(&waiter->woken);
    pthread_mutex_unlock(&rt->tokens.waiting);
}

/* The point in time `after_ns` from now; false: it is beyond all clocks. */
static bool deadline_after(uint64_t after_ns, struct timespec *out)
{
    if (after_ns > UINT64_MAX / 2)
        return false;
    clock_gettime(CLOCK_MONOTONIC, out);
    out->tv_sec += (time_t)(after_ns / TROUPE_SEC(1));
    out->tv_nsec += (long)(after_ns % TROUPE_SEC(1));
    if (out->tv_nsec >= 1000000000) {
        out->tv_nsec -= 1000000000;
        out->tv_sec++;
    }
    return true;
}

static void waiter_init(struct waiter *waiter, troupe_token token)
{
    pthread_condattr_t attr;
    *waiter = (struct waiter){.hook = {.token = token, .kind = TR_HOOK_THREAD}};
    tr_list_init(&waiter->hook.link);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter->woken, &attr);
    pthread_condattr_destroy(&attr);
}

/* Until told, out of time (deadline may be NULL), or the runtime is over. tokens->waiting is held. */
static int sleep_until_told(struct tr_tokens *tokens, struct waiter *waiter, const struct timespec *deadline)
{
    int timed_out = 0;
    while (!waiter->told && !tokens->over && timed_out == 0)
        timed_out = deadline ? pthread_cond_timedwait(&waiter->woken, &tokens->waiting, deadline)
                             : pthread_cond_wait(&waiter->woken, &tokens->waiting);
    if (waiter->told)
        return 0;
    if (tr_token_unlink(&waiter->hook))
        return tokens->over ? 0 : -ETIMEDOUT;
    while (!waiter->told) /* the sweeper has the hook, and is about to tell */
        pthread_cond_wait(&waiter->woken, &tokens->waiting);
    return 0;
}

static int wait_for(struct troupe_runtime *rt, troupe_token token, const struct timespec *deadline)
{
    struct tr_tokens *tokens = &rt->tokens;
    struct waiter waiter;
    int status = 0;
    waiter_init(&waiter, token);
    pthread_mutex_lock(&tokens->waiting);
    if (!tokens->over && tr_token_link(rt, &waiter.hook)) {
        tr_list_push_back(&tokens->waiters, &waiter.link);
        status = sleep_until_told(tokens, &waiter, deadline);
        tr_list_remove(&waiter.link);
        if (tokens->over && tr_list_empty(&tokens->waiters))
            pthread_cond_signal(&tokens->left);
    }
    pthread_mutex_unlock(&tokens->waiting);
    pthread_cond_destroy(&waiter.woken);
    return status;
}

int troupe_token_wait(troupe_token token, uint64_t timeout_ns)
{
    struct timespec deadline;
    TR_ASSERT(!tr_worker_self());
    if (!token.ref)
        return -EINVAL;
    struct troupe_runtime *rt = tr_token_runtime(token);
    if (!rt || troupe_token_cancelled(token))
        return 0;
    bool limited = deadline_after(timeout_ns, &deadline);
    return wait_for(rt, token, limited ? &deadline : NULL);
}
