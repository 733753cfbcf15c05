/* A fleet as Prometheus sees it: services of several instances, each instance with the same set of
 * some 100 series. Every label and every value is a function of (seed, series, scrape), so that a
 * checker can tell what any sample must be. */
#ifndef TIDE_BENCH_FLEET_H
#define TIDE_BENCH_FLEET_H

#include "tide/model/sample.h"

/* Most labels of a series. */
#define FLEET_LABELS_MAX 16
/* Series of one instance: its own list, cut for the last instance. */
uint32_t fleet_target_series(void);

struct fleet {
    uint64_t seed;
    uint32_t series_count;
    uint32_t service_count;
    int64_t start_ms;
    int64_t interval_ms;
};

/* Instances that series_count makes: one for each fleet_target_series() begun. */
uint32_t fleet_target_count(const struct fleet *fleet);
/* Series of instance target: all of them, fewer for the last. */
uint32_t fleet_series_of(const struct fleet *fleet, uint32_t target);

/* One instance: the labels that all its series have, as text. */
struct fleet_target {
    uint32_t index;
    uint32_t service;
    char text[7][48];
};
void fleet_target_init(const struct fleet *fleet, uint32_t target, struct fleet_target *out);

/* The label set of series k of the instance: sorted; pairs borrow from the target and from static
 * text. Answers how many. */
size_t fleet_labels(const struct fleet_target *target, uint32_t k,
                    struct tide_label pairs[FLEET_LABELS_MAX]);
/* All series of an instance are scraped at one moment, instances spread over the interval. */
int64_t fleet_time_ms(const struct fleet *fleet, uint32_t target, uint32_t scrape);
/* Value of series k of the instance at a scrape. */
double fleet_value(const struct fleet *fleet, const struct fleet_target *target, uint32_t k,
                   uint32_t scrape);

#endif
