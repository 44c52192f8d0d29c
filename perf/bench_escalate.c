/* SPDX-License-Identifier: Apache-2.0 */
/* An escalation, there and back: a child that may not restart by itself crashes on a message, its parent's
 * child_escalated answers RESTART_CHILD, and the child's next incarnation handles the message that waited behind.
 * Prints the median of the rounds, each the median of its cycles: escalate_w1 and escalate_w2 on one and on two
 * workers, one child in each. Arguments: see support/bench.h; COUNT is cycles per round. */
#include "perf/support/bench.h"
#include "perf/support/crasher.h"

#define LIMIT_US 3.0

int main(int argc, char **argv)
{
    const troupe_supervision supervision = {.restarts = TROUPE_RESTARTS_NONE};
    const struct tr_bench_options options =
        tr_bench_parse(argc, argv, (struct tr_bench_options){.rounds = 5, .count = 100000});
    bool met = true;
    for (unsigned workers = 1; workers <= 2; workers++) {
        struct tr_series series = {
            .name = workers == 1 ? "escalate_w1" : "escalate_w2", .unit = "us/cycle", .limit = LIMIT_US};
        for (unsigned i = 0; i < options.rounds; i++) {
            double median_ns;
            if (!tr_crasher_latency(workers, 1, options.count, &supervision, &median_ns))
                return 1;
            tr_series_add(&series, median_ns / 1e3);
        }
        met = tr_series_print(&series) && met;
    }
    return tr_bench_status(&options, met);
}
