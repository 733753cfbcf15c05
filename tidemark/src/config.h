/* The configuration: a YAML file, then the command line over it. docs/tidemark.yaml shows every key
 * with its default. */
#ifndef TIDEMARK_CONFIG_H
#define TIDEMARK_CONFIG_H

#include "tide/base/err.h"

#include <stdint.h>

/* As in the file: text that was given, NULL or 0 where it was not. */
struct config_file_log {
    char *level;
    char *format;
};

struct config_file_http {
    char *listen;
    unsigned threads;
    unsigned connections_max;
    char *idle_timeout;
    char *request_timeout;
};

struct config_file_write {
    char *body_bytes_max;
    char *decoded_bytes_max;
    char *in_flight_bytes_max;
    unsigned labels_per_series_max;
    unsigned label_name_bytes_max;
    unsigned label_value_bytes_max;
};

struct config_file_query {
    char *timeout;
    char *lookback;
    unsigned concurrent_max;
    unsigned threads;
    char *memory_bytes_max;
    char *total_memory_bytes_max;
    uint64_t samples_max;
    uint64_t series_max;
};

struct config_file_limits {
    unsigned tenants_max;
    unsigned series_per_tenant_max;
    unsigned exemplars_per_tenant_max;
};

struct config_file_storage {
    char *checkpoint_log_bytes;
    char *disk_free_bytes_min;
    char *memory_bytes_max;
};

struct config_file {
    char *data_dir;
    unsigned shards;
    char *retention;
    struct config_file_log log;
    struct config_file_http http;
    struct config_file_write write;
    struct config_file_query query;
    struct config_file_limits limits;
    struct config_file_storage storage;
};

/* What the command line says; NULL where it says nothing. Borrowed. */
struct config_flags {
    const char *config_path;
    const char *data_dir;
    const char *http_listen;
    const char *retention;
    const char *log_level;
    const char *log_format;
};

/* All settled, checked and in units of the machine. */
struct config {
    struct config_file *file; /* Owns the strings below that came from it. */
    const char *data_dir;
    const char *http_listen;
    int log_level;  /* enum tide_log_level */
    int log_format; /* enum tide_log_format */
    uint32_t shards;
    int64_t retention_ms;
    uint32_t http_threads, http_connections_max, http_idle_timeout_s, http_request_timeout_s;
    uint64_t write_body_bytes_max, write_decoded_bytes_max, write_in_flight_bytes_max;
    uint32_t labels_per_series_max, label_name_bytes_max, label_value_bytes_max;
    int64_t query_timeout_ms, query_lookback_ms;
    uint32_t query_concurrent_max, query_threads;
    uint64_t query_memory_bytes_max, query_total_memory_bytes_max;
    uint64_t query_samples_max, query_series_max;
    uint32_t tenants_max, series_per_tenant_max, exemplars_per_tenant_max;
    uint64_t checkpoint_log_bytes, disk_free_bytes_min, memory_bytes_max;
};

/* Reads flags->config_path when it is set, puts the flags over it, fills in defaults and checks
 * all. out    Set on TIDE_OK; the caller calls config_deinit(). diag   Names the file, line and
 * key, or the flag, and what it should be. Errors: TIDE_ERR_INVALID, TIDE_ERR_NOT_FOUND,
 * TIDE_ERR_IO, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err config_load(const struct config_flags *flags, struct config *out,
                                            struct tide_diag *diag);
void config_deinit(struct config *config);

#endif
