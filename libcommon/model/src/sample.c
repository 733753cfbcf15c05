#include "tide/model/sample.h"

const char *tide_metric_kind_text(enum tide_metric_kind kind)
{
    static const char *const text[TIDE_KIND_COUNT] = {
        [TIDE_KIND_UNKNOWN] = "unknown",
        [TIDE_KIND_COUNTER] = "counter",
        [TIDE_KIND_GAUGE] = "gauge",
        [TIDE_KIND_HISTOGRAM] = "histogram",
        [TIDE_KIND_GAUGE_HISTOGRAM] = "gaugehistogram",
        [TIDE_KIND_SUMMARY] = "summary",
        [TIDE_KIND_INFO] = "info",
        [TIDE_KIND_STATESET] = "stateset",
    };

    /* Signed or not, an unknown number is "unknown": kinds come from senders. */
    if ((unsigned)kind >= TIDE_KIND_COUNT)
        return text[TIDE_KIND_UNKNOWN];
    return text[kind];
}
