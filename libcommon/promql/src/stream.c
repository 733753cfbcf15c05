#include "stream_mixed_private.h"
#include "windows_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* Arrays of timestamps a worker remembers the windows of, within one batch. A batch has few scrape
 * targets; one that does not fit is computed again. */
#define WINDOW_CACHE_SLOTS 64

struct window_slot {
    const int64_t *times_ms;
    size_t count;
    const struct tide__windows *windows;
};

struct tide__stream_worker {
    struct tide_batch batch;
    uint64_t batch_charged;
    struct tide_arena *shared;  /* Windows by times array; reset for each batch. */
    struct tide_arena *private; /* Of one series; reset for each. */
    uint64_t shared_charged;
    uint64_t private_charged;
    struct window_slot cache[WINDOW_CACHE_SLOTS];
    double *values; /* One row. */
    uint64_t *present;
    void *scratch; /* For kernels. */
    size_t scratch_bytes;
};

/* The samples of one series as the kernels take them. */
struct stream_samples {
    struct tide_series_samples samples;
    bool shared_times; /* The times may be met again in this batch. */
};

static void worker_free(struct tide__eval *eval, struct tide__stream_worker *worker)
{
    if (worker == NULL)
        return;
    tide__release(eval, worker->batch_charged + worker->shared_charged + worker->private_charged);
    tide_arena_free(worker->batch.arena);
    tide_arena_free(worker->shared);
    tide_arena_free(worker->private);
    tide_mem_free(worker->values);
    tide_mem_free(worker->present);
    tide_mem_free(worker->scratch);
    tide_mem_free(worker);
}

static struct tide__stream_worker *worker_new(const struct tide__stream *stream)
{
    struct tide__stream_worker *worker = tide_mem_new(sizeof(*worker));

    if (worker == NULL)
        return NULL;
    worker->batch.arena = tide_arena_new(0);
    worker->shared = tide_arena_new(0);
    worker->private = tide__arena_new(stream->eval);
    worker->values = tide_mem_array(stream->grid->step_count, sizeof(double));
    worker->present = tide_mem_array(stream->grid->word_count, sizeof(uint64_t));
    if (worker->batch.arena == NULL || worker->shared == NULL || worker->private == NULL ||
        worker->values == NULL || worker->present == NULL) {
        worker_free(stream->eval, worker);
        return NULL;
    }
    return worker;
}

/* ---- Samples of a series ---- */

/* The present points of a subquery's row as samples. */
static enum tide_err row_samples(const struct tide__stream *stream,
                                 struct tide__stream_worker *worker, size_t i,
                                 struct stream_samples *out)
{
    const struct tide__grid *grid = stream->rows_grid;
    const struct tide__row *row = &stream->rows->rows[i];
    const struct tide_histogram **histograms = NULL;
    size_t count = 0;
    int64_t *times;
    double *values;

    for (size_t w = 0; w < grid->word_count; w++)
        count += (size_t)__builtin_popcountll(row->present[w]);
    if (count == grid->step_count) {
        *out = (struct stream_samples){{grid->times_ms, row->values, row->histograms, count}, true};
        return TIDE_OK;
    }
    times = tide_arena_alloc(worker->private, (count + 1) * sizeof(*times));
    values = tide_arena_alloc(worker->private, (count + 1) * sizeof(*values));
    if (row->histograms != NULL)
        histograms =
            tide_arena_alloc(worker->private, (count + 1) * sizeof(struct tide_histogram *));
    if (times == NULL || values == NULL || (row->histograms != NULL && histograms == NULL))
        return TIDE_ERR_NO_MEMORY;
    count = 0;
    for (size_t s = 0; s < grid->step_count; s++) {
        if (!tide__bit(row->present, s))
            continue;
        if (histograms != NULL)
            histograms[count] = row->histograms[s];
        times[count] = grid->times_ms[s];
        values[count++] = row->values[s];
    }
    *out = (struct stream_samples){{times, values, histograms, count}, false};
    return TIDE_OK;
}

static enum tide_err without_stale(struct tide__stream_worker *worker, struct stream_samples *out)
{
    size_t count = out->samples.count;
    int64_t *times;
    double *values;
    size_t kept = 0;

    if (!tide__have_stale(out->samples.values, count))
        return TIDE_OK;
    times = tide_arena_alloc(worker->private, count * sizeof(*times));
    values = tide_arena_alloc(worker->private, count * sizeof(*values));
    if (times == NULL || values == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (tide_value_is_stale(out->samples.values[i]))
            continue;
        times[kept] = out->samples.times_ms[i];
        values[kept++] = out->samples.values[i];
    }
    *out = (struct stream_samples){{times, values, NULL, kept}, false};
    return TIDE_OK;
}

static enum tide_err windows_of(const struct tide__stream *stream,
                                struct tide__stream_worker *worker, const struct stream_samples *s,
                                const struct tide__windows **out)
{
    const struct tide_series_samples *samples = &s->samples;
    size_t at = (size_t)(((uintptr_t)samples->times_ms >> 4) * 0x9e3779b97f4a7c15ULL >> 58);
    struct window_slot *slot = &worker->cache[at % WINDOW_CACHE_SLOTS];
    struct tide__windows *windows;

    if (s->shared_times && slot->windows != NULL && slot->times_ms == samples->times_ms &&
        slot->count == samples->count) {
        *out = slot->windows;
        return TIDE_OK;
    }
    windows = tide__windows_make(stream, samples->times_ms, samples->count,
                                 s->shared_times ? worker->shared : worker->private);
    if (windows == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (s->shared_times)
        *slot = (struct window_slot){samples->times_ms, samples->count, windows};
    *out = windows;
    return TIDE_OK;
}

static enum tide_err scratch_for(struct tide__stream_worker *worker, size_t count)
{
    size_t bytes = 32 * count + 64;
    void *scratch;

    if (bytes <= worker->scratch_bytes)
        return TIDE_OK;
    bytes *= 2;
    scratch = tide_mem_alloc(bytes);
    if (scratch == NULL)
        return TIDE_ERR_NO_MEMORY;
    tide_mem_free(worker->scratch);
    worker->scratch = scratch;
    worker->scratch_bytes = bytes;
    return TIDE_OK;
}

/* ---- Rows ---- */

static bool is_counter_name(struct tide_slice name)
{
    return name.len == 0 || tide_slice_ends(name, TIDE_SLICE("_total")) ||
           tide_slice_ends(name, TIDE_SLICE("_sum")) ||
           tide_slice_ends(name, TIDE_SLICE("_count")) ||
           tide_slice_ends(name, TIDE_SLICE("_bucket"));
}

static void check_counter(struct tide__stream *stream, size_t i)
{
    struct tide_slice name = tide__stream_label(stream, i, TIDE_SLICE(TIDE_LABEL_METRIC));

    if (stream->counter_one_name)
        atomic_store_explicit(&stream->counter_check, false, memory_order_relaxed);
    if (!is_counter_name(name))
        tide__note_at(stream->eval, true, stream->counter_pos,
                      "metric might not be a counter, name does not end in "
                      "_total/_sum/_count/_bucket: \"%.*s\"",
                      TIDE_SLICE_ARGS(name));
}

static bool any_float(const uint64_t *present, const struct tide_histogram *const *picked,
                      size_t step_count)
{
    for (size_t s = 0; s < step_count; s++)
        if (tide__bit(present, s) && picked[s] == NULL)
            return true;
    return false;
}

/* A row out of samples with histograms among them. */
static enum tide_err mixed_row(struct tide__batch_run *run, size_t k, struct stream_samples *s,
                               double *out, uint64_t *out_present)
{
    struct tide__stream *stream = run->stream;
    struct tide__stream_worker *worker = run->worker;
    size_t steps = stream->grid->step_count;
    const struct tide__windows *windows;
    const struct tide_histogram **picked =
        tide_arena_new_array(worker->private, steps, sizeof(const struct tide_histogram *));
    struct tide__range_args args = {.call = &stream->call,
                                    .out = out,
                                    .out_present = out_present,
                                    .out_histograms = picked,
                                    .arena = worker->private};
    bool dropped = false;
    bool ok;
    enum tide_err err;

    memset(out_present, 0, stream->grid->word_count * sizeof(*out_present));
    if (picked == NULL ||
        !tide__mixed_samples(&s->samples, stream->kind == TIDE__STREAM_RANGE || stream->smoothed,
                             stream->set == NULL, worker->private, &dropped))
        return tide__arena_no_memory(stream->eval, worker->private);
    s->shared_times = s->shared_times && !dropped;
    if (s->samples.count == 0)
        return TIDE_OK;
    err = windows_of(stream, worker, s, &windows);
    if (err == TIDE_OK)
        err = scratch_for(worker, s->samples.count);
    if (err != TIDE_OK)
        return err;
    args.windows = windows;
    args.values = s->samples.values;
    args.histograms = s->samples.histograms;
    args.scratch = worker->scratch;
    args.name = tide__stream_label(stream, run->first + k, TIDE_SLICE(TIDE_LABEL_METRIC));
    if (stream->kind == TIDE__STREAM_RANGE) {
        ok = stream->function->mixed != NULL ? stream->function->mixed(stream->function, &args)
                                             : tide__range_floats(stream->function, &args);
        if (ok && atomic_load_explicit(&stream->counter_check, memory_order_relaxed) &&
            any_float(out_present, picked, steps))
            check_counter(stream, run->first + k);
    } else if (stream->smoothed) {
        ok = tide__pick_smoothed_mixed(stream->eval, stream->counter_pos, &args);
    } else {
        tide__pick_last_mixed(windows, &s->samples, out, out_present, picked);
        ok = true;
    }
    if (!ok)
        return tide__arena_no_memory(stream->eval, worker->private);
    if (stream->kind == TIDE__STREAM_TIMESTAMP) {
        for (size_t i = 0; stream->floats_only && i < steps; i++)
            if (tide__bit(out_present, i) && picked[i] != NULL)
                return tide__eval_fail(stream->eval, TIDE_ERR_EXECUTION,
                                       "info sample should be float");
        for (size_t i = 0; i < steps; i++)
            if (tide__bit(out_present, i))
                out[i] = (double)windows->times_ms[windows->hi[i] - 1] / 1000;
        return TIDE_OK;
    }
    run->histograms = picked;
    return TIDE_OK;
}

static enum tide_err sample_row(struct tide__batch_run *run, size_t k, double *out,
                                uint64_t *out_present)
{
    struct tide__stream *stream = run->stream;
    struct tide__stream_worker *worker = run->worker;
    struct stream_samples s;
    const struct tide__windows *windows;
    enum tide_err err = TIDE_OK;

    if (stream->set != NULL)
        s = (struct stream_samples){worker->batch.series[k], true};
    else
        err = row_samples(stream, worker, run->first + k, &s);
    if (err == TIDE_OK && s.samples.histograms != NULL)
        return mixed_row(run, k, &s, out, out_present);
    if (err == TIDE_OK && (stream->kind == TIDE__STREAM_RANGE || stream->smoothed))
        err = without_stale(worker, &s);
    if (err != TIDE_OK)
        return err;
    if (s.samples.count == 0) {
        memset(out_present, 0, stream->grid->word_count * sizeof(*out_present));
        return TIDE_OK;
    }
    err = windows_of(stream, worker, &s, &windows);
    if (err != TIDE_OK)
        return err;
    if (stream->kind == TIDE__STREAM_RANGE) {
        err = scratch_for(worker, s.samples.count);
        if (err != TIDE_OK)
            return err;
        memset(out_present, 0, stream->grid->word_count * sizeof(*out_present));
        stream->function->range(&(struct tide__range_args){
            .call = &stream->call,
            .windows = windows,
            .values = s.samples.values,
            .scratch = worker->scratch,
            .out = out,
            .out_present = out_present,
        });
        if (atomic_load_explicit(&stream->counter_check, memory_order_relaxed) &&
            tide__any_present(out_present, stream->grid->word_count))
            check_counter(stream, run->first + k);
    } else if (stream->smoothed) {
        tide__pick_smoothed(windows, s.samples.values, out, out_present);
    } else if (stream->kind == TIDE__STREAM_TIMESTAMP) {
        tide__pick_time(windows, s.samples.values, out, out_present);
    } else {
        tide__pick_last(windows, s.samples.values, out, out_present);
    }
    return TIDE_OK;
}

static void negate_row(size_t step_count, double *values)
{
    for (size_t s = 0; s < step_count; s++)
        values[s] = -values[s];
}

/* A row of floats alone. */
static void map_floats(const struct tide__row_op *op, size_t word_count, double *values,
                       uint64_t *present)
{
    if (op->function->map != NULL)
        op->function->map(&op->call, values, present);
    else
        memset(present, 0, word_count * sizeof(*present));
}

static enum tide_err apply_ops(struct tide__batch_run *run, double *values, uint64_t *present)
{
    const struct tide__stream *stream = run->stream;

    for (size_t i = 0; i < stream->op_count; i++) {
        const struct tide__row_op *op = &stream->ops[i];

        if (run->histograms != NULL) {
            if (!tide__row_op_mixed(stream->eval, op, run->worker->private,
                                    stream->grid->step_count, values, present, &run->histograms))
                return tide__arena_no_memory(stream->eval, run->worker->private);
            continue;
        }
        switch (op->kind) {
        case TIDE__ROW_MAP:
            map_floats(op, stream->grid->word_count, values, present);
            break;
        case TIDE__ROW_BINARY:
            if (tide__is_trim(op->op))
                tide__trim_floats(stream->eval, op, stream->grid->word_count, present);
            else
                tide__binary_row(op->op, op->return_bool, op->swapped, op->scalar,
                                 stream->grid->step_count, values, present);
            break;
        case TIDE__ROW_NEGATE:
            negate_row(stream->grid->step_count, values);
            break;
        }
    }
    return TIDE_OK;
}

enum tide_err tide__stream_row(struct tide__batch_run *run, size_t k, double *out,
                               uint64_t *out_present, const double **values,
                               const uint64_t **present)
{
    const struct tide__stream *stream = run->stream;
    double *to = out != NULL ? out : run->worker->values;
    uint64_t *to_present = out != NULL ? out_present : run->worker->present;
    enum tide_err err;

    run->histograms = NULL;
    tide_arena_reset(run->worker->private);
    if (stream->kind == TIDE__STREAM_ROWS) {
        const struct tide__row *row = &stream->rows->rows[run->first + k];

        run->histograms = row->histograms;
        if (out == NULL && stream->op_count == 0) {
            *values = row->values;
            *present = row->present;
            return TIDE_OK;
        }
        if (to != row->values) {
            memcpy(to, row->values, stream->grid->step_count * sizeof(*to));
            memcpy(to_present, row->present, stream->grid->word_count * sizeof(*to_present));
        }
    } else {
        err = sample_row(run, k, to, to_present);
        if (err != TIDE_OK)
            return err;
    }
    err = apply_ops(run, to, to_present);
    *values = to;
    *present = to_present;
    if (err == TIDE_OK && run->histograms != NULL) /* They may be large: not once a batch only. */
        err = tide__charge_arena(stream->eval, run->worker->private, &run->worker->private_charged);
    return err;
}

struct tide_slice tide__stream_label(const struct tide__stream *stream, size_t i,
                                     struct tide_slice name)
{
    if (stream->set != NULL)
        return stream->set->ops->label(stream->set, i, name);
    return tide_labels_get(stream->rows->rows[i].labels, name);
}

bool tide__stream_drops_name(const struct tide__stream *stream, size_t i)
{
    return stream->drop_name || (stream->rows != NULL && stream->rows->rows[i].drop_name);
}

enum tide_err tide__stream_labels_in(const struct tide__stream *stream, struct tide_arena *arena,
                                     size_t i, struct tide_labels *out)
{
    if (stream->set != NULL)
        return stream->set->ops->labels(stream->set, i, arena, out);
    *out = stream->rows->rows[i].labels;
    return TIDE_OK;
}

enum tide_err tide__stream_labels(const struct tide__stream *stream, unsigned slot, size_t i,
                                  struct tide_labels *out)
{
    struct tide_arena *arena = tide__slot_arena(stream->eval, slot);

    if (arena == NULL)
        return TIDE_ERR_NO_MEMORY;
    return tide__stream_labels_in(stream, arena, i, out);
}

/* ---- Batches in several threads ---- */

/* Batches that may be done but not committed, per thread: bounds the memory of partial results when
 * one thread falls behind. */
#define UNCOMMITTED_PER_THREAD 16

struct stream_job {
    struct tide__stream *stream;
    void *context;
    enum tide_err (*consume)(void *context, struct tide__batch_run *run, void **partial);
    enum tide_err (*commit)(void *context, void *partial);
    size_t batch_count;

    pthread_mutex_t lock; /* Guards all below; a leaf. */
    pthread_cond_t moved; /* committed rose, or err was set. */
    size_t next;
    size_t committed;
    bool committing; /* Some thread is in commit(). */
    enum tide_err err;
    size_t window;
    struct {
        bool ready;
        void *partial;
    } ring[TIDE__SLOTS_MAX * UNCOMMITTED_PER_THREAD];
};

static enum tide_err batch_read(struct tide__batch_run *run)
{
    struct tide__stream *stream = run->stream;
    struct tide__stream_worker *worker = run->worker;
    enum tide_err err = tide__eval_check(stream->eval);

    if (err != TIDE_OK || stream->kind == TIDE__STREAM_ROWS)
        return err;
    tide_arena_reset(worker->shared);
    memset(worker->cache, 0, sizeof(worker->cache));
    if (stream->set == NULL)
        return TIDE_OK;
    err = tide__read(stream->eval, stream->set, run->first, run->count, stream->mint_ms,
                     stream->maxt_ms, &worker->batch);
    if (err == TIDE_OK)
        err = tide__charge_arena(stream->eval, worker->batch.arena, &worker->batch_charged);
    return err;
}

static enum tide_err job_batch(struct stream_job *job, struct tide__batch_run *run, void **partial)
{
    struct tide__eval *eval = run->stream->eval;
    enum tide_err err;

    run->first = run->batch * run->stream->batch_series;
    run->count = run->stream->series_count - run->first;
    if (run->count > run->stream->batch_series)
        run->count = run->stream->batch_series;
    err = batch_read(run);
    if (err == TIDE_OK)
        err = job->consume(job->context, run, partial);
    if (err == TIDE_OK)
        err = tide__charge_arena(eval, run->worker->shared, &run->worker->shared_charged);
    if (err == TIDE_OK)
        err = tide__charge_arena(eval, run->worker->private, &run->worker->private_charged);
    if (err == TIDE_OK && eval->slot_arenas[run->slot] != NULL)
        err =
            tide__charge_arena(eval, eval->slot_arenas[run->slot], &eval->slot_charged[run->slot]);
    return err;
}

static void job_commit_locked(struct stream_job *job)
{
    if (job->committing)
        return;
    job->committing = true;
    while (job->err == TIDE_OK && job->ring[job->committed % job->window].ready) {
        void *partial = job->ring[job->committed % job->window].partial;
        enum tide_err err = TIDE_OK;

        job->ring[job->committed % job->window].ready = false;
        if (job->commit != NULL) {
            (void)pthread_mutex_unlock(&job->lock);
            err = job->commit(job->context, partial);
            (void)pthread_mutex_lock(&job->lock);
        }
        if (err != TIDE_OK && job->err == TIDE_OK)
            job->err = err;
        job->committed++;
        (void)pthread_cond_broadcast(&job->moved);
    }
    job->committing = false;
}

static void job_run(void *context, unsigned slot)
{
    struct stream_job *job = context;
    struct tide__stream_worker *worker = worker_new(job->stream);

    (void)pthread_mutex_lock(&job->lock);
    if (worker == NULL && job->err == TIDE_OK)
        job->err = TIDE_ERR_NO_MEMORY;
    while (job->err == TIDE_OK && job->next < job->batch_count) {
        struct tide__batch_run run = {.stream = job->stream, .worker = worker, .slot = slot};
        void *partial = NULL;
        enum tide_err err;

        if (job->next >= job->committed + job->window) {
            (void)pthread_cond_wait(&job->moved, &job->lock);
            continue;
        }
        run.batch = job->next++;
        (void)pthread_mutex_unlock(&job->lock);
        err = job_batch(job, &run, &partial);
        (void)pthread_mutex_lock(&job->lock);
        if (err != TIDE_OK && job->err == TIDE_OK)
            job->err = err;
        job->ring[run.batch % job->window].ready = true;
        job->ring[run.batch % job->window].partial = partial;
        job_commit_locked(job);
    }
    (void)pthread_cond_broadcast(&job->moved);
    (void)pthread_mutex_unlock(&job->lock);
    worker_free(job->stream->eval, worker);
}

enum tide_err tide__stream_run(struct tide__stream *stream, void *context,
                               enum tide_err (*consume)(void *context, struct tide__batch_run *run,
                                                        void **partial),
                               enum tide_err (*commit)(void *context, void *partial))
{
    struct stream_job job = {
        .stream = stream,
        .context = context,
        .consume = consume,
        .commit = commit,
        .batch_count = (stream->series_count + stream->batch_series - 1) / stream->batch_series,
    };
    unsigned threads = stream->eval->slot_count;

    if (job.batch_count == 0)
        return TIDE_OK;
    if (threads > job.batch_count)
        threads = (unsigned)job.batch_count;
    job.window = (size_t)threads * UNCOMMITTED_PER_THREAD;
    (void)pthread_mutex_init(&job.lock, NULL);
    (void)pthread_cond_init(&job.moved, NULL);
    tide__pool_run(stream->eval->pool, threads, job_run, &job);
    TIDE_ASSERT(job.err != TIDE_OK || job.committed == job.batch_count);
    (void)pthread_cond_destroy(&job.moved);
    (void)pthread_mutex_destroy(&job.lock);
    return job.err;
}

/* ---- Whole ---- */

/* The histograms of a row outlive the worker: copied, unless they live as long as the query. */
static enum tide_err keep_histograms(const struct tide__batch_run *run, struct tide__row *row)
{
    const struct tide__stream *stream = run->stream;
    struct tide_arena *arena;

    if (run->histograms == NULL ||
        (stream->kind == TIDE__STREAM_ROWS && run->histograms == row->histograms)) {
        row->histograms = run->histograms;
        return TIDE_OK;
    }
    arena = tide__slot_arena(stream->eval, run->slot);
    if (tide__row_keep(row, run->histograms, stream->grid->step_count, arena) != TIDE_OK)
        return tide__arena_no_memory(stream->eval, arena);
    return tide__charge_arena(stream->eval, arena, &stream->eval->slot_charged[run->slot]);
}

static enum tide_err collect_batch(void *context, struct tide__batch_run *run, void **partial)
{
    struct tide__matrix *m = context;
    const double *values;
    const uint64_t *present;

    (void)partial;
    for (size_t k = 0; k < run->count; k++) {
        struct tide__row *row = &m->rows[run->first + k];
        enum tide_err err = tide__stream_row(run, k, row->values, row->present, &values, &present);

        if (err == TIDE_OK && tide__any_present(row->present, m->word_count)) {
            err = tide__stream_labels(run->stream, run->slot, run->first + k, &row->labels);
            if (err == TIDE_OK)
                err = keep_histograms(run, row);
        }
        if (err != TIDE_OK)
            return err;
        row->drop_name = tide__stream_drops_name(run->stream, run->first + k);
    }
    return TIDE_OK;
}

enum tide_err tide__stream_collect(struct tide__stream *stream, struct tide__matrix **out)
{
    struct tide__matrix *m = NULL;
    enum tide_err err;

    if (stream->kind == TIDE__STREAM_ROWS) {
        err = tide__matrix_own(stream->rows, &m);
        if (err == TIDE_OK) {
            stream->rows = m; /* In place. */
            stream->owns_rows = false;
        }
    } else {
        err = tide__matrix_new(stream->eval, stream->series_count, &m);
    }
    if (err == TIDE_OK)
        err = tide__stream_run(stream, m, collect_batch, NULL);
    tide__stream_close(stream);
    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    *out = m;
    return TIDE_OK;
}
