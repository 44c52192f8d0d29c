/* SPDX-License-Identifier: Apache-2.0
 *
 * A planted leak: the test passes, and only the sanitizer's report at exit tells. The gate must see it. */
#include <criterion/criterion.h>

static void *volatile lost;

Test(gate, leaks_on_purpose)
{
    lost = malloc(64);
    cr_assert_not_null(lost);
    lost = NULL;
}
