#include "tide/model/source.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"

/* All counters are relaxed: they bound a query, they order nothing. */

enum tide_err tide_query_check(const struct tide_query_limits *limits)
{
    if (limits == NULL)
        return TIDE_OK;
    if (atomic_load_explicit(&limits->canceled, memory_order_relaxed))
        return TIDE_ERR_CANCELED;
    if (limits->deadline_mono_ms != 0 && tide_clock_mono_ms() > limits->deadline_mono_ms)
        return TIDE_ERR_TIMEOUT;
    return TIDE_OK;
}

static void raise_peak(_Atomic uint64_t *peak, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(peak, memory_order_relaxed);

    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               peak, &seen, value, memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* Adds amount to *held unless that goes over max (0: none); *after is the sum. */
static bool charge(_Atomic uint64_t *held, uint64_t max, uint64_t amount, uint64_t *after)
{
    uint64_t before = atomic_load_explicit(held, memory_order_relaxed);

    do {
        /* Compared by subtraction: the sum could wrap. */
        if (max != 0 && (before > max || amount > max - before))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(held, &before, before + amount,
                                                    memory_order_relaxed, memory_order_relaxed));
    *after = before + amount;
    return true;
}

static void give_back(_Atomic uint64_t *held, uint64_t amount)
{
    uint64_t before = atomic_fetch_sub_explicit(held, amount, memory_order_relaxed);

    TIDE_ASSERT(before >= amount);
    (void)before;
}

static enum tide_err refuse(struct tide_query_limits *limits, uint64_t amount)
{
    uint64_t all = limits->budget == NULL
                       ? 0
                       : atomic_load_explicit(&limits->budget->memory_bytes, memory_order_relaxed);

    atomic_store_explicit(&limits->refused_bytes, amount, memory_order_relaxed);
    atomic_store_explicit(&limits->refused_budget_bytes, all, memory_order_relaxed);
    return TIDE_ERR_LIMIT;
}

enum tide_err tide_query_charge(struct tide_query_limits *limits, int64_t bytes)
{
    struct tide_query_budget *budget = limits == NULL ? NULL : limits->budget;
    const uint64_t amount = bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes;
    uint64_t after, all;

    if (limits == NULL)
        return TIDE_OK;
    if (bytes < 0) {
        give_back(&limits->memory_bytes, amount);
        if (budget != NULL)
            give_back(&budget->memory_bytes, amount);
        return TIDE_OK;
    }
    if (!charge(&limits->memory_bytes, limits->memory_bytes_max, amount, &after))
        return refuse(limits, amount);
    if (budget != NULL && !charge(&budget->memory_bytes, budget->memory_bytes_max, amount, &all)) {
        give_back(&limits->memory_bytes, amount);
        return refuse(limits, amount);
    }
    raise_peak(&limits->memory_peak_bytes, after);
    return TIDE_OK;
}

static enum tide_err count(_Atomic uint64_t *counter, uint64_t max, uint64_t amount)
{
    uint64_t after = atomic_fetch_add_explicit(counter, amount, memory_order_relaxed) + amount;

    return max != 0 && after > max ? TIDE_ERR_LIMIT : TIDE_OK;
}

enum tide_err tide_query_count_samples(struct tide_query_limits *limits, uint64_t samples)
{
    return limits == NULL ? TIDE_OK : count(&limits->samples, limits->samples_max, samples);
}

enum tide_err tide_query_count_series(struct tide_query_limits *limits, uint64_t series)
{
    return limits == NULL ? TIDE_OK : count(&limits->series, limits->series_max, series);
}
