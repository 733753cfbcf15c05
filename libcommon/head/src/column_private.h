/* Timestamp columns: the scrape times of one target in one time partition, which the chunks of all
 * its series share. A row is a timestamp; rows rise. A target may have several columns in a
 * partition ("tracks"), for senders that write the same job and instance at different times. */
#ifndef TIDE_HEAD_COLUMN_PRIVATE_H
#define TIDE_HEAD_COLUMN_PRIVATE_H

#include "tide/base/slice.h"

#define TIDE__COLUMN_NONE UINT32_MAX
/* Rows and one past the last row fit 16 bits. */
#define TIDE__COLUMN_ROWS_MAX 65535u
#define TIDE__TRACKS_MAX 4u

struct tide__column {
    int64_t start_ms;  /* Of the partition. */
    uint64_t target;   /* tide__target() of the series; never 0. */
    uint32_t *offsets; /* Milliseconds from start_ms, rising. */
    uint32_t count;
    uint32_t capacity;
    uint32_t id;
    uint32_t next_track; /* The next higher of target and partition, or NONE. */
    uint32_t track;
};

/* Zero-initialised is empty. */
struct tide__columns {
    struct tide__column **items; /* By id; NULL: free. */
    size_t count;
    size_t capacity;
    uint32_t *free_ids;
    size_t free_count;
    size_t free_capacity;
    uint32_t *slots; /* Hash table by target and start: id of its lowest track, plus 1. 0: empty. */
    size_t slot_count;
    size_t slot_used;
    uint64_t bytes;
};

static inline int64_t tide__column_ms(const struct tide__column *column, uint32_t row)
{
    return column->start_ms + column->offsets[row];
}

/* First row whose offset is at least that, from row low on. */
static inline uint32_t tide__column_row(const struct tide__column *column, uint32_t low,
                                        uint32_t offset)
{
    uint32_t high = column->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (column->offsets[mid] < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The lowest track of the target in the partition, or NULL; the others follow by next_track, so
 * that their order tells nothing about the past. */
struct tide__column *tide__columns_find(const struct tide__columns *columns, uint64_t target,
                                        int64_t start_ms);
/* An empty column with the given track, which the target does not have yet in the partition, and
 * room for some rows. Errors: TIDE_ERR_NO_MEMORY; TIDE_ERR_EXISTS. */
TIDE_CHECK_RESULT enum tide_err tide__columns_add(struct tide__columns *columns, uint64_t target,
                                                  int64_t start_ms, uint32_t track, uint32_t rows,
                                                  struct tide__column **out);
/* Appends a row. When the rows have to move, *old is the memory to free, else NULL.
 * Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__columns_add_row(struct tide__columns *columns,
                                                      struct tide__column *column, uint32_t offset,
                                                      void **old);
/* Takes a column out; its rows are the caller's to free. Errors: TIDE_ERR_NO_MEMORY, it stays. */
TIDE_CHECK_RESULT enum tide_err tide__columns_remove(struct tide__columns *columns, uint32_t id,
                                                     void **rows);
void tide__columns_deinit(struct tide__columns *columns);

#endif
