/* Compiler attributes, named once. Depends on nothing. */
#ifndef WEIR_BASE_COMPILER_H
#define WEIR_BASE_COMPILER_H

/* The caller must look at the result. */
#define MUST_USE __attribute__((warn_unused_result))

/* printf-like: `fmt` is the index of the format argument, `first` of the first value. */
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The struct of type `type` whose field `field` is at `ptr`. */
#define CONTAINER_OF(ptr, type, field) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))

#endif
