/* Sums, means and extremes of four windows at a time. Lane i carries window i of a group through
 * its own additions in their own order, so that the results are those of the scalar definition to
 * the bit: nothing is reassociated, and there is no fused multiply-add. */
#include "fn_private.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 4
#define TARGET __attribute__((target("avx2")))
#define TARGET_INLINE static inline __attribute__((target("avx2"), always_inline))

/* Four neighbouring steps, none of whose windows is empty. */
struct group {
    const double *values;
    __m128i lo;
    __m128i last; /* hi - 1. */
    __m128i counts;
    uint32_t first;     /* lo of lane 0. */
    uint32_t count_min; /* Windows of a regular series are all as long as the shortest. */
    uint32_t count_max;
    bool is_contiguous; /* Each window starts one sample after the one before. */
};

/* A sum with what it lost, or an extreme in sum. */
struct lanes {
    __m256d sum;
    __m256d lost;
};

TARGET_INLINE bool group_init(struct group *g, const struct tide__windows *w, const double *values,
                              size_t s)
{
    uint32_t counts[LANES];

    g->values = values;
    g->first = w->lo[s];
    g->count_min = UINT32_MAX;
    g->count_max = 0;
    g->is_contiguous = true;
    for (size_t i = 0; i < LANES; i++) {
        counts[i] = w->hi[s + i] - w->lo[s + i];
        if (counts[i] < g->count_min)
            g->count_min = counts[i];
        if (counts[i] > g->count_max)
            g->count_max = counts[i];
        g->is_contiguous &= w->lo[s + i] == w->lo[s] + i;
    }
    g->lo = _mm_loadu_si128((const __m128i *)(const void *)(w->lo + s));
    g->last = _mm_sub_epi32(_mm_loadu_si128((const __m128i *)(const void *)(w->hi + s)),
                            _mm_set1_epi32(1));
    g->counts = _mm_loadu_si128((const __m128i *)(const void *)counts);
    return g->count_min > 0;
}

/* Sample k of each window; of a shorter one its last. Indices stay under 2^31: a query's limit on
 * samples is far lower. */
TARGET_INLINE __m256d group_load(const struct group *g, uint32_t k)
{
    __m128i at;

    if (g->is_contiguous && k < g->count_min)
        return _mm256_loadu_pd(g->values + g->first + k);
    at = _mm_min_epu32(_mm_add_epi32(g->lo, _mm_set1_epi32((int)k)), g->last);
    return _mm256_i32gather_pd(g->values, at, 8);
}

TARGET_INLINE __m256d absolute(__m256d v)
{
    return _mm256_andnot_pd(_mm256_set1_pd(-0.0), v);
}

/* tide__kahan_add() but for its care about infinities: once a sum is infinite or NaN it stays so,
 * and what it lost is not read any more. */
TARGET_INLINE struct lanes add(struct lanes k, __m256d v)
{
    __m256d sum = _mm256_add_pd(k.sum, v);
    __m256d swap = _mm256_cmp_pd(absolute(k.sum), absolute(v), _CMP_GE_OQ);
    __m256d large = _mm256_blendv_pd(v, k.sum, swap);
    __m256d small = _mm256_blendv_pd(k.sum, v, swap);
    __m256d lost = _mm256_add_pd(_mm256_sub_pd(large, sum), small);

    return (struct lanes){sum, _mm256_add_pd(k.lost, lost)};
}

TARGET_INLINE struct lanes extreme(struct lanes k, __m256d v, bool is_max)
{
    __m256d better =
        is_max ? _mm256_cmp_pd(v, k.sum, _CMP_GT_OQ) : _mm256_cmp_pd(v, k.sum, _CMP_LT_OQ);
    __m256d nothing_yet = _mm256_cmp_pd(k.sum, k.sum, _CMP_UNORD_Q);

    return (struct lanes){_mm256_blendv_pd(k.sum, v, _mm256_or_pd(better, nothing_yet)), k.lost};
}

TARGET_INLINE struct lanes advance(enum tide__reduction reduction, struct lanes k, __m256d v)
{
    if (reduction == TIDE__REDUCE_SUM || reduction == TIDE__REDUCE_AVG)
        return add(k, v);
    return extreme(k, v, reduction == TIDE__REDUCE_MAX);
}

TARGET_INLINE struct lanes blend(struct lanes a, struct lanes b, __m256d take_b)
{
    return (struct lanes){_mm256_blendv_pd(a.sum, b.sum, take_b),
                          _mm256_blendv_pd(a.lost, b.lost, take_b)};
}

TARGET_INLINE struct lanes group_reduce(enum tide__reduction reduction, const struct group *g)
{
    __m256d zero = _mm256_setzero_pd();
    bool from_zero = reduction == TIDE__REDUCE_SUM;
    struct lanes k = {from_zero ? zero : group_load(g, 0), zero};
    uint32_t i = from_zero ? 0 : 1;

    for (; i < g->count_min; i++)
        k = advance(reduction, k, group_load(g, i));
    for (; i < g->count_max; i++) {
        __m128i longer = _mm_cmpgt_epi32(g->counts, _mm_set1_epi32((int)i));
        __m256d mask = _mm256_castsi256_pd(_mm256_cvtepi32_epi64(longer));

        k = blend(k, advance(reduction, k, group_load(g, i)), mask);
    }
    return k;
}

/* False when a lane needs the definition: a mean whose sum is not finite. */
TARGET_INLINE bool group_finish(enum tide__reduction reduction, const struct group *g,
                                struct lanes k, double *out)
{
    __m256d infinity = _mm256_set1_pd(INFINITY);
    __m256d size = absolute(k.sum);
    __m256d result = k.sum;

    if (reduction == TIDE__REDUCE_SUM) {
        result = _mm256_blendv_pd(_mm256_add_pd(k.sum, k.lost), k.sum,
                                  _mm256_cmp_pd(size, infinity, _CMP_EQ_OQ));
    } else if (reduction == TIDE__REDUCE_AVG) {
        __m256d n = _mm256_cvtepi32_pd(g->counts);

        if (_mm256_movemask_pd(_mm256_cmp_pd(size, infinity, _CMP_LT_OQ)) != (1 << LANES) - 1)
            return false;
        result = _mm256_add_pd(_mm256_div_pd(k.sum, n), _mm256_div_pd(k.lost, n));
    }
    _mm256_storeu_pd(out, result);
    return true;
}

static void reduce_steps(enum tide__reduction reduction, const struct tide__windows *w,
                         const double *values, size_t step, size_t end, double *out)
{
    for (size_t s = step; s < end; s++)
        if (w->hi[s] > w->lo[s])
            out[s] = tide__window_reduce(reduction, values + w->lo[s], w->hi[s] - w->lo[s]);
}

TARGET_INLINE void reduce_all(enum tide__reduction reduction, const struct tide__windows *w,
                              const double *values, double *out)
{
    size_t s = 0;

    for (; s + LANES <= w->step_count; s += LANES) {
        struct group g;

        if (!group_init(&g, w, values, s) ||
            !group_finish(reduction, &g, group_reduce(reduction, &g), out + s))
            reduce_steps(reduction, w, values, s, s + LANES, out);
    }
    reduce_steps(reduction, w, values, s, w->step_count, out);
}

/* One copy of the loops per reduction, each with its operation inside. */
TARGET static void reduce_avx2(enum tide__reduction reduction, const struct tide__windows *w,
                               const double *values, double *out)
{
    switch (reduction) {
    case TIDE__REDUCE_SUM:
        reduce_all(TIDE__REDUCE_SUM, w, values, out);
        break;
    case TIDE__REDUCE_AVG:
        reduce_all(TIDE__REDUCE_AVG, w, values, out);
        break;
    case TIDE__REDUCE_MIN:
        reduce_all(TIDE__REDUCE_MIN, w, values, out);
        break;
    case TIDE__REDUCE_MAX:
        reduce_all(TIDE__REDUCE_MAX, w, values, out);
        break;
    }
}

bool tide__windows_reduce_avx2(enum tide__reduction reduction, const struct tide__windows *w,
                               const double *values, double *out)
{
    if (!__builtin_cpu_supports("avx2"))
        return false;
    reduce_avx2(reduction, w, values, out);
    return true;
}

#else

bool tide__windows_reduce_avx2(enum tide__reduction reduction, const struct tide__windows *w,
                               const double *values, double *out)
{
    (void)reduction;
    (void)w;
    (void)values;
    (void)out;
    return false;
}

#endif
