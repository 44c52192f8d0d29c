// SPDX-License-Identifier: Apache-2.0

// The CAF peer: run CASE --workers N --size N measures one case of perf/cases.tsv, once, and prints NAME VALUE UNIT.
// This file owns the command line, the choice of the scheduler's policy, the clock and the output.
#include "peer.hpp"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace
{

struct entry {
    const char *name;
    void (*run)(job &);
    const char *policy; // the faster of CAF's two schedulers for it: stealing (the default one) or sharing
};

const entry entries[] = {
    {"ping_pong", ping_pong, "stealing"},
    {"thread_ring", thread_ring, "stealing"},
    {"counting", counting, "stealing"},
    {"fan_in", fan_in, "stealing"},
    {"big", big, "sharing"},
    {"chameneos", chameneos, "sharing"},
    {"fork_join_create", fork_join_create, "sharing"},
    {"skynet", skynet, "stealing"},
    {"live_actors", live_actors, "stealing"},
    {"stop_tree", stop_tree, "sharing"},
    {"idle", idle, "sharing"},
    {"ask", ask, "stealing"},
    {"timers", timers, "sharing"},
    {"timer_cancel", timer_cancel, "sharing"},
    {"wake", wake, "sharing"},
    {"restart", restart, "stealing"},
    {"escalate", escalate, "sharing"},
    {"kill_backlog", kill_backlog, "stealing"},
};

std::uint64_t number(const char *text)
{
    char *end = nullptr;
    std::uint64_t value = std::strtoull(text, &end, 10);
    return *end ? 0 : value;
}

} // namespace

std::int64_t now_ns()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

std::int64_t cpu_time()
{
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

void report(const char *name, double value, const char *unit)
{
    std::printf("%s %.*f %s\n", name, value < 1000 ? 2 : 0, value, unit);
    std::fflush(stdout);
}

void check(bool ok, const char *format, ...)
{
    if (ok)
        return;
    std::fputs("peers/caf: WRONG RESULT: ", stderr);
    va_list args;
    va_start(args, format);
    std::vfprintf(stderr, format, args);
    va_end(args);
    std::fputs("\n", stderr);
    std::_Exit(1);
}

double percentile(std::vector<std::int64_t> &samples, double p)
{
    auto at = std::min(samples.size() - 1, static_cast<std::size_t>(p * static_cast<double>(samples.size())));
    std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(at), samples.end());
    return static_cast<double>(samples[at]);
}

int main(int argc, char **argv)
{
    std::uint64_t workers = 0, size = 0;
    for (int i = 2; argc == 6 && i < 6; i += 2) {
        if (std::strcmp(argv[i], "--workers") == 0)
            workers = number(argv[i + 1]);
        else if (std::strcmp(argv[i], "--size") == 0)
            size = number(argv[i + 1]);
    }
    if (workers == 0 || size == 0) {
        std::fputs("usage: run CASE --workers N --size N\n", stderr);
        return 2;
    }
    auto found = std::find_if(std::begin(entries), std::end(entries),
                              [&](const entry &e) { return std::strcmp(e.name, argv[1]) == 0; });
    if (found == std::end(entries)) {
        std::fprintf(stderr, "peers/caf: there is no case '%s'\n", argv[1]);
        return 3;
    }
    const char *policy = std::getenv("PEERS_CAF_POLICY"); // to try the other one
    caf::actor_system_config config;
    config.set("scheduler.max-threads", static_cast<std::size_t>(workers));
    config.set("scheduler.policy", caf::atom_from_string(policy ? policy : found->policy));
    caf::actor_system system{config};
    job todo{system, size};
    found->run(todo);
    std::fflush(stdout);
    std::_Exit(0); // what still lives has been counted; taking it down is not measured
}
