/* What the querier's tests share: a querier over a few series in memory, behind a real server, and
 * a client for it. All failures end the test. */
#ifndef SUPPORT_QUERIER_H
#define SUPPORT_QUERIER_H

#include "querier_private.h"

#include <pthread.h>

/* A slice of a literal, for tables. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                         \
    }

/* A series of the source. */
struct memory_series {
    const struct tide_label *pairs;
    size_t pair_count;
    const int64_t *times_ms;
    const double *values;
    size_t count;
};

/* A source that holds what it is given. Label names and values come in pieces and repeated, as from
 * several shards. */
struct memory_source {
    const struct memory_series *series;
    size_t series_count;
    const struct tide_metadata *metadata;
    size_t metadata_count;
    const struct tide_exemplar *exemplars; /* Of series 0. */
    size_t exemplar_count;
    pthread_mutex_t lock; /* Guards the fields up to the blank line. */
    enum tide_err err;    /* What calls answer when it is not TIDE_OK. */
    struct tide_select asked;
    struct tide_slice asked_name; /* The label of the last call for values; in asked_text. */
    char asked_text[256];

    struct tide_source source;
};

void memory_source_init(struct memory_source *memory, const struct memory_series *series,
                        size_t series_count);

struct service {
    struct memory_source *memory;
    struct tide_engine *engine;
    struct tide_querier *querier;
    struct tide_http_server *server;
    uint16_t port;
    char *body; /* Of the last answer. */
};

/* options: limits; engine, source and tenant are filled in. */
void service_start(struct service *service, struct memory_source *memory,
                   struct tide_querier_options options);
void service_stop(struct service *service);
/* Asks with GET and answers the status; service->body is the body. */
int service_get(struct service *service, const char *path);
/* The same with another method, for the tenant "other" or (NULL) "t". */
int service_ask(struct service *service, const char *method, const char *tenant, const char *path);
/* Asks and compares the whole body. */
void service_expect(struct service *service, const char *path, int status, const char *body);
/* Asks and looks for a part of the body. */
void service_expect_part(struct service *service, const char *path, int status, const char *part);

#endif
