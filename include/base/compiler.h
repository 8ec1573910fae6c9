/*
 * compiler.h - attributes, ownership helpers and assertions every file may use.
 *
 * Layer:   base
 * Threads: no state; safe anywhere.
 * Errors:  BUG_ON() ends the process: it is for our own mistakes, never for guest or host input.
 * Spec:    docs/architecture.md, "Faults".
 */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is this a build for ThreadSanitizer, or for any sanitizer that adds system calls? */
#if defined(__SANITIZE_THREAD__)
#define COMPILER_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define COMPILER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COMPILER_TSAN 1
#elif __has_feature(address_sanitizer)
#define COMPILER_ASAN 1
#endif
#endif

#define MUST_CHECK    __attribute__((warn_unused_result))
#define PRINTF(f, a)  __attribute__((format(printf, f, a)))
#define NORETURN      __attribute__((noreturn))
#define UNUSED        __attribute__((unused))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOINLINE      __attribute__((noinline))
#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Two lines of 64 bytes: the adjacent-line prefetcher makes them one unit of sharing. */
#define CACHE_ALIGN   128
#define CACHE_ALIGNED __attribute__((aligned(CACHE_ALIGN)))

/* Inside a loop that waits for another CPU: leave the core's resources to its sibling. */
static ALWAYS_INLINE void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#endif
}

/* The object of @type whose @member @ptr points to. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* A local that owns something: @fn gets the address of the variable when it leaves scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hand the ownership of local @p over: yields its value and leaves NULL behind. */
#define take(p)                                                                                    \
	({                                                                                         \
		__auto_type take_tmp_ = (p);                                                       \
		(p) = NULL;                                                                        \
		take_tmp_;                                                                         \
	})

/* The same for a file descriptor; leaves -1 behind. */
#define take_fd(fd)                                                                                \
	({                                                                                         \
		int take_fd_ = (fd);                                                               \
		(fd) = -1;                                                                         \
		take_fd_;                                                                          \
	})

/* Prints the broken claim and aborts. In every build. */
NORETURN void bug_on_failed(const char *file, int line, const char *claim);
#define BUG_ON(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(cond))                                                                \
			bug_on_failed(__FILE__, __LINE__, #cond);                                  \
	} while (0)

/* clang's thread-safety analysis; gcc sees nothing. */
#if defined(__clang__)
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif
#define CAPABILITY(name)         TSA(capability(name))
#define GUARDED_BY(l)            TSA(guarded_by(l))
#define ACQUIRES(...)            TSA(acquire_capability(__VA_ARGS__))
#define ACQUIRES_SHARED(...)     TSA(acquire_shared_capability(__VA_ARGS__))
#define RELEASES(...)            TSA(release_capability(__VA_ARGS__))
#define RELEASES_SHARED(...)     TSA(release_shared_capability(__VA_ARGS__))
#define TRY_ACQUIRES(...)        TSA(try_acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRES_SHARED(...) TSA(try_acquire_shared_capability(__VA_ARGS__))
#define MUST_HOLD(...)           TSA(requires_capability(__VA_ARGS__))
#define MUST_HOLD_SHARED(...)    TSA(requires_shared_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY         TSA(no_thread_safety_analysis)

#endif
