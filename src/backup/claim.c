/* SPDX-License-Identifier: Apache-2.0
 *
 * Claim: the node is this run's (repo/claim.h has the order of steps); and what of the parent may
 * be named again.
 */
#include "backup/backup.h"
#include "s3/base/cleanup.h"

static void log_text(void *const impl, const cf_log_level level, const char *const text)
{
    cf_backup_log(impl, level, "%s", text);
}

cf_claim_opts cf_backup_claim_opts(cf_backup *const b)
{
    return (cf_claim_opts){.node = b->opts->node,
                           .adopt = !b->opts->full,
                           .wait_ms = b->opts->wait_lock_ms,
                           .log = log_text,
                           .impl = b};
}

/* A list that a mark calls damaged must not be named again, even if it reads well today. */
static bool lists_are_marked(const cf_damage *const damage, const cf_root *const parent)
{
    for (size_t i = 0; i < parent->segment_total; i++) {
        if (cf_damage_has(damage, parent->segments[i].key))
            return true;
    }
    return false;
}

/* The parent's lists, proved whole before anything relies on them: half of the run later there would
 * be no way back. A list that is damaged or gone is no failure: this run stands alone and says so,
 * and names no segment of it. */
static cf_err parent_open(cf_backup *const b, cf_error *const e)
{
    const cf_root *const parent = b->claim.parent;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *files = NULL;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *packs = NULL;
    cf_error why = {0};

    if (cf_damage_has_all_of(b->claim.damage, &parent->run) ||
        lists_are_marked(b->claim.damage, parent)) {
        cf_backup_log(b, CF_LOG_WARN, "snapshot %s is marked as damaged: nothing of it is reused",
                      parent->run.text);
        return CF_OK;
    }
    CF_TRY(cf_cursor_new(&b->repo, b->opts->node, parent, CF_SEGMENT_FILES, &files, e));
    CF_TRY(cf_cursor_new(&b->repo, b->opts->node, parent, CF_SEGMENT_PACKS, &packs, e));
    cf_err err = cf_cursor_check(files, &why);
    if (err == CF_OK)
        err = cf_cursor_check(packs, &why);
    if (err == CF_ERR_DAMAGE) {
        cf_backup_log(b, CF_LOG_WARN,
                      "nothing of snapshot %s is reused: %s; everything is read and sent again\n"
                      "HINT: 'chunkferry verify %s' tells what else is damaged",
                      parent->run.text, why.message, parent->run.text);
        return CF_OK;
    }
    if (err != CF_OK) {
        if (e != NULL)
            *e = why;
        return err;
    }
    b->parent_files = CF_STEAL(files);
    b->parent_packs = CF_STEAL(packs);
    b->reuse = true;
    return CF_OK;
}

static cf_err reuse_decide(cf_backup *const b, cf_error *const e)
{
    b->reuse = false;
    if (b->opts->full)
        return CF_OK;
    if (b->claim.parent != NULL)
        CF_TRY(parent_open(b, e));
    if (!b->reuse && b->claim.adopted == NULL)
        return CF_OK;
    const cf_prior_opts prior = {
        .parent = b->parent_files, .adopted = b->claim.adopted, .damage = b->claim.damage};
    return cf_prior_new(&prior, &b->prior, e);
}

cf_err cf_backup_find_parent(cf_backup *const b, cf_error *const e)
{
    const cf_claim_opts opts = cf_backup_claim_opts(b);

    CF_TRY(cf_claim_look(&b->repo, &opts, &b->claim, e));
    return reuse_decide(b, e);
}

cf_err cf_backup_claim(cf_backup *const b, cf_error *const e)
{
    const cf_claim_opts opts = cf_backup_claim_opts(b);

    CF_TRY(cf_claim_take(&b->repo, &opts, &b->claim, e));
    return reuse_decide(b, e);
}
