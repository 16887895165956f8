/* SPDX-License-Identifier: Apache-2.0
 *
 * Root: the small object that commits a snapshot; and the descriptor of a repository.
 */
#ifndef SRC_REPO_ROOT_H
#define SRC_REPO_ROOT_H

#include <jansson.h>
#include <stdint.h>

#include "repo/run.h"
#include "s3/base/cleanup.h"
#include "s3/buf.h"
#include "s3/err.h"

enum {
    CF_FORMAT = 1,
    CF_ROOT_LEN_MAX = 1024 * 1024,
    CF_SEGMENT_LINES_MAX = 16384,
    CF_SEGMENT_TOTAL_MAX = 4096, /* ours: what fits a root of 1 MiB; 67 million lines */
};

typedef enum cf_segment_kind { CF_SEGMENT_PACKS, CF_SEGMENT_FILES } cf_segment_kind;

typedef struct cf_segment {
    cf_segment_kind kind;
    char *key; /* owned; below nodes/<node>/runs/ */
    uint64_t stored_bytes;
    uint64_t lines_total;
    uint8_t sha256[32]; /* of the stored bytes */
} cf_segment;

typedef struct cf_totals {
    uint64_t files_total, files_new, files_reused;
    uint64_t source_bytes;              /* logical size of all files */
    uint64_t read_bytes;                /* what this run read of the source */
    uint64_t uploaded_bytes;            /* packs written by this run, stored size */
    uint64_t packs_total, stored_bytes; /* packs this snapshot names; bytes of them it uses */
    uint64_t sparse_packs; /* of them, those worth emptying: cf_pack_is_sparse(), or, when all
                              together have too much slack, cf_pack_is_worn() */
} cf_totals;

/* Of a copy: the snapshot that it is the same as, in the repository where that was made. A copy of a
 * copy names the first one. */
typedef struct cf_origin {
    char repository[33]; /* its id */
    cf_run_id run;
} cf_origin;

typedef struct cf_root {
    cf_run_id run;
    int64_t time_utc_ms; /* the true time of the commit, by the store's clock; of a copy: the
                            origin's */
    char profile[32];
    char version[32]; /* of chunkferry */
    bool has_parent;
    cf_run_id parent;
    uint8_t parent_sha256[32]; /* of the parent's root */
    uint64_t lease;            /* number of the run's lease */
    bool has_origin;
    cf_origin origin;
    cf_totals totals;
    json_t *facts; /* owned; an object, the profile's: versions, cluster epoch id, checkpoints,
                      hazards */
    cf_segment *segments; /* owned; packs first, then files */
    size_t segment_total;
    uint8_t sha256[32]; /* of the root as it was read; not part of it */
} cf_root;

CF_NODISCARD cf_err cf_root_new(cf_root **ret, cf_error *e);
void cf_root_free(cf_root *r); /* NULL is fine */
CF_DEFINE_FREEP(cf_root, cf_root_free)
CF_NODISCARD cf_err cf_root_add_segment(cf_root *r, const cf_segment *s, cf_error *e); /* copies */

/* CF_ERR_FORMAT: `format` or a name in `requires` this program does not know, naming it.
 * CF_ERR_DAMAGE: truncated, malformed, out of limits. Unknown keys are ignored; an unknown kind of
 * segment is CF_ERR_FORMAT, since a prune that ignored it would delete it. */
CF_NODISCARD cf_err cf_root_parse(cf_slice json, cf_root **ret, cf_error *e);
/* Appends. CF_ERR_TOO_LARGE above CF_ROOT_LEN_MAX; CF_ERR_DAMAGE when a reader would refuse it (a
 * field out of its limits). */
CF_NODISCARD cf_err cf_root_render(const cf_root *r, cf_buf *ret, cf_error *e);

#endif
