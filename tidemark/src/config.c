#include "config.h"

#include "tide/base/file.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/number.h"

#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_FILE_BYTES_MAX (1u << 20)

/* ---- The schema ---- */

#define TEXT(structure, key)                                                                       \
    CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_OPTIONAL, struct structure, key, 1, 4096)
#define COUNT(structure, key) CYAML_FIELD_UINT(#key, CYAML_FLAG_OPTIONAL, struct structure, key)
#define SECTION(key)                                                                               \
    CYAML_FIELD_MAPPING(#key, CYAML_FLAG_OPTIONAL, struct config_file, key, key##_fields)

static const cyaml_schema_field_t log_fields[] = {TEXT(config_file_log, level),
                                                  TEXT(config_file_log, format), CYAML_FIELD_END};
static const cyaml_schema_field_t http_fields[] = {
    TEXT(config_file_http, listen),           COUNT(config_file_http, threads),
    COUNT(config_file_http, connections_max), TEXT(config_file_http, idle_timeout),
    TEXT(config_file_http, request_timeout),  CYAML_FIELD_END};
static const cyaml_schema_field_t write_fields[] = {TEXT(config_file_write, body_bytes_max),
                                                    TEXT(config_file_write, decoded_bytes_max),
                                                    TEXT(config_file_write, in_flight_bytes_max),
                                                    COUNT(config_file_write, labels_per_series_max),
                                                    COUNT(config_file_write, label_name_bytes_max),
                                                    COUNT(config_file_write, label_value_bytes_max),
                                                    CYAML_FIELD_END};
static const cyaml_schema_field_t query_fields[] = {TEXT(config_file_query, timeout),
                                                    TEXT(config_file_query, lookback),
                                                    COUNT(config_file_query, concurrent_max),
                                                    COUNT(config_file_query, threads),
                                                    TEXT(config_file_query, memory_bytes_max),
                                                    TEXT(config_file_query, total_memory_bytes_max),
                                                    COUNT(config_file_query, samples_max),
                                                    COUNT(config_file_query, series_max),
                                                    CYAML_FIELD_END};
static const cyaml_schema_field_t limits_fields[] = {
    COUNT(config_file_limits, tenants_max), COUNT(config_file_limits, series_per_tenant_max),
    COUNT(config_file_limits, exemplars_per_tenant_max), CYAML_FIELD_END};
static const cyaml_schema_field_t storage_fields[] = {
    TEXT(config_file_storage, checkpoint_log_bytes), TEXT(config_file_storage, disk_free_bytes_min),
    TEXT(config_file_storage, memory_bytes_max), CYAML_FIELD_END};
static const cyaml_schema_field_t file_fields[] = {TEXT(config_file, data_dir),
                                                   COUNT(config_file, shards),
                                                   TEXT(config_file, retention),
                                                   SECTION(log),
                                                   SECTION(http),
                                                   SECTION(write),
                                                   SECTION(query),
                                                   SECTION(limits),
                                                   SECTION(storage),
                                                   CYAML_FIELD_END};
static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config_file, file_fields)};

/* ---- Reading ---- */

struct yaml_complaints {
    char text[384];
    size_t len;
};

/* libcyaml tells what is wrong, and then where, in several lines: they become one. */
static void yaml_log(cyaml_log_t level, void *context, const char *format, va_list args)
{
    struct yaml_complaints *complaints = context;
    char *at = complaints->text + complaints->len;
    size_t room = sizeof(complaints->text) - complaints->len;
    int n;

    (void)level;
    if (room <= 3)
        return;
    if (complaints->len > 0) {
        memcpy(at, "; ", 3);
        at += 2;
        room -= 2;
        complaints->len += 2;
    }
    n = vsnprintf(at, room, format, args);
    if (n < 0)
        return;
    complaints->len += (size_t)n < room ? (size_t)n : room - 1;
    while (complaints->len > 0 && strchr("\n ", complaints->text[complaints->len - 1]) != NULL)
        complaints->text[--complaints->len] = '\0';
}

static const struct cyaml_config *yaml_config(struct yaml_complaints *complaints,
                                              struct cyaml_config *out)
{
    *out = (struct cyaml_config){.log_fn = yaml_log,
                                 .log_ctx = complaints,
                                 .log_level = CYAML_LOG_ERROR,
                                 .mem_fn = cyaml_mem,
                                 .flags = CYAML_CFG_DEFAULT};
    return out;
}

static bool only_comments(struct tide_slice text)
{
    bool line_start = true;

    for (size_t i = 0; i < text.len; i++) {
        if (line_start && text.ptr[i] == '#') {
            while (i < text.len && text.ptr[i] != '\n')
                i++;
        } else if (strchr(" \t\r\n", text.ptr[i]) == NULL) {
            return false;
        }
        line_start = i < text.len && (text.ptr[i] == '\n' || line_start);
    }
    return true;
}

static enum tide_err read_file(const char *path, struct config_file **out, struct tide_diag *diag)
{
    struct yaml_complaints complaints = {{0}, 0};
    struct cyaml_config yaml;
    struct tide_buf text = {0};
    cyaml_err_t yaml_err;
    enum tide_err err = tide_file_read(path, CONFIG_FILE_BYTES_MAX, &text, diag);

    if (err == TIDE_OK && !only_comments(tide_buf_view(&text))) {
        yaml_err = cyaml_load_data(text.ptr, text.len, yaml_config(&complaints, &yaml),
                                   &file_schema, (cyaml_data_t **)out, NULL);
        if (yaml_err != CYAML_OK)
            err = tide_diag_err(diag, TIDE_ERR_INVALID, "%s: %s", path,
                                complaints.len > 0 ? complaints.text : cyaml_strerror(yaml_err));
    }
    tide_buf_deinit(&text);
    return err;
}

/* ---- Settling ---- */

static enum tide_err settle_duration(const char *key, const char *text, const char *fallback,
                                     int64_t min_ms, int64_t *out, struct tide_diag *diag)
{
    if (text == NULL)
        text = fallback;
    if (!tide_duration_parse(tide_slice_str(text), out) || *out < min_ms)
        return tide_diag_err(
            diag, TIDE_ERR_INVALID,
            "%s: \"%s\" is not a duration of at least %lld ms, such as 90s, 2h or 15d", key, text,
            (long long)min_ms);
    return TIDE_OK;
}

static bool bytes_parse(const char *text, uint64_t *out)
{
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    const char *unit = text + strspn(text, "0123456789");
    int64_t n;

    if (!tide_number_parse_i64((struct tide_slice){(const uint8_t *)text, (size_t)(unit - text)},
                               &n))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(unit, units[i].unit) != 0)
            continue;
        if (n > (INT64_MAX >> units[i].shift))
            return false;
        *out = (uint64_t)n << units[i].shift;
        return true;
    }
    return false;
}

static enum tide_err settle_bytes(const char *key, const char *text, const char *fallback,
                                  uint64_t min, uint64_t *out, struct tide_diag *diag)
{
    if (text == NULL)
        text = fallback;
    if (!bytes_parse(text, out) || *out < min)
        return tide_diag_err(
            diag, TIDE_ERR_INVALID,
            "%s: \"%s\" is not a size of at least %llu bytes, such as 4096, 64MiB or 2GiB", key,
            text, (unsigned long long)min);
    return TIDE_OK;
}

static enum tide_err settle_count(const char *key, unsigned given, uint32_t fallback, uint32_t max,
                                  uint32_t *out, struct tide_diag *diag)
{
    *out = given != 0 ? given : fallback;
    if (*out > max)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "%s: %u is more than %u", key, *out, max);
    return TIDE_OK;
}

static enum tide_err settle_word(const char *key, const char *text, const char *const *words,
                                 int word_count, int fallback, int *out, struct tide_diag *diag)
{
    *out = fallback;
    if (text == NULL)
        return TIDE_OK;
    for (int i = 0; i < word_count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return TIDE_OK;
        }
    }
    return tide_diag_err(diag, TIDE_ERR_INVALID, "%s: \"%s\" is not one of %s, %s%s%s", key, text,
                         words[0], words[1], word_count > 2 ? ", " : "",
                         word_count > 2 ? "warn, error" : "");
}

static uint32_t cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > 256 ? 256 : (uint32_t)n;
}

/* Memory this process may use: the cgroup's limit, or the machine's. */
static uint64_t memory_total(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t total =
        pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : UINT64_C(1) << 32;
    struct tide_buf text = {0};
    int64_t limit;

    if (tide_file_read("/sys/fs/cgroup/memory.max", 64, &text, NULL) == TIDE_OK) {
        while (text.len > 0 && text.ptr[text.len - 1] == '\n')
            text.len--;
        if (tide_number_parse_i64(tide_buf_view(&text), &limit) && limit > 0 &&
            (uint64_t)limit < total)
            total = (uint64_t)limit;
    }
    tide_buf_deinit(&text);
    return total;
}

static enum tide_err settle_server(const struct config_file *file, const struct config_flags *flags,
                                   struct config *c, struct tide_diag *diag)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    static const char *const formats[] = {"logfmt", "json"};
    const char *retention = flags->retention != NULL ? flags->retention : file->retention;
    int64_t idle_ms, request_ms;
    enum tide_err err;

    c->data_dir = flags->data_dir != NULL  ? flags->data_dir
                  : file->data_dir != NULL ? file->data_dir
                                           : "data";
    c->http_listen = flags->http_listen != NULL  ? flags->http_listen
                     : file->http.listen != NULL ? file->http.listen
                                                 : ":9009";
    err = settle_word("log.level", flags->log_level != NULL ? flags->log_level : file->log.level,
                      levels, 4, TIDE_LOG_INFO, &c->log_level, diag);
    if (err == TIDE_OK)
        err = settle_word("log.format",
                          flags->log_format != NULL ? flags->log_format : file->log.format, formats,
                          2, TIDE_LOG_LOGFMT, &c->log_format, diag);
    if (err == TIDE_OK)
        err = settle_count("shards", file->shards, 4, 1024, &c->shards, diag);
    if (err == TIDE_OK)
        err = settle_duration("retention", retention, "0", 0, &c->retention_ms, diag);
    if (err == TIDE_OK)
        err = settle_count("http.threads", file->http.threads, 1, 64, &c->http_threads, diag);
    if (err == TIDE_OK)
        err = settle_count("http.connections_max", file->http.connections_max, 16384, 1000000,
                           &c->http_connections_max, diag);
    if (err == TIDE_OK)
        err = settle_duration("http.idle_timeout", file->http.idle_timeout, "5m", 1000, &idle_ms,
                              diag);
    if (err == TIDE_OK)
        err = settle_duration("http.request_timeout", file->http.request_timeout, "1m", 1000,
                              &request_ms, diag);
    if (err != TIDE_OK)
        return err;
    c->http_idle_timeout_s = (uint32_t)(idle_ms / 1000);
    c->http_request_timeout_s = (uint32_t)(request_ms / 1000);
    return TIDE_OK;
}

static enum tide_err settle_write(const struct config_file *file, struct config *c,
                                  struct tide_diag *diag)
{
    enum tide_err err = settle_bytes("write.body_bytes_max", file->write.body_bytes_max, "16MiB",
                                     1024, &c->write_body_bytes_max, diag);

    if (err == TIDE_OK)
        err = settle_bytes("write.decoded_bytes_max", file->write.decoded_bytes_max, "64MiB", 1024,
                           &c->write_decoded_bytes_max, diag);
    if (err == TIDE_OK)
        err = settle_bytes("write.in_flight_bytes_max", file->write.in_flight_bytes_max, "256MiB",
                           1 << 20, &c->write_in_flight_bytes_max, diag);
    if (err == TIDE_OK)
        err = settle_count("write.labels_per_series_max", file->write.labels_per_series_max, 64,
                           1024, &c->labels_per_series_max, diag);
    if (err == TIDE_OK)
        err = settle_count("write.label_name_bytes_max", file->write.label_name_bytes_max, 1024,
                           65535, &c->label_name_bytes_max, diag);
    if (err == TIDE_OK)
        err = settle_count("write.label_value_bytes_max", file->write.label_value_bytes_max, 4096,
                           65535, &c->label_value_bytes_max, diag);
    return err;
}

static enum tide_err settle_query(const struct config_file *file, struct config *c,
                                  struct tide_diag *diag)
{
    enum tide_err err =
        settle_duration("query.timeout", file->query.timeout, "2m", 1, &c->query_timeout_ms, diag);

    if (err == TIDE_OK)
        err = settle_duration("query.lookback", file->query.lookback, "5m", 1,
                              &c->query_lookback_ms, diag);
    if (err == TIDE_OK)
        err = settle_count("query.concurrent_max", file->query.concurrent_max, cores() * 2, 1024,
                           &c->query_concurrent_max, diag);
    if (err == TIDE_OK)
        err = settle_count("query.threads", file->query.threads, cores(), 256, &c->query_threads,
                           diag);
    if (err == TIDE_OK)
        err = settle_bytes("query.memory_bytes_max", file->query.memory_bytes_max, "1GiB", 1 << 20,
                           &c->query_memory_bytes_max, diag);
    c->query_total_memory_bytes_max = memory_total() / 4;
    if (err == TIDE_OK && file->query.total_memory_bytes_max != NULL)
        err = settle_bytes("query.total_memory_bytes_max", file->query.total_memory_bytes_max, "0",
                           1 << 20, &c->query_total_memory_bytes_max, diag);
    c->query_samples_max = file->query.samples_max;
    c->query_series_max = file->query.series_max;
    return err;
}

static enum tide_err settle_storage(const struct config_file *file, struct config *c,
                                    struct tide_diag *diag)
{
    enum tide_err err = settle_count("limits.tenants_max", file->limits.tenants_max, 10000, 1000000,
                                     &c->tenants_max, diag);

    if (err == TIDE_OK)
        err = settle_count("limits.exemplars_per_tenant_max", file->limits.exemplars_per_tenant_max,
                           100000, 100000000, &c->exemplars_per_tenant_max, diag);
    c->series_per_tenant_max = file->limits.series_per_tenant_max;
    if (err == TIDE_OK)
        err = settle_bytes("storage.checkpoint_log_bytes", file->storage.checkpoint_log_bytes,
                           "64MiB", 1 << 16, &c->checkpoint_log_bytes, diag);
    if (err == TIDE_OK)
        err = settle_bytes("storage.disk_free_bytes_min", file->storage.disk_free_bytes_min,
                           "256MiB", 1 << 20, &c->disk_free_bytes_min, diag);
    c->memory_bytes_max = memory_total() / 100 * 85;
    if (err == TIDE_OK && file->storage.memory_bytes_max != NULL)
        err = settle_bytes("storage.memory_bytes_max", file->storage.memory_bytes_max, "0",
                           64 << 20, &c->memory_bytes_max, diag);
    return err;
}

enum tide_err config_load(const struct config_flags *flags, struct config *out,
                          struct tide_diag *diag)
{
    static const struct config_file nothing;
    const struct config_file *file = &nothing;
    struct tide_diag cause = {{0}};
    enum tide_err err = TIDE_OK;

    *out = (struct config){0};
    if (flags->config_path != NULL) {
        err = read_file(flags->config_path, &out->file, diag);
        if (err != TIDE_OK)
            return err;
        if (out->file != NULL)
            file = out->file;
    }
    err = settle_server(file, flags, out, &cause);
    if (err == TIDE_OK)
        err = settle_write(file, out, &cause);
    if (err == TIDE_OK)
        err = settle_query(file, out, &cause);
    if (err == TIDE_OK)
        err = settle_storage(file, out, &cause);
    if (err == TIDE_OK)
        return TIDE_OK;
    config_deinit(out);
    return tide_diag_err(diag, err, "%s%s%s", flags->config_path != NULL ? flags->config_path : "",
                         flags->config_path != NULL ? ": " : "", cause.text);
}

void config_deinit(struct config *config)
{
    struct yaml_complaints complaints = {{0}, 0};
    struct cyaml_config yaml;

    if (config->file != NULL)
        cyaml_free(yaml_config(&complaints, &yaml), &file_schema, config->file, 0);
    config->file = NULL;
}
