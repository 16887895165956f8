/* SPDX-License-Identifier: Apache-2.0
 *
 * Match: which packs of the snapshot the target has: in its parent, or uploaded by a run that died.
 * What is known to be damaged there does not count.
 */
#include "copy/copy.h"
#include "s3/base/cleanup.h"

/* The source's lines, in their order. */
static cf_err ours_add(cf_transfer *const t, cf_error *const e)
{
    const cf_pack_line *line = NULL;

    CF_TRY(cf_names_new(&t->names, e));
    for (;;) {
        CF_TRY(cf_transfer_of_source(t, cf_cursor_next_pack(t->packs, &line, e)));
        if (line == NULL)
            break;
        CF_TRY(cf_names_add(t->names, line, e));
    }
    cf_names_seal(t->names);
    return CF_OK;
}

static cf_err parent_offer(cf_transfer *const t, cf_error *const e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *packs = NULL;
    const cf_pack_line *line = NULL;

    if (t->claim.parent == NULL)
        return CF_OK;
    CF_TRY(cf_cursor_new(&t->c->to, t->c->node, t->claim.parent, CF_SEGMENT_PACKS, &packs, e));
    for (;;) {
        CF_TRY_AS(cf_cursor_next_pack(packs, &line, e), e, "the target's snapshot %s",
                  t->claim.parent->run.text);
        if (line == NULL)
            return CF_OK;
        if (!cf_damage_has(t->claim.damage, line->pack))
            cf_names_offer(t->names, line);
    }
}

static cf_err adopted_offer(cf_transfer *const t, cf_error *const e)
{
    const cf_pack_line *line = NULL;

    if (t->claim.adopted == NULL)
        return CF_OK;
    for (;;) {
        CF_TRY(cf_adoption_next_pack(t->claim.adopted, &line, e));
        if (line == NULL)
            return CF_OK;
        cf_names_offer(t->names, line);
    }
}

static bool is_there(const cf_transfer *const t, const char *const pack)
{
    return cf_names_has(t->names, pack) ||
           (t->c->rehearsed != NULL && cf_names_knows(t->c->rehearsed, pack));
}

static cf_err missing_count(cf_transfer *const t, cf_error *const e)
{
    const cf_pack_line *line = NULL;

    CF_TRY(cf_cursor_rewind(t->packs, e));
    for (;;) {
        CF_TRY(cf_transfer_of_source(t, cf_cursor_next_pack(t->packs, &line, e)));
        if (line == NULL)
            break;
        t->packs_total++;
        if (is_there(t, line->pack))
            continue;
        t->packs_missing++;
        t->bytes_missing += line->stored_bytes;
    }
    return cf_cursor_rewind(t->packs, e);
}

cf_err cf_transfer_match(cf_transfer *const t, cf_error *const e)
{
    CF_TRY(ours_add(t, e));
    CF_TRY(parent_offer(t, e));
    CF_TRY(adopted_offer(t, e));
    return missing_count(t, e);
}
