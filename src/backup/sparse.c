/* SPDX-License-Identifier: Apache-2.0
 *
 * Sparse packs: those of which the parent uses little. Their live files are sent again, a little in
 * each run, so that a pack falls out of use whole and prune can have it; nothing is ever rewritten
 * in the store.
 */
#include "backup/backup.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum {
    CF_SPARSE_TOTAL_MAX = 256, /* ours: packs one run looks at; the next run takes the others */
    CF_SPARSE_SHARE = 10,      /* at most a tenth of what the run reads is sent for this */
};

struct cf_sparse {
    char *pack[CF_SPARSE_TOTAL_MAX]; /* owned */
    size_t total;
    uint64_t budget_bytes; /* source bytes that may still be sent again */
};

void cf_sparse_free(cf_sparse *const s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->total; i++)
        cf_free(s->pack[i]);
    cf_free(s);
}

cf_err cf_sparse_load(cf_backup *const b, cf_error *const e)
{
    const cf_pack_line *line = NULL;

    if (!b->reuse || b->claim.parent->totals.sparse_packs == 0)
        return CF_OK;
    CF_NEW(b->sparse, e);
    b->sparse->budget_bytes = b->plan_read_bytes / CF_SPARSE_SHARE;
    CF_TRY(cf_cursor_rewind(b->parent_packs, e));
    while (b->sparse->total < CF_SPARSE_TOTAL_MAX) {
        CF_TRY(cf_cursor_next_pack(b->parent_packs, &line, e));
        if (line == NULL)
            break;
        if (!cf_pack_is_sparse(line))
            continue;
        char *const pack = cf_strdup(line->pack);
        CF_ENSURE(pack != NULL, e, CF_ERR_NO_MEMORY, "note a sparse pack");
        b->sparse->pack[b->sparse->total++] = pack;
    }
    return CF_OK;
}

static bool is_sparse(const cf_sparse *const s, const char *const pack)
{
    for (size_t i = 0; i < s->total; i++) {
        if (strcmp(s->pack[i], pack) == 0)
            return true;
    }
    return false;
}

bool cf_sparse_wants(const cf_backup *const b, const cf_file_line *const prior)
{
    if (b->sparse == NULL || prior == NULL || prior->size_bytes > b->sparse->budget_bytes)
        return false;
    for (size_t i = 0; i < prior->extent_total; i++) {
        if (is_sparse(b->sparse, prior->extents[i].pack))
            return true;
    }
    return false;
}

void cf_sparse_spend(cf_backup *const b, const uint64_t bytes)
{
    b->sparse->budget_bytes -= bytes < b->sparse->budget_bytes ? bytes : b->sparse->budget_bytes;
}

void cf_sparse_strip(cf_backup *const b, cf_extent *const extents, size_t *const total)
{
    size_t kept = 0;

    if (b->sparse == NULL)
        return;
    for (size_t i = 0; i < *total; i++) {
        if (extents[i].file_bytes <= b->sparse->budget_bytes &&
            is_sparse(b->sparse, extents[i].pack))
            cf_sparse_spend(b, extents[i].file_bytes);
        else
            extents[kept++] = extents[i];
    }
    *total = kept;
}
