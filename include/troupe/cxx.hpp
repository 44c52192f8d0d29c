/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviors in C++17: member functions as handlers, objects as state, exceptions as crashes. Header-only, over actor.h
 * and own.h: what is here runs where the C callback it stands for runs. Not a second API: verbs, and threads outside of
 * actors, use the C headers as they are. Needs exceptions, not RTTI.
 *
 *     class counter {
 *         std::vector<long> all;
 *     public:
 *         void on_add(troupe_ctx *, const add &message) { all.push_back(checked(message.by)); } // may throw
 *     };
 *     static constexpr troupe_behavior behavior = [] {
 *         troupe_behavior b = troupe::behavior<counter>("counter");
 *         b.handlers[ADD] = troupe::handler<&counter::on_add>("add");
 *         return b;
 *     }();
 *
 * An exception that leaves a handler or callback is a panic of the actor, once its way out is unwound: locals are
 * destroyed, then the exception is, then the incarnation ends as after troupe_panic. The crash says "threw TYPE: WHAT";
 * its backtrace ends at the handler. A thread's cancellation (abi::__forced_unwind) is no exception and passes.
 *
 * A panic unwinds nothing. troupe_panic, TROUPE_CHECK and the verbs that panic when memory is short (troupe_alloc,
 * troupe_scratch) leave by longjmp: while a local with a destructor lives between them and the runtime that is
 * undefined, and in a catch block the exception leaks. Throw where such locals live; panic where none do. */
#ifndef TROUPE_CXX_HPP
#define TROUPE_CXX_HPP

#if __cplusplus < 201703L || !defined(__cpp_exceptions)
#error "troupe/cxx.hpp needs C++17 (-std=c++17 or later) with exceptions"
#endif

#include <troupe/actor.h>
#include <troupe/own.h>

#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <new>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace troupe
{
namespace detail
{
/* In a catch block: what was thrown, as text. */
inline void describe(char (&out)[TROUPE_CRASH_TEXT], const char *what) noexcept
{
    /* Of an exception that is no C++ one the current type must not be asked for; its pointer is empty. */
    const std::type_info *type = std::current_exception() ? abi::__cxa_current_exception_type() : nullptr;
    char *readable = type ? abi::__cxa_demangle(type->name(), nullptr, nullptr, nullptr) : nullptr;
    const char *name = readable ? readable : type ? type->name() : "a foreign exception";
    std::snprintf(out, sizeof out, "threw %.96s%s%s", name, what ? ": " : "", what ? what : "");
    std::free(readable);
}

/* True: the call threw, and nothing is left of the exception but the text. A reference to a forced unwind is bound to
 * nothing, which is the library's doing and no news for a sanitizer. */
template <class Call>
__attribute__((no_sanitize("null", "alignment"))) bool threw(char (&out)[TROUPE_CRASH_TEXT], const Call &call)
{
    try {
        call();
        return false;
#ifdef __GLIBCXX__ /* other libraries do not show it to catch (...) */
    } catch (abi::__forced_unwind &) {
        throw;
#endif
    } catch (const std::exception &e) {
        describe(out, e.what());
    } catch (...) {
        describe(out, nullptr);
    }
    return true;
}

/* The boundary. The panic jumps out of this frame and its caller's: neither may hold what wants a destructor. */
template <class Call> void guarded(troupe_ctx *ctx, const Call &call)
{
    char text[TROUPE_CRASH_TEXT];
    if (threw(text, call))
        troupe_panic_at(ctx, "", 0, "%s", text);
}

/* The class whose object F works on (void: none), what F returns, and its parameters behind both. */
template <class R, class S, class... A> struct shape {
    using self = S;
};
template <class R, class S, class... A> shape<R, S, A...> shape_of(R (S::*)(troupe_ctx *, A...));
template <class R, class S, class... A> shape<R, S, A...> shape_of(R (S::*)(troupe_ctx *, A...) const);
template <class R, class... A> shape<R, void, A...> shape_of(R (*)(troupe_ctx *, A...));
template <class R, class S, class... A, class = std::enable_if_t<!std::is_const_v<S>>>
shape<R, S, A...> shape_of(R (*)(troupe_ctx *, S &, A...));
template <auto F> using self_of = typename decltype(shape_of(F))::self;

template <class S> S &object(void *self)
{
    return *std::launder(static_cast<S *>(self));
}
template <auto F, class S, class... A> decltype(auto) call(troupe_ctx *ctx, void *self, A &&...args)
{
    if constexpr (std::is_member_function_pointer_v<decltype(F)>) {
        self_of<F> &base = object<S>(self);
        return (base.*F)(ctx, std::forward<A>(args)...);
    } else if constexpr (!std::is_void_v<S>)
        return F(ctx, object<S>(self), std::forward<A>(args)...);
    else if constexpr (std::is_invocable_v<decltype(F), troupe_ctx *, void *, A...>)
        return F(ctx, self, std::forward<A>(args)...); /* written as for C */
    else
        return F(ctx, std::forward<A>(args)...);
}

template <class T> const T &read(const void *data)
{
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16,
                  "payloads and arguments are bytes aligned to 16");
    return *std::launder(static_cast<const T *>(data));
}

template <class A> using bare = std::remove_cv_t<std::remove_reference_t<A>>;
template <class A> inline constexpr bool is_message = std::is_same_v<bare<A>, const troupe_msg *>;
template <class A> inline constexpr bool is_bytes = std::is_same_v<bare<A>, std::string_view>;
template <class A> inline constexpr size_t size_of = is_bytes<A> ? TROUPE_ANY_SIZE : sizeof(A);
template <class A> inline constexpr size_t size_for = is_message<A> ? 0 : size_of<A>;

/* What a handler's parameter of type A is given; size_for is the payload's size that this wants. */
template <class A> decltype(auto) argument([[maybe_unused]] const troupe_msg *msg)
{
    static_assert(!std::is_reference_v<A> || std::is_const_v<std::remove_reference_t<A>>, "payloads are read only");
    static_assert(is_message<A> || !std::is_pointer_v<bare<A>>, "pointers go in a struct, C handlers through callback");
    if constexpr (is_message<A>)
        return msg;
    else if constexpr (is_bytes<A>)
        return std::string_view(static_cast<const char *>(troupe_payload(msg)), troupe_size(msg));
    else
        return read<bare<A>>(troupe_payload(msg));
}

template <auto F, class S, class... A> void handle(troupe_ctx *ctx, void *self, [[maybe_unused]] const troupe_msg *msg)
{
    guarded(ctx, [&] { call<F, S>(ctx, self, argument<A>(msg)...); });
}
template <auto F, class S, class R, class Self, class... A>
constexpr troupe_handler entry(const char *name, shape<R, Self, A...>)
{
    static_assert(std::is_void_v<R>, "nobody looks at what a handler returns");
    static_assert((0 + ... + !is_message<A>) <= 1, "a message has one payload");
    return {name, handle<F, S, A...>, (size_for<A> + ... + 0), nullptr, 0};
}

template <auto F, class S> struct adaptor {
    template <class R, class... A> using pointer = R (*)(troupe_ctx *, void *, A...);

    template <class R, class... A> static R run(troupe_ctx *ctx, void *self, A... args)
    {
        static_assert(!std::is_same_v<pointer<R, A...>, decltype(troupe_behavior::restarted)> || std::is_void_v<S>,
                      "`restarted` is called before `started` has made the object");
        if constexpr (std::is_void_v<R>) {
            guarded(ctx, [&] { call<F, S>(ctx, self, args...); });
        } else {
            R result{};
            guarded(ctx, [&] { result = call<F, S>(ctx, self, args...); });
            return result;
        }
    }
    template <class R, class... A> constexpr operator pointer<R, A...>() const
    {
        return &run<R, A...>;
    }
};
} // namespace detail

/* handler - an entry of troupe_behavior.handlers that calls F: a member function of the state's class, or a function
 * with S & behind ctx, or with none. S has to be given when F is of a base class of the state's.
 *     void F(troupe_ctx *)                       the payload is empty
 *     void F(troupe_ctx *, const T &)            it is a T, trivially copyable: the runtime checks for sizeof(T)
 *     void F(troupe_ctx *, std::string_view)     it is any bytes, there until F returns
 * and each with a const troupe_msg * behind, for its sender, or to reply. drop and retries are the caller's to set. */
template <auto F, class S = detail::self_of<F>> constexpr troupe_handler handler(const char *name)
{
    return detail::entry<F, S>(name, decltype(detail::shape_of(F)){});
}

/* callback - F as any other callback that is given ctx and self; it converts to the pointer that is wanted. F takes
 * what the C callback takes, but no self if it is a member function, or S & for it:
 *     b.stopped = troupe::callback<&counter::on_stopped>;      void counter::on_stopped(troupe_ctx *, troupe_reason)
 *     troupe_ask(ctx, to, GET, nullptr, 0, TROUPE_SEC(1), troupe::callback<&counter::on_answer>, nullptr);
 * `restarted` has no object yet, and takes a function without one. */
template <auto F, class S = detail::self_of<F>> inline constexpr detail::adaptor<F, S> callback{};

/* state - the memory of an actor's state that is a T: state_size is sizeof(troupe::state<T>), self points at the T.
 * make makes it, in `started`. ~T runs, without a ctx, when the incarnation ends, by crash, stop or kill: after
 * `stopped` or `crashed`, and what was deferred or owned since, by T's constructor too. No T: when its constructor
 * throws or panics, and after std::bad_alloc from make. */
template <class T> class state
{
    alignas(T) unsigned char room[sizeof(T)];
    bool alive;

  public:
    template <class... A> static T &make(troupe_ctx *ctx, void *self, A &&...args)
    {
        static_assert(alignof(T) <= 16, "the runtime aligns states to 16 bytes");
        auto end = [](void *memory) noexcept {
            if (std::exchange(static_cast<state *>(memory)->alive, false))
                detail::object<T>(memory).~T();
        };
        /* First the call, then the object: what T's constructor defers has to go before T does. */
        if (!std::is_trivially_destructible_v<T> && troupe_defer(ctx, end, self) < 0)
            throw std::bad_alloc();
        T *made = ::new (self) T(std::forward<A>(args)...);
        static_cast<state *>(self)->alive = true;
        return *made;
    }
};

/* started - troupe_behavior.started for a state<T>: makes it from T(troupe_ctx *, const Args &) or T(const Args &);
 * without Args from T() or T(troupe_ctx *). ctx is not for storing. */
template <class T, class Args = void> int started(troupe_ctx *ctx, void *self, [[maybe_unused]] const void *args)
{
    detail::guarded(ctx, [&] {
        if constexpr (std::is_constructible_v<T, troupe_ctx *, std::add_lvalue_reference_t<const Args>>)
            state<T>::make(ctx, self, ctx, detail::read<Args>(args));
        else if constexpr (!std::is_void_v<Args>)
            state<T>::make(ctx, self, detail::read<Args>(args));
        else if constexpr (std::is_default_constructible_v<T>)
            state<T>::make(ctx, self);
        else
            state<T>::make(ctx, self, ctx);
    });
    return 0;
}
/* The same, then int F(troupe_ctx *, const void *args) on the new object: for what returns a status. */
template <auto F, class T = detail::self_of<F>> int started(troupe_ctx *ctx, void *self, const void *args)
{
    started<T>(ctx, self, args);
    return detail::adaptor<F, T>::template run<int>(ctx, self, args);
}

/* behavior - a troupe_behavior whose state is a T, built from Args: name, sizes and `started` are set. */
template <class T, class Args = void> constexpr troupe_behavior behavior(const char *name)
{
    troupe_behavior b{};
    b.name = name;
    b.state_size = sizeof(state<T>);
    b.started = started<T, Args>;
    if constexpr (!std::is_void_v<Args>)
        b.args_size = sizeof(Args);
    return b;
}
} // namespace troupe
#endif
