/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/pace.h"

#include "sched/base/assert.h"

#define FIRST_GUESS_NS 1000
#define SAMPLE_MAX_NS 1000000 /* a longer activation says "long" just as well, and is forgotten sooner */
#define SAMPLE_EVERY_NS 65536 /* a clock reading costs about 26 ns */
#define RUNS_MAX 16           /* so that one sample cannot hide many activations that became long */

static unsigned runs_until_due(uint64_t cost_ns)
{
    uint64_t runs = SAMPLE_EVERY_NS / cost_ns;
    return runs < 1 ? 1 : runs > RUNS_MAX ? RUNS_MAX : (unsigned)runs;
}

void tr_pace_init(struct tr_pace *pace)
{
    *pace = (struct tr_pace){.cost_ns = FIRST_GUESS_NS, .due = runs_until_due(FIRST_GUESS_NS)};
}

void tr_pace_resume(struct tr_pace *pace, uint64_t now_ns)
{
    pace->began_ns = now_ns;
}

/* Moves the stretch up to now into busy_ns. A clock that stepped back counts as no time. */
static void close_stretch(struct tr_pace *pace, uint64_t now_ns)
{
    if (now_ns > pace->began_ns)
        pace->busy_ns += now_ns - pace->began_ns;
    pace->began_ns = now_ns;
}

void tr_pace_pause(struct tr_pace *pace, uint64_t now_ns)
{
    close_stretch(pace, now_ns);
}

void tr_pace_sample(struct tr_pace *pace, uint64_t now_ns, uint64_t runs)
{
    TR_ASSERT(runs > 0);
    close_stretch(pace, now_ns);
    uint64_t sample = pace->busy_ns / runs;
    if (sample > SAMPLE_MAX_NS)
        sample = SAMPLE_MAX_NS;
    ck_pr_store_64(&pace->cost_ns, (3 * pace->cost_ns + sample) / 4 + 1);
    pace->due = runs_until_due(pace->cost_ns);
    pace->busy_ns = 0;
}
