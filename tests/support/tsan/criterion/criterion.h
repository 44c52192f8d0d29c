/* SPDX-License-Identifier: Apache-2.0
 *
 * criterion/criterion.h - the part of Criterion that our tests use, for ThreadSanitizer builds.
 * Owns:      Test(), TestSuite() and the classic cr_* assertions, mapped to plain functions run by criterion.c beside.
 * Used by:   the `tsan` presets, in place of Criterion, which cannot start under ThreadSanitizer.
 * Is not:    a test framework. No parameterised tests, no theories, no redirection; an unknown name fails to
 * compile. */
#ifndef TR_TSAN_CRITERION_H
#define TR_TSAN_CRITERION_H

#pragma GCC system_header

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tr_test_options {
    int sentinel; /* lets `Test(suite, name)` be written without options */
    void (*init)(void);
    void (*fini)(void);
    int signal;
    int exit_code;
    bool disabled;
    double timeout; /* seconds */
    const char *description;
};

struct tr_test {
    const char *suite;
    const char *name; /* NULL: the options of a whole suite */
    void (*run)(void);
    struct tr_test_options options;
    struct tr_test *next;
};

void tr_test_register(struct tr_test *test);
void tr_test_failed(const char *file, int line, bool fatal, const char *what, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void tr_test_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tr_test_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#ifdef __cplusplus
}
#endif

#define TR_TEST_REGISTER(Id, Suite, Name, Run, ...)                                                                    \
    static struct tr_test tr_test_##Id = {.suite = Suite, .name = Name, .run = Run, .options = {__VA_ARGS__}};         \
    __attribute__((constructor)) static void tr_test_register_##Id(void)                                               \
    {                                                                                                                  \
        tr_test_register(&tr_test_##Id);                                                                               \
    }

#define Test(Suite, Name, ...)                                                                                         \
    static void tr_test_run_##Suite##_##Name(void);                                                                    \
    TR_TEST_REGISTER(Suite##_##Name, #Suite, #Name, tr_test_run_##Suite##_##Name, .sentinel = 0, ##__VA_ARGS__)        \
    static void tr_test_run_##Suite##_##Name(void)

#define TestSuite(Suite, ...)                                                                                          \
    TR_TEST_REGISTER(suite_##Suite, #Suite, NULL, NULL, .sentinel = 0, ##__VA_ARGS__)                                  \
    extern int tr_test_end_of_suite_##Suite

/* Every message is an optional printf format after the operands; it must be a string literal, as it is in our tests. */
#define TR_CHECK(fatal, condition, what, ...)                                                                          \
    ((condition) ? (void)0 : tr_test_failed(__FILE__, __LINE__, fatal, what, " " __VA_ARGS__))
#define TR_CHECK_OP(fatal, a, op, b, ...) TR_CHECK(fatal, (a)op(b), #a " " #op " " #b, ##__VA_ARGS__)
#define TR_CHECK_STR(fatal, a, op, b, ...)                                                                             \
    TR_CHECK(fatal, strcmp((a), (b)) op 0, "strings: " #a " " #op " " #b, ##__VA_ARGS__)
#define TR_CHECK_MEM(fatal, a, op, b, size, ...)                                                                       \
    TR_CHECK(fatal, memcmp((a), (b), (size)) op 0, "bytes: " #a " " #op " " #b, ##__VA_ARGS__)
#define TR_CHECK_NEAR(fatal, a, b, epsilon, ...)                                                                       \
    TR_CHECK(fatal, fabs((double)(a) - (double)(b)) <= (double)(epsilon), #a " ~ " #b, ##__VA_ARGS__)

#define cr_assert(condition, ...) TR_CHECK(true, condition, #condition, ##__VA_ARGS__)
#define cr_assert_not(condition, ...) TR_CHECK(true, !(condition), "not " #condition, ##__VA_ARGS__)
#define cr_assert_eq(a, b, ...) TR_CHECK_OP(true, a, ==, b, ##__VA_ARGS__)
#define cr_assert_neq(a, b, ...) TR_CHECK_OP(true, a, !=, b, ##__VA_ARGS__)
#define cr_assert_lt(a, b, ...) TR_CHECK_OP(true, a, <, b, ##__VA_ARGS__)
#define cr_assert_leq(a, b, ...) TR_CHECK_OP(true, a, <=, b, ##__VA_ARGS__)
#define cr_assert_gt(a, b, ...) TR_CHECK_OP(true, a, >, b, ##__VA_ARGS__)
#define cr_assert_geq(a, b, ...) TR_CHECK_OP(true, a, >=, b, ##__VA_ARGS__)
#define cr_assert_null(a, ...) TR_CHECK_OP(true, a, ==, NULL, ##__VA_ARGS__)
#define cr_assert_not_null(a, ...) TR_CHECK_OP(true, a, !=, NULL, ##__VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) TR_CHECK_STR(true, a, ==, b, ##__VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) TR_CHECK_STR(true, a, !=, b, ##__VA_ARGS__)
#define cr_assert_str_empty(a, ...) TR_CHECK(true, (a)[0] == '\0', "empty: " #a, ##__VA_ARGS__)
#define cr_assert_str_not_empty(a, ...) TR_CHECK(true, (a)[0] != '\0', "not empty: " #a, ##__VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) TR_CHECK_MEM(true, a, ==, b, size, ##__VA_ARGS__)
#define cr_assert_arr_neq(a, b, size, ...) TR_CHECK_MEM(true, a, !=, b, size, ##__VA_ARGS__)
#define cr_assert_float_eq(a, b, epsilon, ...) TR_CHECK_NEAR(true, a, b, epsilon, ##__VA_ARGS__)
#define cr_assert_fail(...) TR_CHECK(true, false, "fail", ##__VA_ARGS__)

#define cr_expect(condition, ...) TR_CHECK(false, condition, #condition, ##__VA_ARGS__)
#define cr_expect_not(condition, ...) TR_CHECK(false, !(condition), "not " #condition, ##__VA_ARGS__)
#define cr_expect_eq(a, b, ...) TR_CHECK_OP(false, a, ==, b, ##__VA_ARGS__)
#define cr_expect_neq(a, b, ...) TR_CHECK_OP(false, a, !=, b, ##__VA_ARGS__)
#define cr_expect_lt(a, b, ...) TR_CHECK_OP(false, a, <, b, ##__VA_ARGS__)
#define cr_expect_leq(a, b, ...) TR_CHECK_OP(false, a, <=, b, ##__VA_ARGS__)
#define cr_expect_gt(a, b, ...) TR_CHECK_OP(false, a, >, b, ##__VA_ARGS__)
#define cr_expect_geq(a, b, ...) TR_CHECK_OP(false, a, >=, b, ##__VA_ARGS__)
#define cr_expect_null(a, ...) TR_CHECK_OP(false, a, ==, NULL, ##__VA_ARGS__)
#define cr_expect_not_null(a, ...) TR_CHECK_OP(false, a, !=, NULL, ##__VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) TR_CHECK_STR(false, a, ==, b, ##__VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) TR_CHECK_STR(false, a, !=, b, ##__VA_ARGS__)
#define cr_expect_str_empty(a, ...) TR_CHECK(false, (a)[0] == '\0', "empty: " #a, ##__VA_ARGS__)
#define cr_expect_str_not_empty(a, ...) TR_CHECK(false, (a)[0] != '\0', "not empty: " #a, ##__VA_ARGS__)
#define cr_expect_arr_eq(a, b, size, ...) TR_CHECK_MEM(false, a, ==, b, size, ##__VA_ARGS__)
#define cr_expect_arr_neq(a, b, size, ...) TR_CHECK_MEM(false, a, !=, b, size, ##__VA_ARGS__)
#define cr_expect_float_eq(a, b, epsilon, ...) TR_CHECK_NEAR(false, a, b, epsilon, ##__VA_ARGS__)
#define cr_expect_fail(...) TR_CHECK(false, false, "fail", ##__VA_ARGS__)

#define cr_fail(...) TR_CHECK(false, false, "fail", ##__VA_ARGS__)
#define cr_fatal(...) TR_CHECK(true, false, "fatal", ##__VA_ARGS__)
#define cr_skip(...) tr_test_skip(" " __VA_ARGS__)
#define cr_skip_test(...) tr_test_skip(" " __VA_ARGS__)
#define cr_log(level, ...) tr_test_log(__VA_ARGS__)
#define cr_log_info(...) tr_test_log(__VA_ARGS__)
#define cr_log_warn(...) tr_test_log(__VA_ARGS__)
#define cr_log_error(...) tr_test_log(__VA_ARGS__)

#endif /* TR_TSAN_CRITERION_H */
