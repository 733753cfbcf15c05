/* Assertions that stay on in release: for what only a defect of ours can make false. Users, peers
 * and disks get an error, never an assert. */
#ifndef TIDE_BASE_ASSERT_H
#define TIDE_BASE_ASSERT_H

_Noreturn void tide_assert_fail(const char *expr, const char *file, int line);

#define TIDE_ASSERT(expr) ((expr) ? (void)0 : tide_assert_fail(#expr, __FILE__, __LINE__))

/* For checks dearer than the work they guard; on in the dev, asan and tsan presets. */
#ifdef TIDE_SLOW_ASSERTS
#define TIDE_ASSERT_SLOW(expr) TIDE_ASSERT(expr)
#else
#define TIDE_ASSERT_SLOW(expr) ((void)0)
#endif

#endif
