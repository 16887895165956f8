/* SPDX-License-Identifier: Apache-2.0
 *
 * Findings: what is damaged, which files that concerns, which snapshots name it.
 */
#ifndef SRC_VERIFY_FINDINGS_H
#define SRC_VERIFY_FINDINGS_H

#include <pthread.h>

#include "repo/run.h"
#include "s3/base/cleanup.h"
#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_FINDING_FILES_MAX = 20,     /* ours: shown; all are counted */
    CF_FINDING_SNAPSHOTS_MAX = 16, /* shown, and marked; all are counted */
    CF_FINDINGS_MAX = 4096,        /* ours: objects told one by one */
    CF_FINDING_REASON_SIZE = 512,
};

typedef enum cf_finding_kind {
    CF_FINDING_PACK,
    CF_FINDING_SEGMENT,
    CF_FINDING_ROOT
} cf_finding_kind;

typedef struct cf_finding {
    size_t node;
    cf_finding_kind kind;
    char object[CF_RUN_OBJECT_LEN_MAX + 1]; /* "<run>/<seq>-..."; of a root: its run */
    char reason[CF_FINDING_REASON_SIZE];    /* the first one */
    cf_run_id found_in;                     /* the snapshot that led there */
    char *files[CF_FINDING_FILES_MAX];      /* owned */
    size_t files_shown;
    uint64_t files_total;
    cf_run_id snapshots[CF_FINDING_SNAPSHOTS_MAX]; /* newest first */
    size_t snapshots_shown;
    uint64_t snapshots_total;
    char origin[CF_RUN_OBJECT_LEN_MAX + 1]; /* of a copied pack; "": none */
    char *other_copy;                       /* owned; see cf_verify_damage */
} cf_finding;

/* What a worker found; borrowed. */
typedef struct cf_found {
    size_t node;
    cf_finding_kind kind;
    const char *object;
    const cf_run_id *found_in;
    cf_slice file; /* len 0: none */
    const char *reason;
} cf_found;

typedef struct cf_findings {
    pthread_mutex_t lock;
    bool has_lock;
    cf_finding **at; /* owned, owned */
    size_t total, cap;
    uint64_t more;        /* objects that were too many to keep */
    uint64_t files_total; /* files concerned */
} cf_findings;

CF_NODISCARD cf_err cf_findings_new(cf_findings **ret, cf_error *e);
void cf_findings_free(cf_findings *f); /* NULL is fine */
CF_DEFINE_FREEP(cf_findings, cf_findings_free)
/* Any thread. One object is one finding, however many files lead to it. */
CF_NODISCARD cf_err cf_findings_add(cf_findings *f, const cf_found *found, cf_error *e);
uint64_t cf_findings_total(cf_findings *f); /* any thread */
/* The threads are gone: drops what names.c left without a snapshot. */
void cf_findings_drop_unnamed(cf_findings *f);

#endif
