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

static cf_claim_opts claim_opts(cf_backup *const b)
{
    return (cf_claim_opts){.node = b->opts->node,
                           .adopt = !b->opts->full,
                           .wait_ms = b->opts->wait_lock_ms,
                           .log = log_text,
                           .impl = b};
}

/* Marks are facts others added: what is known to be damaged is not relied upon. */
static cf_err reuse_decide(cf_backup *const b, cf_error *const e)
{
    b->reuse = b->claim.parent != NULL && !b->opts->full;
    if (!b->reuse)
        return CF_OK;
    if (cf_damage_has_all_of(b->claim.damage, &b->claim.parent->run)) {
        cf_backup_log(b, CF_LOG_WARN, "snapshot %s is marked as damaged: nothing of it is reused",
                      b->claim.parent->run.text);
        b->reuse = false;
        return CF_OK;
    }
    return cf_cursor_new(&b->repo, b->opts->node, b->claim.parent, CF_SEGMENT_FILES, &b->prior, e);
}

cf_err cf_backup_find_parent(cf_backup *const b, cf_error *const e)
{
    const cf_claim_opts opts = claim_opts(b);

    CF_TRY(cf_claim_look(&b->repo, &opts, &b->claim, e));
    return reuse_decide(b, e);
}

cf_err cf_backup_claim(cf_backup *const b, cf_error *const e)
{
    const cf_claim_opts opts = claim_opts(b);

    CF_TRY(cf_claim_take(&b->repo, &opts, &b->claim, e));
    return reuse_decide(b, e);
}
