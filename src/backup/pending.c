/* SPDX-License-Identifier: Apache-2.0
 *
 * Pending: a file between the plan and the manifest. The parent's line is copied, since the cursor
 * goes on.
 */
#include "backup/backup.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { CF_LEFT_BYTES_MAX = 8 * 1024 * 1024 }; /* ours: what is above it is sent again */

typedef struct cf_left {
    struct cf_left *next;
    cf_file_line *line; /* owned */
} cf_left;

cf_err cf_left_put(cf_backup *const b, const cf_entry *const entry, const cf_upload_result *const r,
                   cf_error *const e)
{
    const cf_file_line line = {.path = cf_slice_str(entry->path),
                               .klass = entry->klass,
                               .size_bytes = r->size_bytes,
                               .extents = r->extents,
                               .extent_total = r->extent_total};
    const uint64_t bytes = cf_file_line_dup_bytes(&line);
    cf_left *l = NULL;

    if (r->extent_total == 0 || b->left_bytes + bytes > CF_LEFT_BYTES_MAX)
        return CF_OK;
    CF_NEW(l, e);
    if (b->left_last != NULL)
        b->left_last->next = l;
    else
        b->left_first = l;
    b->left_last = l;
    b->left_bytes += bytes;
    return cf_file_line_dup(&line, &l->line, e);
}

cf_file_line *cf_left_take(cf_backup *const b, const char *const path)
{
    cf_file_line *found = NULL;

    while (found == NULL && b->left_first != NULL) {
        cf_left *const l = b->left_first;
        const int order = path == NULL ? -1 : cf_slice_cmp(l->line->path, cf_slice_str(path));

        if (order > 0)
            return NULL;
        b->left_first = l->next;
        if (b->left_first == NULL)
            b->left_last = NULL;
        if (order == 0)
            found = CF_STEAL(l->line);
        cf_free(l->line);
        cf_free(l);
    }
    return found;
}

cf_err cf_pending_new(cf_entry *const entry, const cf_file_line *const prior,
                      cf_pending **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_pending_freep) cf_pending *p = NULL;

    CF_NEW(p, e);
    p->entry = entry;
    if (prior != NULL)
        CF_TRY(cf_file_line_dup(prior, &p->prior, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

void cf_pending_free(cf_pending *const p)
{
    if (p == NULL)
        return;
    cf_free(p->prior);
    cf_free(p);
}
