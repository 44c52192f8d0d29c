// SPDX-License-Identifier: Apache-2.0

// What the cases of the CAF peer share: the system they run in, the clock, results and checks.
#pragma once

#include <caf/all.hpp>

#include <cstdint>
#include <vector>

struct job {
    caf::actor_system &system;
    std::uint64_t size;
};

// One case each; they print their result.
void ping_pong(job &);
void thread_ring(job &);
void counting(job &);
void fan_in(job &);
void big(job &);
void chameneos(job &);
void fork_join_create(job &);
void skynet(job &);
void live_actors(job &);
void stop_tree(job &);
void idle(job &);
void ask(job &);
void timers(job &);
void timer_cancel(job &);
void wake(job &);
void restart(job &);
void escalate(job &);
void kill_backlog(job &);

// Monotonic, ns.
std::int64_t now_ns();

// CPU time of all threads, ns.
std::int64_t cpu_time();

void report(const char *name, double value, const char *unit);

// Ends the program when a case did not do what it had to.
[[gnu::format(printf, 2, 3)]] void check(bool ok, const char *format, ...);

// Reorders the samples.
double percentile(std::vector<std::int64_t> &samples, double p);

inline double per_second(std::uint64_t count, std::int64_t took)
{
    return static_cast<double>(count) * 1e9 / static_cast<double>(took);
}

// xorshift64*
struct random_numbers {
    std::uint64_t state;
    std::uint64_t operator()()
    {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 2685821657736338717u;
    }
};
