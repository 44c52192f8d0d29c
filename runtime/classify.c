/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/classify.h"

#include "runtime/fault_support.h"

#if TR_FAULTS

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>

#include "io/loop.h"
#include "runtime/actor.h"
#include "runtime/mailbox.h"
#include "sched/pool.h"

/* The chain that is recovered, innermost first: user frames, at least one; runtime frames, of which the last is the
 * boundary's. So a runtime function that user code called is refused, and so is user code that such a function
 * called back. In front of the user frames there may be
 *   - one frame of libc's that never moves the stack pointer (memcpy, strlen): it calls nothing and holds no lock.
 *     A heuristic: glibc's functions that take one, free and sprintf among them, save registers.
 *   - a jump to where no code is, if the word on top of the stack is the return address of a call in user code. */

#define RANGES_MAX 4
#define BELOW_STACK_MAX (1u << 20)
#define HIDDEN __attribute__((visibility("hidden")))

/* The linker's names for begin and end of the section that the build gives the static library's code (see
 * cmake/section.cmake). Not there in the shared library, which is a module of its own. */
extern const char __start_troupe_text[] __attribute__((weak)) HIDDEN;
extern const char __stop_troupe_text[] __attribute__((weak)) HIDDEN;

struct range {
    uintptr_t begin, end;
};

static struct {
    struct range main_code[RANGES_MAX]; /* executable segments of the main program */
    unsigned main_code_count;
    bool main_is_dynamic;
    struct range runtime, libc;
} known;

static bool within(struct range r, uintptr_t pc)
{
    return pc >= r.begin && pc < r.end;
}

/* --- looking at the program -------------------------------------------------------------------------------------- */

/* dl_iterate_phdr: the first one is the main program. */
static int look_at_main(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    known.main_code_count = 0;
    known.main_is_dynamic = false;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_INTERP)
            known.main_is_dynamic = true;
        if (header->p_type == PT_LOAD && header->p_flags & PF_X && known.main_code_count < RANGES_MAX)
            known.main_code[known.main_code_count++] = (struct range){begin, begin + header->p_memsz};
    }
    return 1;
}

static bool in_main(uintptr_t pc)
{
    for (unsigned i = 0; i < known.main_code_count; i++)
        if (within(known.main_code[i], pc))
            return true;
    return false;
}

static struct range module_of(uintptr_t pc)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)pc, &found) != 0)
        return (struct range){0, 0};
    return (struct range){(uintptr_t)found.dlfo_map_start, (uintptr_t)found.dlfo_map_end};
}

/* Some functions of all layers: that the range holds them shows that the build did what it should. */
static bool holds_the_runtime(struct range r)
{
    const uintptr_t some[] = {(uintptr_t)tr_actor_run, (uintptr_t)tr_classify_prepare, (uintptr_t)tr_mailbox_fetch,
                              (uintptr_t)tr_loop_clock, (uintptr_t)tr_pool_create};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        if (!within(r, some[i]))
            return false;
    return true;
}

/* A function's own address, even if the program has an entry for it in its PLT; 0: the program defines it itself. */
static uintptr_t library_function(const char *name)
{
    void *fn = dlsym(RTLD_DEFAULT, name);
    if (fn && in_main((uintptr_t)fn))
        fn = dlsym(RTLD_NEXT, name);
    return (uintptr_t)fn;
}

/* An allocator inside of the program would count as user code, and a fault in it as one that holds no lock. */
static bool main_defines(const char *name)
{
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    void *fn = dlsym(RTLD_DEFAULT, name);
    return fn && in_main((uintptr_t)fn) && dladdr1(fn, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol &&
           symbol->st_shndx != SHN_UNDEF;
}

const char *tr_classify_prepare(void)
{
    dl_iterate_phdr(look_at_main, NULL);
    if (!known.main_is_dynamic)
        return "the program is linked statically: libc's code cannot be told from its own";
    if (in_main((uintptr_t)tr_classify_prepare))
        known.runtime = (struct range){(uintptr_t)__start_troupe_text, (uintptr_t)__stop_troupe_text};
    else
        known.runtime = module_of((uintptr_t)tr_classify_prepare);
    if (!holds_the_runtime(known.runtime))
        return "the runtime's code cannot be told from the program's: libtroupe was linked without its own section";
    known.libc = module_of(library_function("gnu_get_libc_version"));
    if (known.libc.begin == known.libc.end || in_main(known.libc.begin))
        return "libc was not found";
    if (main_defines("malloc")) /* so do clang's sanitizers, which are linked into the program */
        return "the program has a malloc of its own: its code cannot be told from the actors'";
    return NULL;
}

enum tr_origin tr_classify_pc(uintptr_t pc)
{
    if (within(known.runtime, pc))
        return TR_ORIGIN_RUNTIME;
    if (in_main(pc))
        return TR_ORIGIN_USER;
    if (within(known.libc, pc))
        return TR_ORIGIN_LIBC;
    struct range module = module_of(pc);
    if (module.begin == module.end || within(module, known.main_code[0].begin))
        return TR_ORIGIN_UNKNOWN; /* the main program's data too */
    return TR_ORIGIN_LIBRARY;
}

/* --- a fault ----------------------------------------------------------------------------------------------------- */

static enum tr_origin origin(const struct tr_classify *c)
{
    return tr_classify_pc(c->at.reg[TR_REG_PC] - c->at.called);
}

static void note_frame(struct tr_classify *c)
{
    if (c->frames_count < c->frames_max)
        c->frames[c->frames_count++] = c->at.reg[TR_REG_PC];
}

static bool step(struct tr_classify *c)
{
    if (!tr_unwind_step(&c->at))
        return false;
    note_frame(c);
    return true;
}

/* Do the bytes before a return address, which is in user code, end a call? Near calls: E8 and FF /2. */
static bool follows_call(uintptr_t ret)
{
    const unsigned char *end = (const unsigned char *)ret;
    if (tr_classify_pc(ret - 8) != TR_ORIGIN_USER)
        return false;
    if (end[-5] == 0xe8)
        return true;
    for (int length = 2; length <= 7; length++) {
        unsigned modrm = end[1 - length];
        if (end[-length] == 0xff && (modrm >> 3 & 7) == 2)
            return true;
    }
    return false;
}

/* A jump to where no code is: goes to its caller without looking at what is there. */
static const char *leave_wild(struct tr_classify *c)
{
    uintptr_t ret, pc = c->at.reg[TR_REG_PC];
    if (c->address_known && c->address != pc)
        return "it is in code that belongs to no module";
    if (!tr_unwind_read(&c->at, c->at.reg[TR_REG_SP], &ret) || tr_classify_pc(ret - 1) != TR_ORIGIN_USER ||
        !follows_call(ret))
        return "the program jumped to where no code is, and not by a call in its own code";
    c->at.reg[TR_REG_PC] = ret;
    c->at.reg[TR_REG_SP] += sizeof ret;
    c->at.called = true;
    note_frame(c);
    return NULL;
}

/* libc's frameless functions. */
static const char *leave_leaf(struct tr_classify *c)
{
    if (!step(c) || !c->at.frameless)
        return "it is in libc";
    return origin(c) == TR_ORIGIN_USER ? NULL : "it is in libc, and not called by the program's own code";
}

static const char *leave_innermost(struct tr_classify *c)
{
    switch (origin(c)) {
    case TR_ORIGIN_USER:
        return NULL;
    case TR_ORIGIN_RUNTIME:
        return "it is in the runtime's own code";
    case TR_ORIGIN_LIBC:
        return leave_leaf(c);
    case TR_ORIGIN_LIBRARY:
        return "it is in a library";
    case TR_ORIGIN_UNKNOWN:
        break;
    }
    return leave_wild(c);
}

/* From the first runtime frame to the boundary's, whose beginning is where the frame address and the return address
 * end. */
static const char *reach_boundary(struct tr_classify *c)
{
    uintptr_t end = c->boundary + 2 * sizeof(uintptr_t);
    while (origin(c) == TR_ORIGIN_RUNTIME) {
        uintptr_t sp = c->at.reg[TR_REG_SP];
        if (!step(c))
            return "the runtime's frames cannot be followed";
        if (c->at.cfa == end) {
            c->landing_sp = sp;
            return NULL;
        }
        if (c->at.cfa > end)
            return "the stack does not lead to the actor's activation";
    }
    return "the runtime called that code from inside of a function that the program called";
}

/* An overflow leaves the stack pointer below the stack, not far from it. */
static bool on_the_stack(const struct tr_unwind *u)
{
    uintptr_t sp = u->reg[TR_REG_SP];
    return sp < u->high && (sp >= u->low || u->low - sp <= BELOW_STACK_MAX);
}

const char *tr_classify(struct tr_classify *c)
{
    const char *why = on_the_stack(&c->at) ? leave_innermost(c) : "the stack pointer is not on the worker's stack";
    if (why)
        return why;
    for (;;) {
        switch (origin(c)) {
        case TR_ORIGIN_USER:
            if (!step(c))
                return "the stack cannot be followed";
            continue;
        case TR_ORIGIN_RUNTIME:
            return reach_boundary(c);
        case TR_ORIGIN_LIBC:
        case TR_ORIGIN_LIBRARY:
            return "a library called that code";
        case TR_ORIGIN_UNKNOWN:
            break;
        }
        return "the stack leads to where no code is";
    }
}

#endif
