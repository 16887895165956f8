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

/* As a backup: lists of the parent that are damaged or gone are no failure, the copy stands alone
 * then, and names no segment of it. */
static cf_err parent_open(cf_transfer *const t, cf_error *const e)
{
    cf_copy *const c = t->c;
    const cf_root *const parent = t->claim.parent;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *files = NULL;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *packs = NULL;
    cf_error why = {0};

    if (parent == NULL)
        return CF_OK;
    if (cf_damage_has_all_of(t->claim.damage, &parent->run)) {
        cf_copy_log(c, CF_LOG_WARN,
                    "the target's snapshot %s is marked as damaged: nothing of it is reused",
                    parent->run.text);
        return CF_OK;
    }
    CF_TRY(cf_cursor_new(&c->to, c->node, parent, CF_SEGMENT_FILES, &files, e));
    CF_TRY(cf_cursor_new(&c->to, c->node, parent, CF_SEGMENT_PACKS, &packs, e));
    cf_err err = cf_cursor_check(files, &why);
    if (err == CF_OK)
        err = cf_cursor_check(packs, &why);
    if (err == CF_ERR_DAMAGE) {
        cf_copy_log(c, CF_LOG_WARN,
                    "nothing of the target's snapshot %s is reused: %s; every pack is sent "
                    "again\nHINT: 'chunkferry verify %s' of the target tells what else is damaged",
                    parent->run.text, why.message, parent->run.text);
        return CF_OK;
    }
    if (err != CF_OK && e != NULL)
        *e = why;
    CF_TRY(err);
    t->parent_packs = CF_STEAL(packs);
    return CF_OK;
}

static cf_err parent_offer(cf_transfer *const t, cf_error *const e)
{
    const cf_pack_line *line = NULL;

    CF_TRY(parent_open(t, e));
    if (t->parent_packs == NULL)
        return CF_OK;
    for (;;) {
        CF_TRY_AS(cf_cursor_next_pack(t->parent_packs, &line, e), e, "the target's snapshot %s",
                  t->claim.parent->run.text);
        if (line == NULL)
            return cf_cursor_rewind(t->parent_packs, e);
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
            break;
        cf_names_offer(t->names, line);
    }
    cf_adoption_rewind(t->claim.adopted); /* the manifest reads them too */
    return CF_OK;
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
