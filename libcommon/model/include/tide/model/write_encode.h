/* Makes remote_write bodies, 1.0 and 2.0: for tests and for the load generator. */
#ifndef TIDE_MODEL_WRITE_ENCODE_H
#define TIDE_MODEL_WRITE_ENCODE_H

#include "tide/model/write_request.h"

/* ---- 1.0: records are appended to a body as they come ---- */

/* The label records of one series, as they stand in its TimeSeries. Labels are written as given,
 * good or bad. */
void tide_write_encode_labels(struct tide_buf *out, struct tide_labels labels);
/* One TimeSeries from label records made before. */
void tide_write_encode_run(struct tide_buf *body, struct tide_slice label_records,
                           const struct tide_sample *samples, size_t sample_count,
                           const struct tide_exemplar *exemplars, size_t exemplar_count);
/* One TimeSeries. */
void tide_write_encode_series(struct tide_buf *body, struct tide_labels labels,
                              const struct tide_sample *samples, size_t sample_count,
                              const struct tide_exemplar *exemplars, size_t exemplar_count);
/* Native histograms of one series, as they are sent in both versions: integers tells how counts
 * stand on the wire, and then they must be integers. */
struct tide_write_histograms {
    const int64_t *times_ms;
    const struct tide_histogram *items;
    size_t count;
    bool integers;
};
/* One TimeSeries with native histograms. */
void tide_write_encode_histograms(struct tide_buf *body, struct tide_labels labels,
                                  const struct tide_write_histograms *histograms);
void tide_write_encode_metadata(struct tide_buf *body, const struct tide_metadata *metadata);

/* ---- 2.0: symbols are collected while series are added ---- */

struct tide_write_v2_encoder;
/* Errors: NULL when there is no memory. */
struct tide_write_v2_encoder *tide_write_v2_encoder_new(void);
void tide_write_v2_encoder_free(struct tide_write_v2_encoder *encoder);
/* metadata may be NULL; its metric is not sent. */
void tide_write_v2_encode_series(struct tide_write_v2_encoder *encoder, struct tide_labels labels,
                                 const struct tide_sample *samples, size_t sample_count,
                                 const struct tide_exemplar *exemplars, size_t exemplar_count,
                                 const struct tide_metadata *metadata);
void tide_write_v2_encode_histograms(struct tide_write_v2_encoder *encoder,
                                     struct tide_labels labels,
                                     const struct tide_write_histograms *histograms);
/* Appends the request, symbols first, and empties the encoder. Errors: TIDE_ERR_NO_MEMORY, also
 * when adding a series failed. */
TIDE_CHECK_RESULT enum tide_err tide_write_v2_encode_end(struct tide_write_v2_encoder *encoder,
                                                         struct tide_buf *out);

/* Appends body compressed in Snappy's block format. */
TIDE_CHECK_RESULT enum tide_err tide_write_compress(struct tide_slice body, struct tide_buf *out);

#endif
