/* SPDX-License-Identifier: Apache-2.0
 *
 * Claim: LIST snapshots to choose the parent, PUT the lease that names it, then LIST again: the
 * parent must be the newest there, else again with a new lease. The order was model-checked (DESIGN
 * 5, "Start of a run"); a prune that runs at the same time keeps what the lease names.
 */
#include "backup/backup.h"
#include "repo/mark.h"
#include "s3/base/cleanup.h"

enum {
    CF_CLAIM_TRIES_MAX = 8
}; /* ours: each try lost means another run of this node committed in between */

static cf_run_id newest_of(const cf_snapshot_ids *const ids)
{
    return ids->total > 0 ? ids->id[ids->total - 1] : (cf_run_id){{0}};
}

/* The newest snapshot, or none. A root that is damaged is no parent: the run then stands alone and
 * says so. One that went between LIST and GET (a newer one was committed, prune had it) is none
 * either: the LIST behind the lease tells of the newer one. */
static cf_err parent_load(cf_backup *const b, const cf_snapshot_ids *const ids, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    cf_error why = {0};

    if (ids->total > 0) {
        const cf_run_id *const newest = &ids->id[ids->total - 1];
        const cf_err err = cf_snapshot_load(&b->repo, b->opts->node, newest, &root, &why);

        if (err == CF_ERR_DAMAGE) {
            cf_backup_log(b, CF_LOG_WARN,
                          "snapshot %s cannot be the parent: %s; everything is read and sent again",
                          newest->text, why.message);
        } else if (err != CF_OK && err != CF_ERR_FENCED && err != CF_ERR_NOT_FOUND) {
            if (e != NULL)
                *e = why;
            return err;
        }
    }
    cf_root_free(b->parent);
    b->parent = CF_STEAL(root);
    b->chosen = newest_of(ids);
    return CF_OK;
}

/* Marks are facts others added: what is known to be damaged is not relied upon. */
static cf_err mark_seen(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    (void)e;
    if (cf_mark_is(mark, CF_MARK_DAMAGE))
        *(bool *)impl = true;
    return CF_OK;
}

static cf_err reuse_decide(cf_backup *const b, cf_error *const e)
{
    bool damaged = false;

    b->reuse = b->parent != NULL && !b->opts->full;
    if (!b->reuse)
        return CF_OK;
    CF_TRY(cf_mark_each(&b->repo, b->opts->node, &b->parent->run, mark_seen, &damaged, e));
    if (damaged) {
        cf_backup_log(b, CF_LOG_WARN, "snapshot %s is marked as damaged: nothing of it is reused",
                      b->parent->run.text);
        b->reuse = false;
        return CF_OK;
    }
    return cf_cursor_new(&b->repo, b->opts->node, b->parent, CF_SEGMENT_FILES, &b->prior, e);
}

static cf_err run_id_make(cf_backup *const b, const cf_snapshot_ids *const ids, cf_error *const e)
{
    int64_t now_utc_ms = 0;
    uint32_t random = 0;

    CF_TRY(b->store->ops->now_utc_ms(b->store, &now_utc_ms, e));
    b->ctx->world->random(b->ctx->world->impl, &random, sizeof(random));
    cf_run_id_make(now_utc_ms, &ids->newest, random, &b->run.id);
    return CF_OK;
}

/* Ids order: ours must be above all that are there. Runs that are short, or started in one second,
 * can commit one above ours before our lease; then ours is given up, and another one made. */
static cf_err run_id_keep_newest(cf_backup *const b, const cf_snapshot_ids *const ids,
                                 cf_error *const e)
{
    if (strcmp(ids->newest.text, b->run.id.text) < 0)
        return CF_OK;
    cf_lease_abandon(CF_STEAL(b->lease));
    return run_id_make(b, ids, e);
}

static cf_err lease_take(cf_backup *const b, cf_error *const e)
{
    const cf_run_id *const parent = b->parent != NULL ? &b->parent->run : NULL;

    if (b->lease != NULL)
        return cf_lease_move(b->lease, parent, parent != NULL ? 1 : 0, e);
    const cf_lease_opts opts = {
        .run = &b->run,
        .uses = parent,
        .uses_total = parent != NULL ? 1 : 0,
        .after = b->parent != NULL ? b->parent->lease : 0,
    };
    return cf_lease_acquire(&b->repo, &opts, &b->lease, e);
}

cf_err cf_backup_find_parent(cf_backup *const b, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};

    CF_TRY(cf_snapshot_list(&b->repo, b->opts->node, /* recent= */ true, &ids, e));
    CF_TRY(parent_load(b, &ids, e));
    CF_TRY(run_id_make(b, &ids, e));
    return reuse_decide(b, e);
}

cf_err cf_backup_claim(cf_backup *const b, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};

    CF_TRY(cf_snapshot_list(&b->repo, b->opts->node, /* recent= */ true, &ids, e));
    CF_TRY(parent_load(b, &ids, e));
    CF_TRY(run_id_make(b, &ids, e));
    for (unsigned i = 0; i < CF_CLAIM_TRIES_MAX; i++) {
        CF_TRY(lease_take(b, e));
        cf_snapshot_ids_deinit(&ids);
        CF_TRY(cf_snapshot_list(&b->repo, b->opts->node, /* recent= */ true, &ids, e));
        const cf_run_id newest = newest_of(&ids);
        if (strcmp(b->chosen.text, newest.text) == 0)
            return reuse_decide(b, e);
        CF_TRY(parent_load(b, &ids, e));
        CF_TRY(run_id_keep_newest(b, &ids, e));
    }
    CF_FAIL(e, CF_ERR_LOCKED,
            "other runs of node '%s' committed %d times while this one started\nHINT: is a backup "
            "started twice?",
            b->opts->node, CF_CLAIM_TRIES_MAX);
}
