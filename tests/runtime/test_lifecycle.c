/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine: every state and event, against a table of its own and against the one in docs/ARCHITECTURE.md. */
#include <criterion/criterion.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/lifecycle.h"

/* One row per state, one column per event: "next state:actions", actions by letter; "-" cannot happen.
 * S stop children, F forget window, R reincarnate, E escalate, D done (finish). */
static const char *const expected[TR_LIFE_COUNT][TR_EVENT_COUNT] = {
    /*                started     crashed         stop            quiet        allowed        exceeded        refused      verdict */
    /* starting   */ {"running:", "restarting:S", "stopping:S", "-", "-", "-", "-", "-"},
    /* running    */ {"-", "restarting:S", "stopping:S", "-", "-", "-", "-", "-"},
    /* restarting */ {"-", "restarting:", "stopping:", "-", "starting:R", "escalating:E", "stopped:D", "-"},
    /* escalating */ {"-", "-", "stopping:", "-", "-", "-", "-", "starting:FR"},
    /* stopping   */ {"-", "stopping:", "stopping:", "stopped:D", "-", "-", "-", "-"},
    /* stopped    */ {"-", "-", "-", "-", "-", "-", "-", "-"},
};

static void describe(char *out, size_t size, enum tr_life from, enum tr_event event)
{
    struct tr_move m = tr_lifecycle_move(from, event);
    if (!m.defined)
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%s:%s%s%s%s%s", tr_life_name(m.next), m.actions & TR_DO_STOP_CHILDREN ? "S" : "",
                 m.actions & TR_DO_FORGET_WINDOW ? "F" : "", m.actions & TR_DO_REINCARNATE ? "R" : "",
                 m.actions & TR_DO_ESCALATE ? "E" : "", m.actions & TR_DO_FINISH ? "D" : "");
}

Test(lifecycle, every_state_and_event_moves_as_expected)
{
    char got[64];
    for (unsigned life = 0; life < TR_LIFE_COUNT; life++)
        for (unsigned event = 0; event < TR_EVENT_COUNT; event++) {
            describe(got, sizeof got, (enum tr_life)life, (enum tr_event)event);
            cr_assert_str_eq(got, expected[life][event], "%s on %s", tr_life_name((enum tr_life)life),
                             tr_event_name((enum tr_event)event));
        }
}

Test(lifecycle, every_state_and_event_has_its_own_name)
{
    for (unsigned a = 0; a < TR_LIFE_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            cr_assert_str_neq(tr_life_name((enum tr_life)a), tr_life_name((enum tr_life)b));
    for (unsigned a = 0; a < TR_EVENT_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            cr_assert_str_neq(tr_event_name((enum tr_event)a), tr_event_name((enum tr_event)b));
    cr_assert_str_eq(tr_life_name(TR_LIFE_COUNT), "?");
    cr_assert_str_eq(tr_event_name(TR_EVENT_COUNT), "?");
}

Test(lifecycle, nothing_leaves_the_last_state_and_only_it_finishes)
{
    for (unsigned life = 0; life < TR_LIFE_COUNT; life++)
        for (unsigned event = 0; event < TR_EVENT_COUNT; event++) {
            struct tr_move m = tr_lifecycle_move((enum tr_life)life, (enum tr_event)event);
            cr_assert(!m.defined || life != TR_LIFE_STOPPED);
            cr_assert_eq(m.defined && m.next == TR_LIFE_STOPPED, (m.actions & TR_DO_FINISH) != 0);
        }
}

/* --- the page ------------------------------------------------------------------------------------------------------- */

static const char *const action_words[] = {"stop children", "forget window", "reincarnate", "tell the parent",
                                           "finish"};

/* What the page must say in the cell: "RESTARTING (stop children)", or nothing. */
static void cell_text(char *out, size_t size, enum tr_life from, enum tr_event event)
{
    struct tr_move m = tr_lifecycle_move(from, event);
    out[0] = '\0';
    if (!m.defined)
        return;
    size_t at = 0;
    for (const char *c = tr_life_name(m.next); *c; c++)
        out[at++] = (char)toupper(*c);
    out[at] = '\0';
    const char *before = " (";
    for (unsigned i = 0; i < sizeof action_words / sizeof *action_words; i++)
        if (m.actions & 1u << i) {
            at += (size_t)snprintf(out + at, size - at, "%s%s", before, action_words[i]);
            before = ", ";
        }
    if (m.actions)
        snprintf(out + at, size - at, ")");
}

static void table_text(char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "| event |");
    for (unsigned life = 0; life < TR_LIFE_STOPPED; life++) {
        char name[32] = "";
        for (size_t i = 0; tr_life_name((enum tr_life)life)[i]; i++)
            name[i] = (char)toupper(tr_life_name((enum tr_life)life)[i]);
        at += (size_t)snprintf(out + at, size - at, " %s |", name);
    }
    at += (size_t)snprintf(out + at, size - at, "\n|---|---|---|---|---|---|\n");
    for (unsigned event = 0; event < TR_EVENT_COUNT; event++) {
        at += (size_t)snprintf(out + at, size - at, "| %s |", tr_event_name((enum tr_event)event));
        for (unsigned life = 0; life < TR_LIFE_STOPPED; life++) {
            char cell[128];
            cell_text(cell, sizeof cell, (enum tr_life)life, (enum tr_event)event);
            at += (size_t)snprintf(out + at, size - at, cell[0] ? " %s |" : "%s |", cell);
        }
        at += (size_t)snprintf(out + at, size - at, "\n");
    }
}

Test(lifecycle, the_architecture_page_shows_the_same_table)
{
    static char page[1 << 18], table[1 << 14];
    const char *tree = getenv("TROUPE_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/docs/ARCHITECTURE.md", tree ? tree : TROUPE_SOURCE_DIR);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "cannot open %s", path);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    table_text(table, sizeof table);
    static const char begin[] = "<!-- lifecycle -->\n", end[] = "<!-- lifecycle -->";
    char *from = strstr(page, begin);
    cr_assert_not_null(from, "no %s in the page", begin);
    from += sizeof begin - 1;
    char *to = strstr(from, end);
    cr_assert_not_null(to, "only one %s in the page", end);
    *to = '\0';
    cr_assert_str_eq(from, table, "the page says\n%s\nthe code says\n%s", from, table);
}
