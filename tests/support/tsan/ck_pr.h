/* SPDX-License-Identifier: Apache-2.0
 *
 * ck_pr.h - Concurrency Kit's primitives for ThreadSanitizer builds.
 * Owns:      the whole ck_pr_* interface of CK 0.7.1 on x86-64, written with __atomic builtins that the sanitizer sees.
 * Used by:   every file of the `tsan` presets, CK's own headers included, because its folder precedes the system's.
 * Is not:    a check of memory orderings. Loads acquire, stores release and read-modify-writes are sequentially
 *            consistent, which is stronger than the real primitives: it finds unsynchronised accesses, not weak fences.
 *
 * CK's originals are inline assembly, which the sanitizer cannot see; every hand-off through a CK structure would look
 * like a race. What lives compiled in libck.so (the slow paths of ck_epoch) stays unseen. */
#ifndef CK_PR_H
#define CK_PR_H

#pragma GCC system_header /* as the original: its conversions are not ours to warn about */

#include <ck_cc.h>
#include <ck_limits.h>
#include <ck_md.h>
#include <ck_stdbool.h>
#include <ck_stdint.h>

#include <string.h>

/* Which operations exist: CK's headers ask by CK_F_PR_<OPERATION>. */
#if defined(__x86_64__)
#include <gcc/x86_64/ck_f_pr.h>
#else
#error "The ThreadSanitizer shim of ck_pr.h covers x86-64 only"
#endif
#define CK_F_PR

#define TR_INLINE CK_CC_INLINE static

/* --- barriers, fences, hints ------------------------------------------------------------------------------------- */

TR_INLINE void ck_pr_barrier(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

TR_INLINE void ck_pr_stall(void)
{
    __builtin_ia32_pause();
}

TR_INLINE void ck_pr_rfo(const void *m)
{
    __builtin_prefetch(m, 1);
}

#define TR_FENCE(name, order)                                                                                          \
    TR_INLINE void ck_pr_fence_##name(void)                                                                            \
    {                                                                                                                  \
        __atomic_thread_fence(order);                                                                                  \
    }                                                                                                                  \
    TR_INLINE void ck_pr_fence_strict_##name(void)                                                                     \
    {                                                                                                                  \
        __atomic_thread_fence(order);                                                                                  \
    }

TR_FENCE(load_depends, __ATOMIC_ACQUIRE)
TR_FENCE(acquire, __ATOMIC_ACQUIRE)
TR_FENCE(lock, __ATOMIC_ACQUIRE)
TR_FENCE(load, __ATOMIC_ACQUIRE)
TR_FENCE(load_store, __ATOMIC_ACQ_REL)
TR_FENCE(load_atomic, __ATOMIC_ACQ_REL)
TR_FENCE(release, __ATOMIC_RELEASE)
TR_FENCE(unlock, __ATOMIC_RELEASE)
TR_FENCE(store, __ATOMIC_RELEASE)
TR_FENCE(store_atomic, __ATOMIC_ACQ_REL)
TR_FENCE(acqrel, __ATOMIC_ACQ_REL)
TR_FENCE(atomic, __ATOMIC_ACQ_REL)
TR_FENCE(atomic_load, __ATOMIC_SEQ_CST)
TR_FENCE(atomic_store, __ATOMIC_ACQ_REL)
TR_FENCE(store_load, __ATOMIC_SEQ_CST)
TR_FENCE(memory, __ATOMIC_SEQ_CST)
#undef TR_FENCE

/* --- one word ---------------------------------------------------------------------------------------------------- *
 * S is CK's name of the width, M what the target points to in the signature, T the type it is handled as, and C the
 * type a compare-and-swap speaks of: they differ for `ptr` only, where targets are `void *` and arithmetic is
 * integer. */

#define TR_LOAD_STORE(S, M, T, LOADED, STORED)                                                                         \
    TR_INLINE LOADED ck_pr_md_load_##S(const M *target)                                                                \
    {                                                                                                                  \
        return (LOADED)__atomic_load_n((const T *)target, __ATOMIC_ACQUIRE);                                           \
    }                                                                                                                  \
    TR_INLINE void ck_pr_md_store_##S(M *target, STORED value)                                                         \
    {                                                                                                                  \
        __atomic_store_n((T *)target, (T)value, __ATOMIC_RELEASE);                                                     \
    }

#define TR_SWAP(S, M, T, C)                                                                                            \
    TR_INLINE C ck_pr_fas_##S(M *target, C value)                                                                      \
    {                                                                                                                  \
        return (C)__atomic_exchange_n((T *)target, (T)value, __ATOMIC_SEQ_CST);                                        \
    }                                                                                                                  \
    TR_INLINE bool ck_pr_cas_##S##_value(M *target, C compare, C set, M *value)                                        \
    {                                                                                                                  \
        T seen = (T)compare;                                                                                           \
        bool done =                                                                                                    \
            __atomic_compare_exchange_n((T *)target, &seen, (T)set, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
        *(T *)value = seen;                                                                                            \
        return done;                                                                                                   \
    }                                                                                                                  \
    TR_INLINE bool ck_pr_cas_##S(M *target, C compare, C set)                                                          \
    {                                                                                                                  \
        T seen = (T)compare;                                                                                           \
        return __atomic_compare_exchange_n((T *)target, &seen, (T)set, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
    }

#define TR_BINARY(K, BUILTIN, S, M, T)                                                                                 \
    TR_INLINE void ck_pr_##K##_##S(M *target, T value)                                                                 \
    {                                                                                                                  \
        (void)BUILTIN((T *)target, value, __ATOMIC_SEQ_CST);                                                           \
    }

/* A unary operation, and whether it left zero behind: once as a result, once through a pointer. */
#define TR_UNARY(K, S, M, T, BUILTIN)                                                                                  \
    TR_INLINE bool ck_pr_##K##_##S##_is_zero(M *target)                                                                \
    {                                                                                                                  \
        return BUILTIN((T *)target, (T)1, __ATOMIC_SEQ_CST) == (T)0;                                                   \
    }                                                                                                                  \
    TR_INLINE void ck_pr_##K##_##S##_zero(M *target, bool *zero)                                                       \
    {                                                                                                                  \
        *zero = ck_pr_##K##_##S##_is_zero(target);                                                                     \
    }                                                                                                                  \
    TR_INLINE void ck_pr_##K##_##S(M *target)                                                                          \
    {                                                                                                                  \
        (void)ck_pr_##K##_##S##_is_zero(target);                                                                       \
    }

/* No builtin negates; a loop does. */
#define TR_NOT_NEG(S, M, T)                                                                                            \
    TR_INLINE void ck_pr_not_##S(M *target)                                                                            \
    {                                                                                                                  \
        (void)__atomic_fetch_xor((T *)target, (T) ~(T)0, __ATOMIC_SEQ_CST);                                            \
    }                                                                                                                  \
    TR_INLINE bool ck_pr_neg_##S##_is_zero(M *target)                                                                  \
    {                                                                                                                  \
        T seen = __atomic_load_n((T *)target, __ATOMIC_ACQUIRE);                                                       \
        while (!__atomic_compare_exchange_n((T *)target, &seen, (T)((T)0 - seen), false, __ATOMIC_SEQ_CST,             \
                                            __ATOMIC_SEQ_CST))                                                         \
            ck_pr_stall();                                                                                             \
        return seen == (T)0;                                                                                           \
    }                                                                                                                  \
    TR_INLINE void ck_pr_neg_##S##_zero(M *target, bool *zero)                                                         \
    {                                                                                                                  \
        *zero = ck_pr_neg_##S##_is_zero(target);                                                                       \
    }                                                                                                                  \
    TR_INLINE void ck_pr_neg_##S(M *target)                                                                            \
    {                                                                                                                  \
        (void)ck_pr_neg_##S##_is_zero(target);                                                                         \
    }

#define TR_ARITHMETIC(S, M, T)                                                                                         \
    TR_INLINE T ck_pr_faa_##S(M *target, T value)                                                                      \
    {                                                                                                                  \
        return __atomic_fetch_add((T *)target, value, __ATOMIC_SEQ_CST);                                               \
    }                                                                                                                  \
    TR_BINARY(add, __atomic_fetch_add, S, M, T)                                                                        \
    TR_BINARY(sub, __atomic_fetch_sub, S, M, T)                                                                        \
    TR_BINARY(and, __atomic_fetch_and, S, M, T)                                                                        \
    TR_BINARY(or, __atomic_fetch_or, S, M, T)                                                                          \
    TR_BINARY(xor, __atomic_fetch_xor, S, M, T)                                                                        \
    TR_UNARY(inc, S, M, T, __atomic_add_fetch)                                                                         \
    TR_UNARY(dec, S, M, T, __atomic_sub_fetch)                                                                         \
    TR_NOT_NEG(S, M, T)

/* Bit `b` is complemented, set or reset; the result is what it was. As the instructions, `b` counts modulo the
 * width. */
#define TR_BIT(S, M, T)                                                                                                \
    TR_INLINE T tr_bit_##S(unsigned int b)                                                                             \
    {                                                                                                                  \
        return (T)((T)1 << (b % (8 * sizeof(T))));                                                                     \
    }                                                                                                                  \
    TR_INLINE bool ck_pr_btc_##S(M *target, unsigned int b)                                                            \
    {                                                                                                                  \
        return (__atomic_fetch_xor((T *)target, tr_bit_##S(b), __ATOMIC_SEQ_CST) & tr_bit_##S(b)) != 0;                \
    }                                                                                                                  \
    TR_INLINE bool ck_pr_bts_##S(M *target, unsigned int b)                                                            \
    {                                                                                                                  \
        return (__atomic_fetch_or((T *)target, tr_bit_##S(b), __ATOMIC_SEQ_CST) & tr_bit_##S(b)) != 0;                 \
    }                                                                                                                  \
    TR_INLINE bool ck_pr_btr_##S(M *target, unsigned int b)                                                            \
    {                                                                                                                  \
        return (__atomic_fetch_and((T *)target, (T)~tr_bit_##S(b), __ATOMIC_SEQ_CST) & tr_bit_##S(b)) != 0;            \
    }

#define TR_INTEGER(S, T)                                                                                               \
    TR_LOAD_STORE(S, T, T, T, T)                                                                                       \
    TR_SWAP(S, T, T, T)                                                                                                \
    TR_ARITHMETIC(S, T, T)

TR_INTEGER(char, char)
TR_INTEGER(int, int)
TR_INTEGER(uint, unsigned int)
TR_INTEGER(8, uint8_t)
TR_INTEGER(16, uint16_t)
TR_INTEGER(32, uint32_t)
TR_INTEGER(64, uint64_t)
TR_BIT(int, int, int)
TR_BIT(uint, unsigned int, unsigned int)
TR_BIT(16, uint16_t, uint16_t)
TR_BIT(32, uint32_t, uint32_t)
TR_BIT(64, uint64_t, uint64_t)

TR_LOAD_STORE(ptr, void, uintptr_t, void *, const void *)
TR_SWAP(ptr, void, uintptr_t, void *)
TR_ARITHMETIC(ptr, void, uintptr_t)
TR_BIT(ptr, void, uintptr_t)

#undef TR_LOAD_STORE
#undef TR_SWAP
#undef TR_BINARY
#undef TR_UNARY
#undef TR_NOT_NEG
#undef TR_ARITHMETIC
#undef TR_BIT
#undef TR_INTEGER

/* --- doubles, by their bits --------------------------------------------------------------------------------------- */

#ifndef CK_PR_DISABLE_DOUBLE
TR_INLINE uint64_t tr_bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

TR_INLINE double tr_double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

typedef uint64_t CK_CC_ALIASED tr_double_word;

TR_INLINE double ck_pr_md_load_double(const double *target)
{
    return tr_double_of(__atomic_load_n((const tr_double_word *)(const void *)target, __ATOMIC_ACQUIRE));
}

TR_INLINE void ck_pr_md_store_double(double *target, double value)
{
    __atomic_store_n((tr_double_word *)(void *)target, tr_bits_of(value), __ATOMIC_RELEASE);
}

TR_INLINE double ck_pr_fas_double(double *target, double value)
{
    return tr_double_of(__atomic_exchange_n((tr_double_word *)(void *)target, tr_bits_of(value), __ATOMIC_SEQ_CST));
}

TR_INLINE bool ck_pr_cas_double_value(double *target, double compare, double set, double *value)
{
    tr_double_word seen = tr_bits_of(compare);
    bool done = __atomic_compare_exchange_n((tr_double_word *)(void *)target, &seen, tr_bits_of(set), false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    *value = tr_double_of(seen);
    return done;
}

TR_INLINE bool ck_pr_cas_double(double *target, double compare, double set)
{
    double seen;
    return ck_pr_cas_double_value(target, compare, set, &seen);
}

TR_INLINE double ck_pr_faa_double(double *target, double value)
{
    double seen = ck_pr_md_load_double(target);
    while (!ck_pr_cas_double_value(target, seen, seen + value, &seen))
        ck_pr_stall();
    return seen;
}

TR_INLINE void ck_pr_add_double(double *target, double value)
{
    (void)ck_pr_faa_double(target, value);
}

TR_INLINE void ck_pr_sub_double(double *target, double value)
{
    (void)ck_pr_faa_double(target, -value);
}

TR_INLINE void ck_pr_inc_double(double *target)
{
    (void)ck_pr_faa_double(target, 1);
}

TR_INLINE void ck_pr_dec_double(double *target)
{
    (void)ck_pr_faa_double(target, -1);
}

TR_INLINE void ck_pr_neg_double(double *target)
{
    double seen = ck_pr_md_load_double(target);
    while (!ck_pr_cas_double_value(target, seen, -seen, &seen))
        ck_pr_stall();
}
#endif /* CK_PR_DISABLE_DOUBLE */

/* --- two words, 16 bytes aligned, by cmpxchg16b (the tsan presets compile with -mcx16) ---------------------------- */

typedef unsigned __int128 CK_CC_ALIASED tr_two_words;

TR_INLINE bool ck_pr_cas_64_2_value(uint64_t target[2], uint64_t compare[2], uint64_t set[2], uint64_t value[2])
{
    tr_two_words seen, wanted;
    memcpy(&seen, compare, sizeof seen);
    memcpy(&wanted, set, sizeof wanted);
    bool done = __atomic_compare_exchange_n((tr_two_words *)(void *)target, &seen, wanted, false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST);
    memcpy(value, &seen, sizeof seen);
    return done;
}

TR_INLINE bool ck_pr_cas_64_2(uint64_t target[2], uint64_t compare[2], uint64_t set[2])
{
    uint64_t seen[2];
    return ck_pr_cas_64_2_value(target, compare, set, seen);
}

TR_INLINE void ck_pr_load_64_2(const uint64_t target[2], uint64_t value[2])
{
    tr_two_words seen = __atomic_load_n((const tr_two_words *)(const void *)target, __ATOMIC_ACQUIRE);
    memcpy(value, &seen, sizeof seen);
}

TR_INLINE bool ck_pr_cas_ptr_2_value(void *target, void *compare, void *set, void *value)
{
    return ck_pr_cas_64_2_value((uint64_t *)target, (uint64_t *)compare, (uint64_t *)set, (uint64_t *)value);
}

TR_INLINE bool ck_pr_cas_ptr_2(void *target, void *compare, void *set)
{
    return ck_pr_cas_64_2((uint64_t *)target, (uint64_t *)compare, (uint64_t *)set);
}

TR_INLINE void ck_pr_load_ptr_2(const void *target, void *value)
{
    ck_pr_load_64_2((const uint64_t *)target, (uint64_t *)value);
}

#define TR_VECTOR_CAS(S, N, T)                                                                                         \
    TR_INLINE bool ck_pr_cas_##S##_##N##_value(T *target, T compare[N], T set[N], T *value)                            \
    {                                                                                                                  \
        return ck_pr_cas_ptr_2_value(target, compare, set, value);                                                     \
    }                                                                                                                  \
    TR_INLINE bool ck_pr_cas_##S##_##N(T target[N], T compare[N], T set[N])                                            \
    {                                                                                                                  \
        return ck_pr_cas_ptr_2(target, compare, set);                                                                  \
    }
#define TR_VECTOR(S, N, T)                                                                                             \
    TR_VECTOR_CAS(S, N, T)                                                                                             \
    TR_INLINE void ck_pr_md_load_##S##_##N(const T target[N], T value[N])                                              \
    {                                                                                                                  \
        ck_pr_load_ptr_2(target, value);                                                                               \
    }

TR_VECTOR(char, 16, char)
TR_VECTOR(int, 4, int)
TR_VECTOR(uint, 4, unsigned int)
TR_VECTOR(8, 16, uint8_t)
TR_VECTOR(16, 8, uint16_t)
TR_VECTOR(32, 4, uint32_t)
#ifndef CK_PR_DISABLE_DOUBLE
TR_VECTOR_CAS(double, 2, double)
#endif
#undef TR_VECTOR
#undef TR_VECTOR_CAS

#undef TR_INLINE

/* --- the names users write: loads keep the target's pointer type, stores check the value's type ------------------- */

#define ck_pr_load_ptr(SRC) ((CK_CC_TYPEOF(*(SRC), (void *)))ck_pr_md_load_ptr((SRC)))
#define ck_pr_load_char(SRC) ck_pr_md_load_char((SRC))
#define ck_pr_load_double(SRC) ck_pr_md_load_double((SRC))
#define ck_pr_load_uint(SRC) ck_pr_md_load_uint((SRC))
#define ck_pr_load_int(SRC) ck_pr_md_load_int((SRC))
#define ck_pr_load_64(SRC) ck_pr_md_load_64((SRC))
#define ck_pr_load_32(SRC) ck_pr_md_load_32((SRC))
#define ck_pr_load_16(SRC) ck_pr_md_load_16((SRC))
#define ck_pr_load_8(SRC) ck_pr_md_load_8((SRC))

#define TR_STORE(S, DST, VAL) ck_pr_md_store_##S(((void)sizeof(*(DST) = (VAL)), (DST)), (VAL))
#define ck_pr_store_ptr(DST, VAL) TR_STORE(ptr, DST, VAL)
#define ck_pr_store_ptr_unsafe(DST, VAL) ck_pr_md_store_ptr((DST), (VAL))
#define ck_pr_store_char(DST, VAL) TR_STORE(char, DST, VAL)
#define ck_pr_store_double(DST, VAL) TR_STORE(double, DST, VAL)
#define ck_pr_store_uint(DST, VAL) TR_STORE(uint, DST, VAL)
#define ck_pr_store_int(DST, VAL) TR_STORE(int, DST, VAL)
#define ck_pr_store_64(DST, VAL) TR_STORE(64, DST, VAL)
#define ck_pr_store_32(DST, VAL) TR_STORE(32, DST, VAL)
#define ck_pr_store_16(DST, VAL) TR_STORE(16, DST, VAL)
#define ck_pr_store_8(DST, VAL) TR_STORE(8, DST, VAL)

#endif /* CK_PR_H */
