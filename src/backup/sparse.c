/* SPDX-License-Identifier: Apache-2.0
 *
 * Sparse packs: those of which the parent uses little. Their live files are sent again, so that a
 * pack falls out of use whole and prune can have it; nothing is ever rewritten in the store.
 *
 * Which: those used for less than CF_PACK_SPARSE_PERCENT, always; and while all packs together are
 * larger than CF_PACKS_SLACK_PERCENT of what is used of them, the least used ones. How much: until
 * then. What that costs is decided by the slack that is let stand, not by the budget, which only
 * bounds one run; a budget below what is new lets the slack grow behind bursts of change
 * (tests/cli/churn_model.py; docs/internals/directory.md has the figures).
 */
#include <stdlib.h>

#include "backup/backup.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum {
    CF_SPARSE_TOTAL_MAX = 1024,    /* ours: packs one run looks at; the next run takes the others */
    CF_SPARSE_SHARE_PERCENT = 150, /* of the stored bytes that the parent's run sent */
    CF_SPARSE_LEAST_BYTES = 128 * 1024 * 1024, /* what two shared packs hold */
};

typedef struct candidate {
    char *pack; /* owned */
    uint64_t used_bytes, stored_bytes;
} candidate;

struct cf_sparse {
    candidate at[CF_SPARSE_TOTAL_MAX]; /* the least used first; once chosen, by name */
    size_t total;
    uint64_t used_bytes, stored_bytes; /* of all packs */
    uint64_t budget_bytes;             /* stored bytes that may still be sent again */
};

void cf_sparse_free(cf_sparse *const s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->total; i++)
        cf_free(s->at[i].pack);
    cf_free(s);
}

/* Is a used for a smaller share than b? */
static bool is_less_used(const candidate *const a, const candidate *const b)
{
    return (double)a->used_bytes * (double)b->stored_bytes <
           (double)b->used_bytes * (double)a->stored_bytes;
}

/* Keeps the least used ones, in order. */
static cf_err candidate_put(cf_sparse *const s, const cf_pack_line *const line, cf_error *const e)
{
    candidate c = {.used_bytes = line->used_bytes, .stored_bytes = line->stored_bytes};
    size_t i = s->total;

    if (s->total == CF_SPARSE_TOTAL_MAX) {
        if (!is_less_used(&c, &s->at[--i]))
            return CF_OK;
        cf_free(CF_STEAL(s->at[i].pack));
        s->total--;
    }
    c.pack = cf_strdup(line->pack);
    CF_ENSURE(c.pack != NULL, e, CF_ERR_NO_MEMORY, "note a sparse pack");
    for (; i > 0 && is_less_used(&c, &s->at[i - 1]); i--)
        s->at[i] = s->at[i - 1];
    s->at[i] = c;
    s->total++;
    return CF_OK;
}

static cf_err packs_look(cf_backup *const b, cf_sparse *const s, cf_error *const e)
{
    const cf_pack_line *line = NULL;

    CF_TRY(cf_cursor_rewind(b->parent_packs, e));
    for (;;) {
        CF_TRY(cf_cursor_next_pack(b->parent_packs, &line, e));
        if (line == NULL)
            return CF_OK;
        s->used_bytes += line->used_bytes;
        s->stored_bytes += line->stored_bytes;
        if (cf_pack_is_worn(line))
            CF_TRY(candidate_put(s, line, e));
    }
}

static int name_cmp(const void *const a, const void *const b)
{
    return strcmp(((const candidate *)a)->pack, ((const candidate *)b)->pack);
}

/* Of the candidates those that are to be emptied now: until there is little slack, or the budget
 * is planned for. Each that is begun should also come to its end. */
static void candidates_choose(cf_sparse *const s)
{
    uint64_t stored_bytes = s->stored_bytes, planned_bytes = 0;
    size_t kept = 0;

    for (size_t i = 0; i < s->total; i++) {
        candidate *const c = &s->at[i];
        const bool wanted = cf_packs_have_slack(s->used_bytes, stored_bytes) ||
                            cf_pack_is_sparse(&(cf_pack_line){.used_bytes = c->used_bytes,
                                                              .stored_bytes = c->stored_bytes});

        if (wanted && planned_bytes + c->used_bytes <= s->budget_bytes) {
            planned_bytes += c->used_bytes;
            stored_bytes -= c->stored_bytes - c->used_bytes;
            s->at[kept++] = *c;
        } else {
            cf_free(CF_STEAL(c->pack));
        }
    }
    s->total = kept;
    qsort(s->at, s->total, sizeof(s->at[0]), name_cmp);
}

cf_err cf_sparse_load(cf_backup *const b, cf_error *const e)
{
    if (!b->reuse || b->claim.parent->totals.sparse_packs == 0)
        return CF_OK;
    CF_NEW(b->sparse, e);
    const uint64_t share_bytes =
        b->claim.parent->totals.uploaded_bytes / 100 * CF_SPARSE_SHARE_PERCENT;
    b->sparse->budget_bytes =
        share_bytes > CF_SPARSE_LEAST_BYTES ? share_bytes : CF_SPARSE_LEAST_BYTES;
    CF_TRY(packs_look(b, b->sparse, e));
    candidates_choose(b->sparse);
    return CF_OK;
}

static int chosen_cmp(const void *const pack, const void *const entry)
{
    return strcmp(pack, ((const candidate *)entry)->pack);
}

static bool is_chosen(const cf_sparse *const s, const char *const pack)
{
    return bsearch(pack, s->at, s->total, sizeof(s->at[0]), chosen_cmp) != NULL;
}

static uint64_t stored_bytes_of(const cf_file_line *const l)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < l->extent_total; i++)
        sum += l->extents[i].stored_bytes;
    return sum;
}

bool cf_sparse_wants(const cf_backup *const b, const cf_file_line *const prior)
{
    if (b->sparse == NULL || b->sparse->total == 0 || prior == NULL ||
        stored_bytes_of(prior) > b->sparse->budget_bytes)
        return false;
    for (size_t i = 0; i < prior->extent_total; i++) {
        if (is_chosen(b->sparse, prior->extents[i].pack))
            return true;
    }
    return false;
}

static void spend(cf_sparse *const s, const uint64_t bytes)
{
    s->budget_bytes -= bytes < s->budget_bytes ? bytes : s->budget_bytes;
}

void cf_sparse_spend(cf_backup *const b, const cf_file_line *const prior)
{
    spend(b->sparse, stored_bytes_of(prior));
}

void cf_sparse_strip(cf_backup *const b, cf_extent *const extents, size_t *const total)
{
    size_t kept = 0;

    if (b->sparse == NULL)
        return;
    for (size_t i = 0; i < *total; i++) {
        if (extents[i].stored_bytes <= b->sparse->budget_bytes &&
            is_chosen(b->sparse, extents[i].pack))
            spend(b->sparse, extents[i].stored_bytes);
        else
            extents[kept++] = extents[i];
    }
    *total = kept;
}
