/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "number.h"

Test(command, every_command_is_found_under_its_name_in_any_case)
{
    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        const struct kv_command *command = kv_command_get((enum kv_command_id)id);
        char name[16] = "";
        cr_assert_eq(command->id, (enum kv_command_id)id);
        cr_assert_eq(kv_command_find(kv_slice_text(command->name)), command, "%s", command->name);
        for (size_t i = 0; command->name[i] != '\0'; i++) {
            cr_assert(islower((unsigned char)command->name[i]), "names are letters: %s", command->name);
            name[i] = (char)(i % 2 == 0 ? toupper((unsigned char)command->name[i]) : command->name[i]);
        }
        cr_assert_eq(kv_command_find(kv_slice_text(name)), command);
    }
}

Test(command, no_other_name_is_found)
{
    static const char *const names[] = {"", "g", "ge", "gett", "g\x05t", "flushalls", "xxxx", "GEX", "  get"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert_null(kv_command_find(kv_slice_text(names[i])), "%s", names[i]);
    cr_assert_null(kv_command_find(kv_slice_of("get\0", 4)));
}

/* Split a line at blanks and hand it to kv_command_accept; compare what it says. */
static void check(const char *line, const char *expected)
{
    struct kv_slice argv[16];
    size_t argc = 0;
    for (const char *at = line; *at != '\0'; at += *at == ' ') {
        size_t len = strcspn(at, " ");
        argv[argc++] = kv_slice_of(at, len);
        at += len;
    }
    struct kv_buf out = {0};
    const struct kv_command *command = kv_command_accept(argv, argc, &out);
    cr_assert_eq(command != NULL, expected[0] == '\0', "%s", line);
    cr_assert(kv_slice_equal(kv_slice_of(out.data, out.len), kv_slice_text(expected)), "%s: got %.*s", line,
              (int)out.len, out.data);
    kv_buf_free(&out);
}

Test(command, wrong_requests_are_answered_as_redis_does)
{
    check("get k", "");
    check("get", "-ERR wrong number of arguments for 'get' command\r\n");
    check("GET a b", "-ERR wrong number of arguments for 'get' command\r\n");
    check("mset a", "-ERR wrong number of arguments for 'mset' command\r\n");
    check("mset a b c", "-ERR wrong number of arguments for 'mset' command\r\n");
    check("mset a b c d", "");
    check("ping", "");
    check("ping a", "");
    check("ping a b", "-ERR wrong number of arguments for 'ping' command\r\n");
    check("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n");
    check("foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n");
}

Test(command, long_and_odd_arguments_are_cut_in_the_error)
{
    char *big = malloc(100000);
    memset(big, 'x', 100000);
    struct kv_slice argv[3] = {kv_slice_of(big, 100000), kv_slice_of(big, 100000), kv_slice_text("never shown")};
    struct kv_buf out = {0};
    cr_assert_null(kv_command_accept(argv, 3, &out));
    cr_assert_eq(out.len, strlen("-ERR unknown command '', with args beginning with: '' \r\n") + 128 + 128);
    kv_buf_clear(&out);
    struct kv_slice odd[2] = {kv_slice_of("a\r\nb", 4), kv_slice_of("c\0d", 3)};
    cr_assert_null(kv_command_accept(odd, 2, &out));
    const char expected[] = "-ERR unknown command 'a  b', with args beginning with: 'c' \r\n";
    cr_assert(kv_slice_equal(kv_slice_of(out.data, out.len), kv_slice_text(expected)));
    kv_buf_free(&out);
    free(big);
}

Test(command, keys_are_counted_as_the_table_says)
{
    cr_assert_eq(kv_command_key_count(kv_command_get(KV_GET), 2), 1);
    cr_assert_eq(kv_command_key_count(kv_command_get(KV_SET), 7), 1);
    cr_assert_eq(kv_command_key_count(kv_command_get(KV_MGET), 5), 4);
    cr_assert_eq(kv_command_key_count(kv_command_get(KV_MSET), 7), 3);
    cr_assert_eq(kv_command_key_count(kv_command_get(KV_PING), 1), 0);
}

Test(command, subcommands_and_expiries_have_their_texts)
{
    struct kv_buf out = {0};
    kv_command_write_unknown_sub("CLIENT", kv_slice_text("foo"), &out);
    kv_command_write_arity("client|setname", &out);
    kv_command_write_bad_expire("set", &out);
    const char expected[] = "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n"
                            "-ERR wrong number of arguments for 'client|setname' command\r\n"
                            "-ERR invalid expire time in 'set' command\r\n";
    cr_assert(kv_slice_equal(kv_slice_of(out.data, out.len), kv_slice_text(expected)));
    kv_buf_free(&out);
}

Test(command, info_is_an_array_of_six)
{
    struct kv_buf out = {0};
    kv_command_write_info(kv_command_get(KV_GET), &out);
    const char expected[] = "*6\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n";
    cr_assert(kv_slice_equal(kv_slice_of(out.data, out.len), kv_slice_text(expected)));
    kv_buf_free(&out);
}

Test(number, reads_what_redis_reads_and_nothing_else)
{
    static const char *const good[] = {"0", "7", "-1", "9223372036854775807", "-9223372036854775808", "1000"};
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999",
                                      "184467440737095516160"};
    char digits[KV_NUMBER_MAX];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t number;
        cr_assert(kv_number_parse(good[i], strlen(good[i]), &number));
        cr_assert(kv_slice_equal(kv_slice_of(digits, kv_number_format(digits, number)), kv_slice_text(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t number = 5;
        cr_assert_not(kv_number_parse(bad[i], strlen(bad[i]), &number), "%s", bad[i]);
        cr_assert_eq(number, 5);
    }
}
