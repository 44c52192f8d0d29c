/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "options.h"

#define READ(options, ...)                                                                                             \
    kv_options_read(options, (int)(sizeof(char *[]){"kv", ##__VA_ARGS__} / sizeof(char *)),                            \
                    (char *[]){"kv", ##__VA_ARGS__})

Test(options, have_defaults)
{
    struct kv_options options;
    cr_assert_eq(READ(&options), KV_OPTIONS_GOOD);
    cr_assert_str_eq(options.host, "127.0.0.1");
    cr_assert_eq(options.port, 7379);
    cr_assert_str_eq(options.dir, "kv-data");
    cr_assert_eq(options.fsync, KV_FSYNC_EVERYSEC);
    cr_assert_eq(options.max_memory, 0);
    cr_assert_eq(options.max_clients, 10000);
    cr_assert_eq(options.workers, 0);
    cr_assert_gt(options.shards, 0);
}

Test(options, are_read_in_both_forms)
{
    struct kv_options options;
    cr_assert_eq(READ(&options, "--host", "::1", "--port=0", "--dir", "d", "--shards=3", "--workers", "2", "--fsync",
                      "always", "--max-clients=5", "--max-memory", "3g"),
                 KV_OPTIONS_GOOD);
    cr_assert_str_eq(options.host, "::1");
    cr_assert_eq(options.port, 0);
    cr_assert_str_eq(options.dir, "d");
    cr_assert_eq(options.shards, 3);
    cr_assert_eq(options.workers, 2);
    cr_assert_str_eq(kv_fsync_name(options.fsync), "always");
    cr_assert_eq(options.max_clients, 5);
    cr_assert_eq(options.max_memory, (size_t)3 << 30);
}

Test(options, memory_takes_suffixes)
{
    static const struct {
        char *text;
        size_t bytes;
    } cases[] = {{"0", 0}, {"17", 17}, {"2k", 2048}, {"2K", 2048}, {"64m", 64 << 20}, {"1M", 1 << 20}, {"1G", 1 << 30}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kv_options options;
        cr_assert_eq(READ(&options, "--max-memory", cases[i].text), KV_OPTIONS_GOOD);
        cr_assert_eq(options.max_memory, cases[i].bytes);
    }
}

Test(options, help_is_asked_for_and_names_every_option)
{
    struct kv_options options;
    static const char *const names[] = {"--host",  "--port",       "--dir",         "--shards", "--workers",
                                        "--fsync", "--max-memory", "--max-clients", "--help"};
    cr_assert_eq(READ(&options, "--port", "1", "--help"), KV_OPTIONS_HELP);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert_not_null(strstr(kv_options_help, names[i]));
}

Test(options, what_is_wrong_names_itself_and_what_is_expected)
{
    static const struct {
        char *name, *value;
        const char *error;
    } cases[] = {
        {"--prot", "1", "--prot: no such option; --help lists them"},
        {"x", "1", "x: no such option; --help lists them"},
        {"--port", NULL, "--port: a value is missing: expected a number from 0 to 65535"},
        {"--port", "65536", "--port: '65536' is wrong: expected a number from 0 to 65535"},
        {"--port", "-1", "--port: '-1' is wrong: expected a number from 0 to 65535"},
        {"--port", "7x", "--port: '7x' is wrong: expected a number from 0 to 65535"},
        {"--shards", "0", "--shards: '0' is wrong: expected a number from 1 to 4096"},
        {"--workers", "", "--workers: '' is wrong: expected a number from 1 to 64"},
        {"--fsync", "never", "--fsync: 'never' is wrong: expected always, everysec or no"},
        {"--max-memory", "9223372036854775807g",
         "--max-memory: '9223372036854775807g' is wrong: expected a number of bytes such as 1000000, 512k, 64m or 2g"},
        {"--max-memory", "k",
         "--max-memory: 'k' is wrong: expected a number of bytes such as 1000000, 512k, 64m or 2g"},
        {"--max-clients", "many", "--max-clients: 'many' is wrong: expected a number from 1 to 1000000"},
        {"--dir", "", "--dir: '' is wrong: expected a folder"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kv_options options;
        char *const argv[] = {"kv", cases[i].name, cases[i].value};
        cr_assert_eq(kv_options_read(&options, cases[i].value != NULL ? 3 : 2, argv), KV_OPTIONS_WRONG);
        cr_assert_str_eq(options.error, cases[i].error);
    }
}
