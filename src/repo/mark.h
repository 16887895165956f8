/* SPDX-License-Identifier: Apache-2.0
 *
 * Marks: facts about a snapshot that came to light after its commit: tags, proofs, damage. Each is
 * an object of its own, nodes/<node>/marks/<run>/<kind>-<time>, so that nothing is ever
 * overwritten.
 */
#ifndef SRC_REPO_MARK_H
#define SRC_REPO_MARK_H

#include <jansson.h>

#include "repo/repo.h"

enum {
    CF_MARK_KIND_LEN_MAX = 16, /* [a-z]+ */
    CF_MARK_NAME_SIZE = 64,
    CF_MARK_LEN_MAX = 1024 * 1024,
};

#define CF_MARK_TAG    "tag"
#define CF_MARK_PROOF  "proof"
#define CF_MARK_DAMAGE "damage"

typedef struct cf_mark {
    cf_run_id run; /* the snapshot it speaks of */
    char kind[CF_MARK_KIND_LEN_MAX + 1];
    char name[CF_MARK_NAME_SIZE]; /* "<kind>-<time>", the key below its snapshot's */
    int64_t time_utc_ms;          /* by the store's clock */
} cf_mark;

static inline bool cf_mark_is(const cf_mark *const m, const char *const kind)
{
    return strcmp(m->kind, kind) == 0;
}

typedef cf_err (*cf_mark_fn)(void *impl, const cf_mark *mark, cf_error *e);
/* By snapshot, then by kind, then by time; one LIST, nothing is read. only: marks of this snapshot;
 * NULL: all of the node. Keys of another shape are none of ours. */
CF_NODISCARD cf_err cf_mark_each(const cf_repo *repo, const char *node, const cf_run_id *only,
                                 cf_mark_fn fn, void *impl, cf_error *e);
/* body is borrowed; format and requires are put before it. Never overwrites: while a mark of this
 * kind has this very time, the next millisecond is taken. */
CF_NODISCARD cf_err cf_mark_add(const cf_repo *repo, const char *node, const cf_run_id *run,
                                const char *kind, json_t *body, cf_error *e);
/* CF_ERR_NOT_FOUND: gone (prune had it). CF_ERR_DAMAGE, CF_ERR_FORMAT. Free with json_decref(). */
CF_NODISCARD cf_err cf_mark_load(const cf_repo *repo, const char *node, const cf_mark *mark,
                                 json_t **ret, cf_error *e);

/* "<kind>-YYYYMMDDThhmmssmmmZ"; false: another shape. Fills all but run. Pure. */
bool cf_mark_name_parse(cf_slice name, cf_mark *ret);

#endif
