/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/unwind.h"

#include "runtime/fault_support.h"

#if TR_FAULTS

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* Tables, as the x86-64 psABI and the LSB lay them out:
 *   .eh_frame_hdr  a sorted table of (function, FDE), found by _dl_find_object, which is async-signal-safe FDE
 *   one function: where it begins, how long it is, a program CIE            what its FDEs share: factors, encodings,
 *   the program's beginning
 * A program is run up to the wanted pc; what is left is a row: how to compute the frame's beginning (CFA), and where
 * the caller's registers were saved. */

#define HDR_VERSION 1
#define ENC_UDATA4 0x03
#define ENC_PCREL_SDATA4 0x1b
#define ENC_DATAREL_SDATA4 0x3b
#define REMEMBERED_MAX 4
#define EXPRESSION_DEPTH 8
#define CALLEE_SAVED (1u << TR_REG_BX | 1u << TR_REG_BP | 0xfu << 12)

/* A part of a module that is being read. `bad` sticks once something did not fit. */
struct bytes {
    const unsigned char *at, *end;
    bool bad;
};

enum rule_kind {
    RULE_SAME,
    RULE_UNDEFINED,
    RULE_OFFSET,
    RULE_VAL_OFFSET,
    RULE_REGISTER,
    RULE_EXPRESSION,
    RULE_VAL_EXPRESSION
};

struct rule {
    enum rule_kind kind;
    int64_t offset; /* or a register's number */
    struct bytes expression;
};

struct row {
    struct rule reg[TR_REG_COUNT];
    bool cfa_is_expression;
    unsigned cfa_reg;
    int64_t cfa_offset;
    struct bytes cfa_expression;
};

struct program {
    uint64_t code_align;
    int64_t data_align;
    uintptr_t loc, pc; /* run while loc <= pc */
    struct row row, initial, remembered[REMEMBERED_MAX];
    unsigned depth;
    bool plain; /* no instruction changed anything so far */
};

struct fde {
    const unsigned char *module, *module_end; /* what may be read */
    uintptr_t begin, end;                     /* the function */
    uint64_t code_align;
    int64_t data_align;
    struct bytes initial, program;
};

TR_NO_SANITIZE bool tr_unwind_read(const struct tr_unwind *u, uintptr_t at, uintptr_t *out)
{
    if (at % sizeof(uintptr_t) != 0 || at < u->low || at >= u->high || u->high - at < sizeof(uintptr_t))
        return false;
    *out = *(const volatile uintptr_t *)at; /* it may be a poisoned or a dead part of the stack */
    return true;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static uint64_t fixed(struct bytes *b, size_t size)
{
    uint64_t value = 0;
    if (b->bad || (size_t)(b->end - b->at) < size) {
        b->bad = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)b->at[i] << 8 * i;
    b->at += size;
    return value;
}

static uint64_t leb(struct bytes *b, unsigned *bits, unsigned *last)
{
    uint64_t value = 0;
    *bits = 0;
    do {
        *last = (unsigned)fixed(b, 1);
        if (*bits >= 63)
            b->bad = true;
        if (b->bad)
            return 0;
        value |= (uint64_t)(*last & 0x7f) << *bits;
        *bits += 7;
    } while (*last & 0x80);
    return value;
}

static uint64_t uleb(struct bytes *b)
{
    unsigned bits, last;
    return leb(b, &bits, &last);
}

static int64_t sleb(struct bytes *b)
{
    unsigned bits, last;
    uint64_t value = leb(b, &bits, &last);
    if (!b->bad && bits < 64 && (last & 0x40))
        value |= ~UINT64_C(0) << bits;
    return (int64_t)value;
}

static struct bytes block(struct bytes *b)
{
    uint64_t size = uleb(b);
    struct bytes part = {b->at, b->at, true};
    if (b->bad || (uint64_t)(b->end - b->at) < size) {
        b->bad = true;
        return part;
    }
    b->at += size;
    return (struct bytes){part.at, b->at, false};
}

static int64_t signed32(struct bytes *b)
{
    return (int32_t)(uint32_t)fixed(b, 4);
}

/* --- finding a function's entry ---------------------------------------------------------------------------------- */

/* The length at `at` and what follows it. */
static struct bytes entry(const struct fde *f, const unsigned char *at)
{
    struct bytes b = {at, f->module_end, at < f->module || at >= f->module_end};
    uint64_t size = fixed(&b, 4);
    if (b.bad || size < 4 || size >= 0xfffffff0u || (uint64_t)(b.end - b.at) < size)
        return (struct bytes){at, at, true};
    b.end = b.at + size;
    return b;
}

/* A personality's pointer: skipped, not followed. */
static void skip_pointer(struct bytes *b)
{
    switch (fixed(b, 1) & 0x0f) {
    case 0x02:
    case 0x0a:
        fixed(b, 2);
        return;
    case 0x03:
    case 0x0b:
        fixed(b, 4);
        return;
    case 0x00:
    case 0x04:
    case 0x0c:
        fixed(b, 8);
        return;
    default:
        b->bad = true;
    }
}

static bool read_cie(struct fde *f, const unsigned char *at)
{
    struct bytes b = entry(f, at);
    bool pcrel = false;
    uint64_t id = fixed(&b, 4);
    uint64_t version = fixed(&b, 1);
    const unsigned char *augmentation = b.at;
    while (fixed(&b, 1) != 0 && !b.bad)
        ;
    f->code_align = uleb(&b);
    f->data_align = sleb(&b);
    uint64_t return_reg = version == 1 ? fixed(&b, 1) : uleb(&b);
    if (b.bad || id != 0 || (version != 1 && version != 3) || return_reg != TR_REG_PC || *augmentation != 'z')
        return false;
    struct bytes data = block(&b);
    for (const unsigned char *c = augmentation + 1; *c; c++) {
        if (*c == 'R')
            pcrel = fixed(&data, 1) == ENC_PCREL_SDATA4;
        else if (*c == 'L')
            fixed(&data, 1);
        else if (*c == 'P')
            skip_pointer(&data);
        else
            return false; /* 'S', a signal's frame, among others */
    }
    f->initial = b;
    return !b.bad && !data.bad && pcrel;
}

static bool read_fde(struct fde *f, const unsigned char *at)
{
    struct bytes b = entry(f, at);
    const unsigned char *field = b.at;
    uint64_t back = fixed(&b, 4);
    if (b.bad || back == 0 || back > (uint64_t)(field - f->module) || !read_cie(f, field - back))
        return false;
    uintptr_t here = (uintptr_t)b.at;
    f->begin = here + (uintptr_t)signed32(&b);
    f->end = f->begin + (uintptr_t)fixed(&b, 4);
    block(&b); /* where the language's own data is */
    f->program = b;
    return !b.bad;
}

/* The last entry of the sorted table that begins at or before pc. */
static bool search(struct fde *f, const unsigned char *hdr, uintptr_t pc)
{
    struct bytes b = {hdr, f->module_end, hdr < f->module || hdr >= f->module_end};
    uint64_t version = fixed(&b, 1);
    fixed(&b, 1);
    uint64_t count_enc = fixed(&b, 1), table_enc = fixed(&b, 1);
    fixed(&b, 4);
    uint64_t count = fixed(&b, 4), low = 0;
    if (b.bad || version != HDR_VERSION || count_enc != ENC_UDATA4 || table_enc != ENC_DATAREL_SDATA4 || count == 0 ||
        (uint64_t)(b.end - b.at) / 8 < count)
        return false;
    const unsigned char *table = b.at;
    for (uint64_t high = count; high - low > 1;) {
        uint64_t middle = low + (high - low) / 2;
        struct bytes row = {table + 8 * middle, f->module_end, false};
        if ((uintptr_t)hdr + (uintptr_t)signed32(&row) <= pc)
            low = middle;
        else
            high = middle;
    }
    struct bytes row = {table + 8 * low + 4, f->module_end, false};
    int64_t offset = signed32(&row);
    if (offset < f->module - hdr || offset >= f->module_end - hdr)
        return false;
    return read_fde(f, hdr + offset);
}

static bool find(struct fde *f, uintptr_t pc)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)pc, &found) != 0 || !found.dlfo_eh_frame)
        return false;
    f->module = found.dlfo_map_start;
    f->module_end = found.dlfo_map_end;
    return search(f, found.dlfo_eh_frame, pc) && pc >= f->begin && pc < f->end;
}

/* --- expressions: frames of functions that align their stack, and the PLT ---------------------------------------- */

struct stack {
    uintptr_t value[EXPRESSION_DEPTH];
    unsigned depth;
    bool bad;
};

static void push(struct stack *s, uintptr_t value)
{
    if (s->depth == EXPRESSION_DEPTH)
        s->bad = true;
    else
        s->value[s->depth++] = value;
}

static uintptr_t pop(struct stack *s)
{
    if (s->depth == 0) {
        s->bad = true;
        return 0;
    }
    return s->value[--s->depth];
}

static void binary(struct stack *s, unsigned op)
{
    uintptr_t b = pop(s), a = pop(s);
    switch (op) {
    case 0x1a:
        push(s, a & b);
        return;
    case 0x1c:
        push(s, a - b);
        return;
    case 0x22:
        push(s, a + b);
        return;
    case 0x24:
        push(s, b < 64 ? a << b : 0);
        return;
    case 0x2a:
        push(s, (intptr_t)a >= (intptr_t)b);
        return;
    default:
        s->bad = true;
    }
}

static void operation(const struct tr_unwind *u, struct stack *s, unsigned op, struct bytes *e)
{
    uintptr_t word = 0;
    if (op >= 0x30 && op <= 0x4f) {
        push(s, op - 0x30);
    } else if (op >= 0x70 && op < 0x70 + TR_REG_COUNT) {
        unsigned reg = op - 0x70;
        s->bad |= !(u->valid >> reg & 1);
        push(s, u->reg[reg] + (uintptr_t)sleb(e));
    } else if (op == 0x06) {
        s->bad |= !tr_unwind_read(u, pop(s), &word);
        push(s, word);
    } else if (op == 0x08) {
        push(s, (uintptr_t)fixed(e, 1));
    } else if (op == 0x23) {
        push(s, pop(s) + (uintptr_t)uleb(e));
    } else {
        binary(s, op);
    }
}

/* first: what is on the expression's stack before it begins, or NULL. */
static bool evaluate(const struct tr_unwind *u, struct bytes e, const uintptr_t *first, uintptr_t *out)
{
    struct stack s = {.depth = 0};
    if (first)
        push(&s, *first);
    while (!e.bad && !s.bad && e.at < e.end)
        operation(u, &s, (unsigned)fixed(&e, 1), &e);
    *out = pop(&s);
    return !e.bad && !s.bad;
}

/* --- a function's program ---------------------------------------------------------------------------------------- */

static struct rule *rule_of(struct program *p, struct bytes *b, uint64_t reg)
{
    static struct rule nowhere; /* never read */
    if (reg >= TR_REG_COUNT) {
        b->bad = true; /* vector registers are not saved in C */
        return &nowhere;
    }
    return &p->row.reg[reg];
}

static void set_rule(struct program *p, struct bytes *b, uint64_t reg, enum rule_kind kind, int64_t offset)
{
    struct rule *rule = rule_of(p, b, reg);
    if (!b->bad)
        *rule = (struct rule){.kind = kind, .offset = offset};
}

static void set_expression(struct program *p, struct bytes *b, enum rule_kind kind)
{
    struct rule *rule = rule_of(p, b, uleb(b));
    struct bytes expression = block(b);
    if (!b->bad)
        *rule = (struct rule){.kind = kind, .expression = expression};
}

static void restore_rule(struct program *p, struct bytes *b, uint64_t reg)
{
    struct rule *rule = rule_of(p, b, reg);
    if (!b->bad)
        *rule = p->initial.reg[reg];
}

static void set_cfa(struct program *p, uint64_t reg, int64_t offset)
{
    p->row.cfa_is_expression = false;
    p->row.cfa_reg = reg < TR_REG_COUNT ? (unsigned)reg : TR_REG_COUNT;
    p->row.cfa_offset = offset;
}

static void remember(struct program *p, struct bytes *b)
{
    if (p->depth == REMEMBERED_MAX)
        b->bad = true;
    else
        p->remembered[p->depth++] = p->row;
}

static void recall(struct program *p, struct bytes *b)
{
    if (p->depth == 0)
        b->bad = true;
    else
        p->row = p->remembered[--p->depth];
}

static void cfa_instruction(struct program *p, struct bytes *b, unsigned op)
{
    uint64_t reg;
    switch (op) {
    case 0x0c:
        reg = uleb(b);
        set_cfa(p, reg, (int64_t)uleb(b));
        return;
    case 0x0d:
        set_cfa(p, uleb(b), p->row.cfa_offset);
        return;
    case 0x0e:
        set_cfa(p, p->row.cfa_reg, (int64_t)uleb(b));
        return;
    case 0x0f:
        p->row.cfa_is_expression = true;
        p->row.cfa_expression = block(b);
        return;
    case 0x12:
        reg = uleb(b);
        set_cfa(p, reg, sleb(b) * p->data_align);
        return;
    case 0x13:
        set_cfa(p, p->row.cfa_reg, sleb(b) * p->data_align);
        return;
    default:
        b->bad = true;
    }
}

static void register_instruction(struct program *p, struct bytes *b, unsigned op)
{
    uint64_t reg;
    switch (op) {
    case 0x05:
        reg = uleb(b);
        set_rule(p, b, reg, RULE_OFFSET, (int64_t)uleb(b) * p->data_align);
        return;
    case 0x06:
        restore_rule(p, b, uleb(b));
        return;
    case 0x07:
        set_rule(p, b, uleb(b), RULE_UNDEFINED, 0);
        return;
    case 0x08:
        set_rule(p, b, uleb(b), RULE_SAME, 0);
        return;
    case 0x09:
        reg = uleb(b);
        set_rule(p, b, reg, RULE_REGISTER, (int64_t)uleb(b));
        return;
    case 0x10:
        set_expression(p, b, RULE_EXPRESSION);
        return;
    case 0x11:
        reg = uleb(b);
        set_rule(p, b, reg, RULE_OFFSET, sleb(b) * p->data_align);
        return;
    case 0x14:
        reg = uleb(b);
        set_rule(p, b, reg, RULE_VAL_OFFSET, (int64_t)uleb(b) * p->data_align);
        return;
    case 0x15:
        reg = uleb(b);
        set_rule(p, b, reg, RULE_VAL_OFFSET, sleb(b) * p->data_align);
        return;
    case 0x16:
        set_expression(p, b, RULE_VAL_EXPRESSION);
        return;
    default:
        cfa_instruction(p, b, op);
    }
}

/* True: the instruction only moved the location, or did nothing. */
static bool advance(struct program *p, struct bytes *b, unsigned op)
{
    if (op >> 6 == 1)
        p->loc += (op & 0x3f) * p->code_align;
    else if (op >= 0x02 && op <= 0x04)
        p->loc += fixed(b, (size_t)1 << (op - 2)) * p->code_align;
    else if (op == 0x2e)
        uleb(b); /* the size of pushed arguments, for exceptions */
    else
        return op == 0x00;
    return true;
}

static bool run(struct program *p, struct bytes b)
{
    while (!b.bad && b.at < b.end) {
        unsigned op = (unsigned)fixed(&b, 1);
        if (advance(p, &b, op)) {
            if (p->loc > p->pc)
                break;
            continue;
        }
        p->plain = false;
        if (op >> 6 == 2)
            set_rule(p, &b, op & 0x3f, RULE_OFFSET, (int64_t)uleb(&b) * p->data_align);
        else if (op >> 6 == 3)
            restore_rule(p, &b, op & 0x3f);
        else if (op == 0x0a)
            remember(p, &b);
        else if (op == 0x0b)
            recall(p, &b);
        else
            register_instruction(p, &b, op);
    }
    return !b.bad;
}

/* Does the whole program change nothing, wherever in the function one is? */
static bool changes_nothing(struct program *p, const struct fde *f)
{
    p->pc = UINTPTR_MAX;
    p->loc = f->begin;
    p->plain = true;
    return run(p, f->program) && p->plain;
}

/* --- a step ------------------------------------------------------------------------------------------------------ */

static bool find_cfa(const struct tr_unwind *u, const struct row *row, uintptr_t *cfa)
{
    if (row->cfa_is_expression)
        return evaluate(u, row->cfa_expression, NULL, cfa);
    if (row->cfa_reg >= TR_REG_COUNT || !(u->valid >> row->cfa_reg & 1))
        return false;
    *cfa = u->reg[row->cfa_reg] + (uintptr_t)row->cfa_offset;
    return true;
}

/* One register of the caller. True: it is known. *ok false: it should be and cannot be read. */
static bool restore(const struct tr_unwind *u, const struct rule *rule, unsigned reg, uintptr_t cfa, uintptr_t *out,
                    bool *ok)
{
    uintptr_t at = cfa + (uintptr_t)rule->offset;
    switch (rule->kind) {
    case RULE_UNDEFINED:
        return false;
    case RULE_SAME:
        *out = u->reg[reg];
        return u->valid & CALLEE_SAVED & 1u << reg;
    case RULE_REGISTER:
        if (rule->offset < 0 || rule->offset >= TR_REG_COUNT)
            return *ok = false;
        *out = u->reg[rule->offset];
        return u->valid >> rule->offset & 1;
    case RULE_VAL_OFFSET:
        *out = at;
        return true;
    case RULE_OFFSET:
        return *ok = tr_unwind_read(u, at, out);
    case RULE_EXPRESSION:
        return *ok = evaluate(u, rule->expression, &cfa, &at) && tr_unwind_read(u, at, out);
    case RULE_VAL_EXPRESSION:
        return *ok = evaluate(u, rule->expression, &cfa, out);
    }
    return *ok = false;
}

static bool apply(struct tr_unwind *u, const struct row *row)
{
    uintptr_t cfa, reg[TR_REG_COUNT] = {0};
    uint32_t valid = 1u << TR_REG_SP;
    bool ok = true;
    if (!find_cfa(u, row, &cfa) || cfa <= u->reg[TR_REG_SP] || cfa > u->high)
        return false; /* stacks grow down, so walks end */
    for (unsigned i = 0; i < TR_REG_COUNT && ok; i++)
        if (restore(u, &row->reg[i], i, cfa, &reg[i], &ok))
            valid |= 1u << i;
    reg[TR_REG_SP] = cfa;
    memcpy(u->reg, reg, sizeof reg);
    u->valid = valid;
    u->cfa = cfa;
    u->called = true;
    return ok && valid >> TR_REG_PC & 1;
}

/* --- what was looked up before ----------------------------------------------------------------------------------- */

static struct tr_unwind_memo *memo_of(struct tr_unwind *u, uintptr_t pc)
{
    return &u->memo[(pc ^ pc >> 4) % TR_UNWIND_MEMOS];
}

static bool small(int64_t offset)
{
    return offset >= INT32_MIN && offset <= INT32_MAX;
}

/* Keeps the row, if it is of the plain kind. */
static void keep(struct tr_unwind *u, uintptr_t pc, const struct row *row)
{
    struct tr_unwind_memo memo = {.pc = pc, .cfa_reg = row->cfa_reg, .cfa_offset = (int32_t)row->cfa_offset};
    if (row->cfa_is_expression || !small(row->cfa_offset))
        return;
    for (unsigned i = 0; i < TR_REG_COUNT; i++) {
        if (row->reg[i].kind == RULE_SAME)
            continue;
        if (row->reg[i].kind != RULE_OFFSET || !small(row->reg[i].offset))
            return;
        memo.saved |= 1u << i;
        memo.offset[i] = (int32_t)row->reg[i].offset;
    }
    *memo_of(u, pc) = memo;
}

static void recollect(const struct tr_unwind_memo *memo, struct row *row)
{
    row->cfa_reg = memo->cfa_reg;
    row->cfa_offset = memo->cfa_offset;
    for (unsigned i = 0; i < TR_REG_COUNT; i++)
        if (memo->saved >> i & 1)
            row->reg[i] = (struct rule){.kind = RULE_OFFSET, .offset = memo->offset[i]};
}

/* --- the whole of it --------------------------------------------------------------------------------------------- */

static bool look_up(struct tr_unwind *u, struct row *out)
{
    struct fde f;
    struct program p = {.pc = u->reg[TR_REG_PC] - u->called};
    if (!find(&f, p.pc))
        return false;
    p.code_align = f.code_align;
    p.data_align = f.data_align;
    p.loc = f.begin;
    p.row.cfa_reg = TR_REG_COUNT;
    if (!run(&p, f.initial))
        return false;
    p.initial = p.row;
    if (!run(&p, f.program))
        return false;
    *out = p.row;
    u->frameless = !u->called && changes_nothing(&p, &f);
    if (u->called)
        keep(u, u->reg[TR_REG_PC], out);
    return true;
}

bool tr_unwind_step(struct tr_unwind *u)
{
    struct row row = {.cfa_reg = TR_REG_COUNT};
    const struct tr_unwind_memo *memo = memo_of(u, u->reg[TR_REG_PC]);
    if (u->called && memo->pc == u->reg[TR_REG_PC] && memo->pc != 0) {
        u->frameless = false;
        recollect(memo, &row);
    } else if (!look_up(u, &row)) {
        return false;
    }
    return apply(u, &row);
}

__attribute__((noinline)) void tr_unwind_warm_up(void)
{
    struct tr_unwind u = {.called = true, .low = (uintptr_t)__builtin_frame_address(0)};
    u.high = u.low + 2 * sizeof(uintptr_t);
    u.reg[TR_REG_BP] = u.reg[TR_REG_SP] = u.low;
    u.reg[TR_REG_PC] = (uintptr_t)__builtin_return_address(0);
    u.valid = 1u << TR_REG_BP | 1u << TR_REG_SP | 1u << TR_REG_PC;
    (void)tr_unwind_step(&u);
}

#endif
