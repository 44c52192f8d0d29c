/* SPDX-License-Identifier: Apache-2.0
 *
 * A planted signed overflow: undefined behaviour that changes nothing anyone would notice. The gate must see it. */
#include <criterion/criterion.h>

#include <limits.h>

Test(gate, overflows_on_purpose)
{
    volatile int most = INT_MAX;
    volatile int next = most + 1;
    (void)next;
}
