/* SPDX-License-Identifier: Apache-2.0
 *
 * Tags of snapshots: words that people gave them, folded from marks of kind "tag" in the order of
 * their times. Nothing is overwritten: a tag that is taken away is a mark too. A snapshot tagged
 * "keep" is never pruned.
 */
#ifndef SRC_REPO_TAG_H
#define SRC_REPO_TAG_H

#include <jansson.h>

#include "repo/mark.h"
#include "repo/repo.h"

enum { CF_TAG_LEN_MAX = 64 };
#define CF_TAG_KEEP "keep"

/* 1 to 64 of A-Z, a-z, 0-9, '.', '_', ':' and '-'; else CF_ERR_USAGE with the rule. */
CF_NODISCARD cf_err cf_tag_check(const char *tag, cf_error *e);

typedef struct cf_tag_change {
    const char *const *add; /* borrowed, like all; checked */
    size_t add_total;
    const char *const *remove;
    size_t remove_total;
} cf_tag_change;
/* Writes the mark. A run that puts it before its root needs no more: whoever sees the root sees the
 * mark. */
CF_NODISCARD cf_err cf_tag_put(const cf_repo *repo, const char *node, const cf_run_id *run,
                               const cf_tag_change *change, cf_error *e);
/* The mark, then a look whether it came in time: CF_ERR_FENCED: a prune took the snapshot
 * meanwhile. CF_ERR_LOCKED: "keep" is added, and a prune is running that may not have seen the mark;
 * to be said again when it is done, which does no harm. */
CF_NODISCARD cf_err cf_tag_set(const cf_repo *repo, const char *node, const cf_run_id *run,
                               const cf_tag_change *change, cf_error *e);

/* A mark that cannot be read, and why. */
typedef void (*cf_tag_bad_fn)(void *impl, const cf_mark *mark, const char *why);
/* *ret: an object, the run's id -> its tags as an array of strings in byte order; runs without tags
 * are not in it. only: this snapshot; NULL: all of the node. One LIST, one GET for each mark. bad:
 * told of marks that cannot be read, which are left out; NULL: that is the error. */
CF_NODISCARD cf_err cf_tags_load(const cf_repo *repo, const char *node, const cf_run_id *only,
                                 cf_tag_bad_fn bad, void *impl, json_t **ret, cf_error *e);
/* tags: an array, or NULL for none. */
bool cf_tags_have(const json_t *tags, const char *tag);
/* "a, b"; "" for none. Owned by the caller; NULL without memory. */
char *cf_tags_text(const json_t *tags);
/* One mark's body onto a set (an object whose keys are the tags). Pure. CF_ERR_DAMAGE. */
CF_NODISCARD cf_err cf_tags_fold(json_t *set, const json_t *body, cf_error *e);

#endif
