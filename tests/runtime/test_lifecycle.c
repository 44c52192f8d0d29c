/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine: every state and event, against a table of its own and against the one in docs/ARCHITECTURE.md. */
#include <criterion/criterion.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/lifecycle.h"

/* What every state answers to every event, written down a second time. One row per event, one column per state:
 * ST starting, RU running, RS restarting, RE resting, WA waiting, ES escalating, SP stopping, KI killing, SD stopped.
 * "XX abc": moves to XX, with actions by letter; "=": ignored; "": impossible.
 * c cancel, s stop children, k kill children, d drop output, w wake, f forget window, r rest, i reincarnate, a ask the
 * parent, e escalate, F finish. */
static const char *const expected[TR_EVENT_COUNT][TR_LIFE_COUNT] = {
    /* event                        ST       RU       RS       RE       WA      ES       SP       KI      SD */
    [TR_EVENT_STARTED] = {"RU", "", "", "", "", "", "", "", ""},
    [TR_EVENT_CRASHED] = {"RS cs", "RS cs", "=", "", "", "", "=", "", ""},
    [TR_EVENT_RENEW] = {"RS cs", "RS cs", "=", "WA wa", "=", "=", "=", "=", ""},
    [TR_EVENT_STOP] = {"SP cs", "SP cs", "SP", "SP w", "SP", "SP", "=", "=", ""},
    [TR_EVENT_KILL] = {"KI ck", "KI ck", "KI kd", "KI w", "KI", "KI", "KI kd", "=", ""},
    [TR_EVENT_QUIET] = {"", "", "", "", "", "", "SD F", "SD F", ""},
    [TR_EVENT_RESTART_NOW] = {"", "", "ST i", "", "ST i", "", "", "", ""},
    [TR_EVENT_RESTART_LATER] = {"", "", "RE r", "", "RE r", "", "", "", ""},
    [TR_EVENT_RESTART_ASKED] = {"", "", "WA a", "", "", "", "", "", ""},
    [TR_EVENT_RESTART_REFUSED] = {"", "", "SD F", "", "", "", "", "", ""},
    [TR_EVENT_WINDOW_EXCEEDED] = {"", "", "ES e", "", "", "", "", "", ""},
    [TR_EVENT_RESTED] = {"", "", "", "ST wi", "", "", "", "", ""},
    [TR_EVENT_VERDICT_RESTART] = {"=", "=", "=", "=", "=", "ST fi", "=", "=", ""},
    [TR_EVENT_VERDICT_WAIT] = {"=", "=", "=", "=", "=", "WA f", "=", "=", ""},
};

static void describe(char *out, size_t size, enum tr_life from, enum tr_event event)
{
    static const char *const lives[] = {"ST", "RU", "RS", "RE", "WA", "ES", "SP", "KI", "SD"};
    static const char letters[] = "cskdwfriaeF";
    struct tr_move m = tr_lifecycle_move(from, event);
    if (m.answer != TR_ANSWER_MOVE) {
        cr_assert(m.next == from && m.actions == 0);
        snprintf(out, size, "%s", m.answer == TR_ANSWER_IGNORE ? "=" : "");
        return;
    }
    size_t at = (size_t)snprintf(out, size, "%s%s", lives[m.next], m.actions ? " " : "");
    for (unsigned bit = 0; letters[bit]; bit++)
        if (m.actions & 1u << bit)
            at += (size_t)snprintf(out + at, size - at, "%c", letters[bit]);
}

Test(lifecycle, every_state_answers_every_event_as_expected)
{
    char got[64];
    for (unsigned life = 0; life < TR_LIFE_COUNT; life++)
        for (unsigned event = 0; event < TR_EVENT_COUNT; event++) {
            describe(got, sizeof got, (enum tr_life)life, (enum tr_event)event);
            cr_assert_str_eq(got, expected[event][life], "%s on %s", tr_life_name((enum tr_life)life),
                             tr_event_name((enum tr_event)event));
        }
}

/* From every state but the last there is a way to the last that needs nothing but orders and quiet: no actor can be
 * stuck. */
Test(lifecycle, a_kill_ends_every_actor)
{
    for (unsigned life = 0; life < TR_LIFE_STOPPED; life++) {
        struct tr_move killed = tr_lifecycle_move((enum tr_life)life, TR_EVENT_KILL);
        cr_assert_eq(killed.next, TR_LIFE_KILLING);
        cr_assert_eq(tr_lifecycle_move(killed.next, TR_EVENT_QUIET).next, TR_LIFE_STOPPED);
    }
}

/* Who waits for a word (of the parent, of an alarm) forgets or keeps nothing armed that could wake the wrong
 * incarnation. */
Test(lifecycle, every_way_out_of_a_rest_wakes)
{
    for (unsigned event = 0; event < TR_EVENT_COUNT; event++) {
        struct tr_move m = tr_lifecycle_move(TR_LIFE_RESTING, (enum tr_event)event);
        cr_assert_eq(m.answer == TR_ANSWER_MOVE, (m.actions & TR_DO_WAKE) != 0);
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
            cr_assert(m.answer != TR_ANSWER_MOVE || life != TR_LIFE_STOPPED);
            cr_assert_eq(m.answer == TR_ANSWER_MOVE && m.next == TR_LIFE_STOPPED, (m.actions & TR_DO_FINISH) != 0);
        }
}

Test(lifecycle, every_action_has_its_own_name)
{
    for (unsigned a = 1; a < TR_DO_END; a <<= 1)
        for (unsigned b = 1; b < a; b <<= 1)
            cr_assert_str_neq(tr_action_name(a), tr_action_name(b));
    cr_assert_str_eq(tr_action_name(TR_DO_END), "?");
}

/* --- the page ----------------------------------------------------------------------------------------------------- */

static void upper(char *out, const char *name)
{
    while ((*out++ = (char)toupper(*name++)))
        ;
}

/* What the page must say in the cell: "RESTARTING (cancel, stop children)", "=" or nothing. */
static void cell_text(char *out, size_t size, enum tr_life from, enum tr_event event)
{
    struct tr_move m = tr_lifecycle_move(from, event);
    out[0] = '\0';
    if (m.answer == TR_ANSWER_IGNORE)
        snprintf(out, size, "=");
    if (m.answer != TR_ANSWER_MOVE)
        return;
    upper(out, tr_life_name(m.next));
    size_t at = strlen(out);
    const char *before = " (";
    for (unsigned bit = 1; bit < TR_DO_END; bit <<= 1)
        if (m.actions & bit) {
            at += (size_t)snprintf(out + at, size - at, "%s%s", before, tr_action_name(bit));
            before = ", ";
        }
    if (m.actions)
        snprintf(out + at, size - at, ")");
}

static void table_text(char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "| event |");
    for (unsigned life = 0; life < TR_LIFE_STOPPED; life++) {
        char name[32];
        upper(name, tr_life_name((enum tr_life)life));
        at += (size_t)snprintf(out + at, size - at, " %s |", name);
    }
    at += (size_t)snprintf(out + at, size - at, "\n|---|");
    for (unsigned life = 0; life < TR_LIFE_STOPPED; life++)
        at += (size_t)snprintf(out + at, size - at, "---|");
    at += (size_t)snprintf(out + at, size - at, "\n");
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
