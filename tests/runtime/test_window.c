/* SPDX-License-Identifier: Apache-2.0 */
/* The restart window. */
#include <criterion/criterion.h>

#include "runtime/window.h"

Test(window, allows_as_many_restarts_as_given_and_no_more)
{
    struct tr_window w = {0};
    for (unsigned i = 0; i < 3; i++)
        cr_assert(tr_window_allow(&w, 3, 1000, 100 + i));
    cr_assert_not(tr_window_allow(&w, 3, 1000, 103));
    cr_assert_eq(tr_window_count(&w, 3, 1000, 103), 3);
    tr_window_fini(&w);
}

Test(window, slides_instead_of_starting_afresh)
{
    struct tr_window w = {0};
    cr_assert(tr_window_allow(&w, 2, 1000, 0));
    cr_assert(tr_window_allow(&w, 2, 1000, 900));
    cr_assert_not(tr_window_allow(&w, 2, 1000, 999));
    cr_assert(tr_window_allow(&w, 2, 1000, 1000), "the first is out of the window by now");
    cr_assert_not(tr_window_allow(&w, 2, 1000, 1001), "900 and 1000 are in it");
    cr_assert(tr_window_allow(&w, 2, 1000, 1900));
    cr_assert_eq(tr_window_count(&w, 2, 1000, 1999), 2);
    cr_assert_eq(tr_window_count(&w, 2, 1000, 2000), 1);
    tr_window_fini(&w);
}

Test(window, a_refusal_does_not_count)
{
    struct tr_window w = {0};
    cr_assert(tr_window_allow(&w, 1, 100, 0));
    for (unsigned i = 1; i < 100; i++)
        cr_assert_not(tr_window_allow(&w, 1, 100, i));
    cr_assert(tr_window_allow(&w, 1, 100, 100));
    tr_window_fini(&w);
}

Test(window, of_no_restarts_refuses_at_once)
{
    struct tr_window w = {0};
    cr_assert_not(tr_window_allow(&w, 0, 100, 0));
    cr_assert_eq(tr_window_count(&w, 0, 100, 0), 0);
    tr_window_fini(&w);
}

Test(window, forgetting_gives_the_full_number_again)
{
    struct tr_window w = {0};
    for (unsigned round = 0; round < 5; round++) {
        cr_assert(tr_window_allow(&w, 2, 1000, 1));
        cr_assert(tr_window_allow(&w, 2, 1000, 1));
        cr_assert_not(tr_window_allow(&w, 2, 1000, 1));
        tr_window_forget(&w);
        cr_assert_eq(tr_window_count(&w, 2, 1000, 1), 0);
    }
    tr_window_fini(&w);
}
