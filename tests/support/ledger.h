/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the account of a soak's messages: per kind how many were sent, and what became of them. Each message has a mark,
 * a random number in its payload; the sums of marks agree as well, so that one lost and another handled twice do not
 * make up for each other. Any thread may enter what it did; one process has one ledger.
 * It is not a trace: it says that something is missing, of which kind, and not what. */
#ifndef TR_TESTS_SUPPORT_LEDGER_H
#define TR_TESTS_SUPPORT_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include <troupe/types.h>

enum { LEDGER_KINDS = 32, LEDGER_REASONS = 16 };

/* What is known of one kind, or of all. A message that a timer was to send and that was cancelled is taken back. */
struct ledger_sums {
    uint64_t sent, handled, taken_back, dead[LEDGER_REASONS];
    uint64_t marks_sent, marks_gone;
};

uint64_t ledger_mark(void); /* a new one */
void ledger_sent(unsigned kind, uint64_t mark);
void ledger_sent_many(unsigned kind, uint64_t mark, uint64_t count); /* as many copies of one */
void ledger_handled(unsigned kind, uint64_t mark);
void ledger_dead(unsigned kind, unsigned reason, uint64_t mark);
void ledger_taken_back(unsigned kind, uint64_t mark);

struct ledger_sums ledger_of(unsigned kind);
uint64_t ledger_dead_of(const struct ledger_sums *sums);
/* ledger_left - sent and not gone yet; negative for what is gone more than once. Exact when nothing moves. */
int64_t ledger_left(unsigned kind);
/* ledger_agrees - true: all that was sent is gone, once. Else says on stderr of which kind it is not. names: by kind. */
bool ledger_agrees(const char *const names[]);

#endif
