/* What base takes from C++: RE2 and the shortest float64 text. No exception passes this border. */
#ifndef TIDE_BASE_CXX_SHIM_PRIVATE_H
#define TIDE_BASE_CXX_SHIM_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- RE2: dot matches newline, both ends anchored, nothing logged ---- */

/* Bytes of RE2's program and caches for one pattern; also what makes it refuse hostile ones. */
#define TIDE__RE2_BYTES_MAX (1 << 20)
/* Bytes told of a bound of all matches. */
#define TIDE__RE2_RANGE_BYTES_MAX 32
#define TIDE__RE2_ERROR_BYTES 256

enum tide__re2_result { TIDE__RE2_OK, TIDE__RE2_BAD_PATTERN, TIDE__RE2_NO_MEMORY };

struct tide__re2_text {
    const char *ptr; /* NULL: the group took no part in the match. */
    size_t len;
};

/* error gets the NUL-terminated reason on TIDE__RE2_BAD_PATTERN. */
enum tide__re2_result tide__re2_new(const char *pattern, size_t len, void **out,
                                    char error[TIDE__RE2_ERROR_BYTES]);
void tide__re2_free(void *re2);
bool tide__re2_match(const void *re2, const char *text, size_t len);
/* Group 0 is the whole match. At most group_max groups are filled. */
bool tide__re2_match_groups(const void *re2, const char *text, size_t len,
                            struct tide__re2_text *groups, int group_max);
int tide__re2_group_count(const void *re2);                               /* Without group 0. */
int tide__re2_group_index(const void *re2, const char *name, size_t len); /* -1: none. */
/* Bounds of all matches. False when there are none to tell. */
bool tide__re2_range(const void *re2, char low[TIDE__RE2_RANGE_BYTES_MAX], size_t *low_len,
                     char high[TIDE__RE2_RANGE_BYTES_MAX], size_t *high_len);

/* ---- Floating point ---- */

/* The shortest digits that read back as v, which is finite, as "-1.5e+10"; no NUL. Answers how
 * many bytes; they are at most 24. */
size_t tide__double_to_text(double v, char text[32]);
/* Reads all of text, unsigned decimal digits with point and exponent. */
enum tide__double_result { TIDE__DOUBLE_OK, TIDE__DOUBLE_BAD, TIDE__DOUBLE_OUT_OF_RANGE };
enum tide__double_result tide__double_from_text(const char *text, size_t len, double *out);

#ifdef __cplusplus
}
#endif
#endif
