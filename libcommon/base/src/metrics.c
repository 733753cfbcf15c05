#include "tide/base/metrics.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/file.h"
#include "tide/base/number.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define COLLECTORS_MAX 32

const double tide_metric_seconds[TIDE_METRIC_SECONDS_COUNT] = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05,   0.1,     0.25,   1,     2.5,    10,    30,   100,
};

/* Guards the list: sorted by name, then labels, so that families stand together. Nothing else is
 * locked while it is held. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tide_metric *list;

/* Held while collectors run: one that has been removed runs no more. A collector must not add or
 * remove collectors. */
static pthread_mutex_t collectors_lock = PTHREAD_MUTEX_INITIALIZER;
static struct collector {
    tide_metrics_collector fn;
    void *context;
} collectors[COLLECTORS_MAX];
static int collector_count;

/* ---- Counting ---- */

static int order(const struct tide_metric *a, const struct tide_metric *b)
{
    int by_name = strcmp(a->name, b->name);

    return by_name != 0 ? by_name : strcmp(a->labels, b->labels);
}

void tide_metric_register(struct tide_metric *metric)
{
    struct tide_metric **at;

    /* Relaxed: who sees true needs nothing else; the list has its lock. */
    if (atomic_load_explicit(&metric->registered, memory_order_relaxed) ||
        atomic_exchange_explicit(&metric->registered, true, memory_order_relaxed))
        return;
    TIDE_ASSERT(metric->bound_count <= TIDE_METRIC_BUCKETS_MAX);
    pthread_mutex_lock(&list_lock);
    at = &list;
    while (*at != NULL && order(*at, metric) < 0)
        at = &(*at)->next;
    metric->next = *at;
    *at = metric;
    pthread_mutex_unlock(&list_lock);
}

void tide_metric_add(struct tide_metric *metric, int64_t delta)
{
    tide_metric_register(metric);
    atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

void tide_metric_set(struct tide_metric *metric, int64_t value)
{
    tide_metric_register(metric);
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

static double from_bits(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint64_t to_bits(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

void tide_metric_observe(struct tide_metric *metric, double value)
{
    uint64_t before = atomic_load_explicit(&metric->sum_bits, memory_order_relaxed);
    int bucket = 0;

    tide_metric_register(metric);
    while (bucket < metric->bound_count && value > metric->bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&metric->sum_bits, &before,
                                                  to_bits(from_bits(before) + value),
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

void tide_metrics_collector_add(tide_metrics_collector collector, void *context)
{
    pthread_mutex_lock(&collectors_lock);
    TIDE_ASSERT(collector_count < COLLECTORS_MAX);
    collectors[collector_count++] = (struct collector){collector, context};
    pthread_mutex_unlock(&collectors_lock);
}

void tide_metrics_collector_remove(tide_metrics_collector collector, void *context)
{
    pthread_mutex_lock(&collectors_lock);
    for (int i = 0; i < collector_count; i++) {
        if (collectors[i].fn != collector || collectors[i].context != context)
            continue;
        collectors[i] = collectors[--collector_count];
        break;
    }
    pthread_mutex_unlock(&collectors_lock);
}

/* ---- The exposition ---- */

void tide_metrics_family(struct tide_buf *out, const char *name, const char *type, const char *help)
{
    tide_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_value(struct tide_buf *out, double value)
{
    uint8_t *to = tide_buf_reserve(out, TIDE_NUMBER_TEXT_MAX + 1);

    if (to == NULL)
        return;
    out->len += tide_number_format_g(value, (char *)to);
    tide_buf_byte(out, '\n');
}

void tide_metrics_sample(struct tide_buf *out, const char *name, const char *labels, double value)
{
    tide_buf_str(out, name);
    if (labels[0] != '\0')
        tide_buf_printf(out, "{%s}", labels);
    tide_buf_byte(out, ' ');
    put_value(out, value);
}

static void histogram_write(struct tide_buf *out, struct tide_metric *metric)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    const char *open = metric->labels[0] != '\0' ? "{" : "";
    const char *close = metric->labels[0] != '\0' ? "}" : "";
    int64_t count = 0;

    for (int i = 0; i <= metric->bound_count; i++) {
        char bound[TIDE_NUMBER_TEXT_MAX + 1] = "+Inf";

        if (i < metric->bound_count)
            bound[tide_number_format_g(metric->bounds[i], bound)] = '\0';
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        tide_buf_printf(out, "%s_bucket{%s%sle=\"%s\"} ", metric->name, metric->labels, comma,
                        bound);
        put_value(out, (double)count);
    }
    tide_buf_printf(out, "%s_sum%s%s%s ", metric->name, open, metric->labels, close);
    put_value(out, from_bits(atomic_load_explicit(&metric->sum_bits, memory_order_relaxed)));
    /* The same number as the last bucket's, so that the two never disagree. */
    tide_buf_printf(out, "%s_count%s%s%s ", metric->name, open, metric->labels, close);
    put_value(out, (double)count);
}

static void list_write(struct tide_buf *out)
{
    static const char *const type_names[] = {"counter", "gauge", "histogram"};
    const char *family = "";

    pthread_mutex_lock(&list_lock);
    for (struct tide_metric *metric = list; metric != NULL; metric = metric->next) {
        if (strcmp(metric->name, family) != 0)
            tide_metrics_family(out, metric->name, type_names[metric->type], metric->help);
        family = metric->name;
        if (metric->type == TIDE_METRIC_HISTOGRAM)
            histogram_write(out, metric);
        else
            tide_metrics_sample(out, metric->name, metric->labels,
                                (double)atomic_load_explicit(&metric->value, memory_order_relaxed));
    }
    pthread_mutex_unlock(&list_lock);
}

/* ---- The process ---- */

static void single(struct tide_buf *out, const char *name, const char *type, const char *help,
                   double value)
{
    tide_metrics_family(out, name, type, help);
    tide_metrics_sample(out, name, "", value);
}

/* The fields of /proc/self/stat that we show: see proc(5). */
struct process_stat {
    double cpu_seconds;
    double start_seconds; /* Since 1970. */
    double virtual_bytes;
    double resident_bytes;
    double threads;
};

/* Seconds since 1970 at which the machine started, from /proc/stat; 0 when it cannot be told. */
static double boot_seconds(void)
{
    FILE *file = fopen("/proc/stat", "re");
    char line[256];
    double seconds = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        struct tide_slice text = tide_slice_str(line);

        if (!tide_slice_starts(text, TIDE_SLICE("btime ")))
            continue;
        line[strcspn(line, "\n")] = '\0';
        if (!tide_number_parse(tide_slice_str(line + 6), &seconds))
            seconds = 0;
        break;
    }
    fclose(file);
    return seconds;
}

/* The nth number (from 1, as proc(5) counts) behind the command in parentheses. */
static double stat_field(const char *after_command, int nth)
{
    const char *at = after_command;
    double v = 0;

    for (int field = 3; field < nth; field++) { /* Field 3 stands first. */
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    if (!tide_number_parse((struct tide_slice){(const uint8_t *)at, strcspn(at, " \n")}, &v))
        return 0;
    return v;
}

static bool process_stat_read(struct process_stat *out)
{
    struct tide_buf text = {0};
    const char *after;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    bool ok = false;

    if (tide_file_read("/proc/self/stat", 4096, &text, NULL) == TIDE_OK) {
        tide_buf_byte(&text, '\0');
        after = text.failed ? NULL : strrchr((const char *)text.ptr, ')');
        if (after != NULL && after[1] == ' ') {
            after += 2;
            out->cpu_seconds = (stat_field(after, 14) + stat_field(after, 15)) / ticks;
            out->threads = stat_field(after, 20);
            out->start_seconds = boot_seconds() + stat_field(after, 22) / ticks;
            out->virtual_bytes = stat_field(after, 23);
            out->resident_bytes = stat_field(after, 24) * (double)sysconf(_SC_PAGESIZE);
            ok = true;
        }
    }
    tide_buf_deinit(&text);
    return ok;
}

static double open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    double count = 0;

    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 3; /* ".", ".." and the descriptor of the folder itself. */
}

static void process_write(struct tide_buf *out)
{
    struct process_stat stat;
    struct rlimit limit;

    if (process_stat_read(&stat)) {
        single(out, "process_cpu_seconds_total", "counter",
               "Total user and system CPU time spent in seconds.", stat.cpu_seconds);
        single(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
               stat.resident_bytes);
        single(out, "process_start_time_seconds", "gauge",
               "Start time of the process since unix epoch in seconds.", stat.start_seconds);
        single(out, "process_threads", "gauge", "Threads of the process.", stat.threads);
        single(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
               stat.virtual_bytes);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        single(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
               (double)limit.rlim_cur);
    single(out, "process_open_fds", "gauge", "Number of open file descriptors.", open_fds());
}

void tide_metrics_write(struct tide_buf *out)
{
    process_write(out);
    tide_metrics_family(out, "tide_build_info", "gauge", "Which build this is.");
    tide_metrics_sample(out, "tide_build_info", "version=\"" TIDE_VERSION "\"", 1);
    list_write(out);
    pthread_mutex_lock(&collectors_lock);
    for (int i = 0; i < collector_count; i++)
        collectors[i].fn(collectors[i].context, out);
    pthread_mutex_unlock(&collectors_lock);
}
