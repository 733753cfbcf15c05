/* Numbers as text. */
#ifndef TIDE_BASE_NUMBER_H
#define TIDE_BASE_NUMBER_H

#include "tide/base/slice.h"

/* Longest text tide_number_format() makes: 'f' form of the largest float64 is 309 digits. */
#define TIDE_NUMBER_TEXT_MAX 352

/* The shortest text that reads back as the same float64, as Go's strconv.FormatFloat(v, 'f', -1,
 * 64) has it: never an exponent; "NaN", "+Inf", "-Inf". Writes at most TIDE_NUMBER_TEXT_MAX bytes,
 * no NUL; answers how many. */
size_t tide_number_format(double v, char *text);
/* The form of the Prometheus HTTP API's sample values: as above, but with an exponent ('e', at
 * least two exponent digits, as Go) when the magnitude is under 1e-6 or at least 1e21. */
size_t tide_number_format_api(double v, char *text);
/* Go's FormatFloat(v, 'g', -1, 64): an exponent when it is < -4 or >= 6, "1e+06". "NaN", "+Inf",
 * "-Inf". For the text exposition format and PromQL text. */
size_t tide_number_format_g(double v, char *text);
/* Reads a whole slice as float64, correctly rounded; Go's ParseFloat syntax without underscores and
 * hexadecimal forms: decimal, exponent, "inf", "+Inf", "nan", "infinity" in any case. Overflow
 * gives infinity and true, as in PromQL literals. False when it is no number. */
bool tide_number_parse(struct tide_slice text, double *out);
/* Whole slice as a decimal integer. False on anything else or out of range. */
bool tide_number_parse_i64(struct tide_slice text, int64_t *out);
/* A Prometheus duration, "1h30m", units y w d h m s ms in falling order, or "0". Milliseconds;
 * false when bad or over int64 nanoseconds (292 years), where Prometheus has its bound too.
 * Negative is not accepted. */
bool tide_duration_parse(struct tide_slice text, int64_t *out_ms);
/* The reverse, as Prometheus' model.Duration prints it: "1d2h", "0s". ms must be >= 0. Writes at
 * most 64 bytes. */
size_t tide_duration_format(int64_t ms, char *text);

#endif
