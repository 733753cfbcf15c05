/* Scripts of samples, queries and the answers they must get.
 *
 *     load 10s                          samples 10 s apart, the first at 0
 *       up{job="a"} 1 0+10x3 _ stale    0+10x3 is 0 10 20 30; 1x2 is 1 1 1; _ is none; _x3 three
 *     at 50s sum(up)                    an instant query; what it must answer follows, indented
 *       {} 4
 *     from 0s to 60s by 10s up          a range query
 *       up{job="a"} 1 2 _ 4 5 6 7
 *     clear                             forget all samples
 *
 * Further expectations: `scalar 5`, `string text`, `error text` (part of the message), `warning
 * text`, `info text` (part of one), `ordered` (the series stand in this order). A query without
 * `warning` or `info` must give none. Values agree to a relative 1e-12. */
#ifndef TIDE_PROMQL_SUPPORT_SCRIPT_H
#define TIDE_PROMQL_SUPPORT_SCRIPT_H

#include "support_source.h"

#include "tide/promql/engine.h"

/* Runs a script with each of the engines, timestamps shared and not; fails the test with place and
 * difference. Answers how many queries it asked. */
size_t support_script_run(const char *path, struct tide_engine **engines, size_t engine_count);

#endif
