/* SPDX-License-Identifier: Apache-2.0
 *
 * Garbage: what prune marked in a repository without conditional create, where it must wait seven
 * days before it deletes: nodes/<node>/garbage/<id>, one zstd frame of JSON lines. Nobody adopts
 * what is marked.
 *
 *   {"format":1,"requires":[]}
 *   {"run":"20261121T153040Z-0123abcd","root":true,"objects":[[1,17],[19,19]]}
 *
 * `root`: its root is to go. `objects`: ranges of sequence numbers, ascending. A run may have
 * several lines.
 */
#ifndef SRC_REPO_GARBAGE_H
#define SRC_REPO_GARBAGE_H

#include "repo/repo.h"
#include "repo/run.h"
#include "s3/base/cleanup.h"
#include "s3/err.h"

enum {
    CF_GARBAGE_STORED_MAX = 8 * 1024 * 1024, /* of a mark; ours: ranges of a million runs */
    CF_GARBAGE_SOURCE_MAX = 256 * 1024 * 1024,
    CF_GARBAGE_RANGES_MAX = 1024, /* of a line */
};

typedef cf_err (*cf_garbage_run_fn)(void *impl, const cf_run_id *run, cf_error *e);
/* Each run of which a mark of the node names the root or an object, once a line and not in order.
 * One LIST, one GET a mark. CF_ERR_DAMAGE, CF_ERR_FORMAT: a mark cannot be read, so it is unknown
 * what it names. */
CF_NODISCARD cf_err cf_garbage_each_run(const cf_repo *repo, const char *node, cf_garbage_run_fn fn,
                                        void *impl, cf_error *e);

typedef struct cf_garbage_line {
    const char *mark;        /* its key; the same pointer for all lines of one mark */
    int64_t modified_utc_ms; /* of the mark */
    cf_run_id run;
    bool root;
    uint32_t range[CF_GARBAGE_RANGES_MAX][2]; /* first, last */
    size_t range_total;
} cf_garbage_line;
typedef cf_err (*cf_garbage_line_fn)(void *impl, const cf_garbage_line *line, cf_error *e);
/* Every line, mark by mark. */
CF_NODISCARD cf_err cf_garbage_each(const cf_repo *repo, const char *node, cf_garbage_line_fn fn,
                                    void *impl, cf_error *e);

/* A mark being written. Runs ascending; of a run the root first, then its objects ascending. */
typedef struct cf_garbage_writer cf_garbage_writer;
CF_NODISCARD cf_err cf_garbage_writer_new(cf_garbage_writer **ret, cf_error *e);
void cf_garbage_writer_free(cf_garbage_writer *w);
CF_DEFINE_FREEP(cf_garbage_writer, cf_garbage_writer_free)
/* seq 0: the root. *ret_full: it was not taken, the mark is full; the next prune marks the rest. */
CF_NODISCARD cf_err cf_garbage_writer_add(cf_garbage_writer *w, const cf_run_id *run, uint32_t seq,
                                          bool *ret_full, cf_error *e);
/* PUTs it as garbage/<id>; nothing when it is empty. */
CF_NODISCARD cf_err cf_garbage_writer_put(cf_garbage_writer *w, const cf_repo *repo,
                                          const char *node, const cf_run_id *id, cf_error *e);

#endif
