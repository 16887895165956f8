/* SPDX-License-Identifier: Apache-2.0
 *
 * Restore: from choosing the snapshot to the words that tell how to start the node. Interrupted
 * anywhere, the same command goes on: what is there and verified is kept, everything else is
 * fetched again.
 */
#include "restore/restore.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "pipe/memory_plan.h"
#include "repo/mark.h"
#include "s3/base/cleanup.h"
#include "store/open.h"

static cf_err connect(cf_restore *const r, cf_error *const e)
{
    const cf_restore_opts *const o = r->opts;
    const cf_store_sizes sizes = {.connections = o->remote.jobs > 16 ? o->remote.jobs : 16};
    cf_memory_plan memory = {0};

    CF_ENSURE(o->node != NULL, e, CF_ERR_USAGE,
              "no node given\nHINT: --node NAME, or set CHUNKFERRY_NODE");
    CF_TRY(cf_node_name_check(o->node, e));
    CF_ENSURE(o->snapshot != NULL, e, CF_ERR_USAGE,
              "no snapshot given\nHINT: 'latest', or an id that 'chunkferry list' shows");
    CF_ENSURE(o->target != NULL, e, CF_ERR_USAGE,
              "no target given\nHINT: --target DIR, the database directory of the new node");
    CF_TRY(cf_owner_parse(o->owner, &r->owner, e));
    CF_TRY(cf_memory_plan_make(o->remote.memory_bytes, o->remote.jobs, &memory,
                               e)); /* refused before anything is written */
    CF_TRY(cf_store_open(r->ctx, &o->remote, &sizes, &r->store, e));
    CF_TRY(cf_repo_open(r->store, r->ctx->world, &r->repo, e));
    r->repo.segment_cache_bytes = cf_memory_cache_bytes(o->remote.memory_bytes);
    (void)snprintf(r->runs_prefix, sizeof(r->runs_prefix), "nodes/%s/runs/", o->node);
    return CF_OK;
}

static cf_err damage_seen(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    (void)e;
    if (cf_mark_is(mark, CF_MARK_DAMAGE))
        cf_restore_log(impl, CF_LOG_WARN,
                       "this snapshot carries the mark '%s': some of its bytes were found "
                       "damaged\nHINT: every file is verified; an "
                       "older snapshot may be whole",
                       mark->name);
    return CF_OK;
}

/* A medium or key that may only be read has no leases; nor has it a prune that could disturb. */
static cf_err lease_take(cf_restore *const r, const cf_run_id *const id, cf_error *const e)
{
    cf_error why = {0};
    const cf_err err = cf_read_lease_acquire(&r->repo, r->opts->node, id, &r->lease, &why);

    if (err == CF_ERR_ACCESS || err == CF_ERR_DENIED) {
        cf_restore_log(r, CF_LOG_INFO,
                       "the repository may only be read, so no reader's lease is written: a prune "
                       "of it should not run now");
        return CF_OK;
    }
    if (err != CF_OK && e != NULL)
        *e = why;
    return err;
}

static bool is_gone(const cf_err err)
{
    return err == CF_ERR_FENCED || err == CF_ERR_NOT_FOUND;
}

/* Behind the lease it must still be the latest (model: core.pml R3): a prune never takes that one,
 * but one that looked for leases before ours may have one that is the latest no more. */
static cf_err is_latest_still(const cf_restore *const r, const cf_run_id *const id, bool *const ret,
                              cf_error *const e)
{
    cf_run_id again = {{0}};

    CF_TRY(cf_snapshot_find(&r->repo, r->opts->node, "latest", &again, e));
    *ret = strcmp(again.text, id->text) == 0;
    return CF_OK;
}

/* The root behind the reader's lease; another one when a newer one was committed meanwhile. */
static cf_err find(cf_restore *const r, cf_run_id *const id, cf_error *const e)
{
    enum { FIND_TRIES_MAX = 3 };
    const bool latest = strcmp(r->opts->snapshot, "latest") == 0;

    for (unsigned i = 1;; i++) {
        bool same = true;
        CF_TRY(cf_snapshot_find(&r->repo, r->opts->node, r->opts->snapshot, id, e));
        if (!r->opts->dry_run)
            CF_TRY(lease_take(r, id, e));
        if (latest && r->lease != NULL && i < FIND_TRIES_MAX)
            CF_TRY(is_latest_still(r, id, &same, e));
        const cf_err err =
            same ? cf_snapshot_load(&r->repo, r->opts->node, id, &r->root, e) : CF_ERR_NOT_FOUND;
        if (!is_gone(err) || !latest || i == FIND_TRIES_MAX)
            return err;
        cf_read_lease_abandon(CF_STEAL(r->lease));
    }
}

/* Something of the snapshot is missing or bad: was it pruned under us? Then that is no damage. */
static cf_err explain(const cf_restore *const r, const cf_err err, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *again = NULL;

    if (err != CF_ERR_DAMAGE && err != CF_ERR_NOT_FOUND)
        return err;
    const cf_err now =
        cf_snapshot_load(&r->repo, r->opts->node, &r->root->run, &again, /* e= */ NULL);
    CF_ENSURE(!is_gone(now), e, CF_ERR_NOT_FOUND,
              "snapshot %s of node '%s' was pruned while it was restored: the target is not "
              "whole\nHINT: empty the target and restore 'latest', or one that 'chunkferry list' "
              "shows now",
              r->root->run.text, r->opts->node);
    return err;
}

static cf_err choose(cf_restore *const r, cf_error *const e)
{
    cf_run_id id = {{0}};

    CF_TRY(find(r, &id, e));
    r->profile = cf_profile_find(r->root->profile);
    CF_ENSURE(r->profile != NULL, e, CF_ERR_FORMAT,
              "snapshot %s is of profile '%s', which this chunkferry does not know\nHINT: use a "
              "newer one",
              id.text, r->root->profile);
    CF_TRY(cf_mark_each(&r->repo, r->opts->node, &id, damage_seen, r, e));
    return cf_cursor_new(&r->repo, r->opts->node, r->root, CF_SEGMENT_FILES, &r->files, e);
}

static cf_err look_at_target(cf_restore *const r, cf_error *const e)
{
    const cf_target_opts target = {
        .fs = r->ctx->fs, .db = r->opts->target, .index = r->opts->index_target};

    CF_ENSURE(r->opts->index_target == NULL || r->profile->roles[1] != NULL, e, CF_ERR_USAGE,
              "a snapshot of profile '%s' has no index\nHINT: leave --index-target out",
              r->profile->name);
    r->target.roles = r->profile->roles;
    CF_TRY(r->profile->target_in_use(&target, e));
    CF_TRY(cf_target_look(&r->target, r->opts->node, &r->root->run, e));
    return r->target.resumed ? r->profile->target_went_on(&target, r->root->facts, e) : CF_OK;
}

/* Nothing starts on a tree, so there is no order but this: directories are what they shall be when
 * nothing comes into them any more, and the marker goes when all of it is on disk. */
static cf_err write_tree(cf_restore *const r, cf_error *const e)
{
    const cf_fs *const fs = r->ctx->fs;

    CF_TRY(cf_target_make(&r->target, r->opts->node, &r->root->run, &r->owner, e));
    CF_TRY(cf_restore_fetch(r, CF_PLACE_BODY, e));
    CF_TRY(cf_restore_tree_finish(r, e));
    CF_TRY(fs->ops->sync_fs(fs, r->target.db_fd, e));
    CF_TRY(cf_target_finish(&r->target, e));
    CF_TRY(cf_restore_tree_top(r, e));
    if (r->setuid_dropped_total > 0)
        cf_restore_log(r, CF_LOG_WARN,
                       "%llu files lost their setuid or setgid bit: their owner was not "
                       "restored\nHINT: restore as root and without --owner to keep both",
                       (unsigned long long)r->setuid_dropped_total);
    return CF_OK;
}

static cf_err write_all(cf_restore *const r, cf_error *const e)
{
    const cf_target_opts target = {
        .fs = r->ctx->fs, .db = r->opts->target, .index = r->opts->index_target};

    if (r->profile->is_tree)
        return write_tree(r, e);
    CF_TRY(cf_target_make(&r->target, r->opts->node, &r->root->run, &r->owner, e));
    CF_TRY(cf_restore_fetch(r, CF_PLACE_FIRST,
                            e)); /* a server started now refuses to touch anything */
    CF_TRY(cf_target_sync(&r->target, e));
    CF_TRY(cf_restore_withdraw(r, e)); /* when it goes on: nothing starts before it is whole */
    CF_TRY(cf_restore_fetch(r, CF_PLACE_BODY, e));
    CF_TRY(r->profile->target_in_use(&target, e));
    CF_TRY(cf_restore_sweep(r, e));        /* what a server that was started too early left */
    CF_TRY(cf_target_sync(&r->target, e)); /* the rest is on disk before it may start */
    CF_TRY(cf_restore_fetch(r, CF_PLACE_LAST, e));
    CF_TRY(cf_target_sync(&r->target, e));
    CF_TRY(cf_restore_write_extra(r, e));
    CF_TRY(cf_target_sync(&r->target, e));
    CF_TRY(r->profile->check_restored(&target, r->root->facts, e));
    return cf_target_finish(&r->target, e);
}

static void result_fill(cf_restore *const r)
{
    cf_store_counts counts = {0};

    r->store->ops->get_counts(r->store, &counts);
    memcpy(r->result.snapshot, r->root->run.text, sizeof(r->result.snapshot));
    r->result.bytes_downloaded = counts.bytes_received;
    r->result.requests_total = counts.requests_total;
    r->result.duration_ms = r->ctx->world->mono_ms(r->ctx->world->impl) - r->started_mono_ms;
}

cf_err cf_restore_run(const cf_ctx *const ctx, const cf_restore_opts *const opts,
                      cf_restore_result *const ret, cf_error *const e)
{
    cf_ctx full = *ctx;
    CF_CLEANUP(cf_restore_deinit)
    cf_restore r = {.ctx = &full, .opts = opts, .target = {.db_fd = -1, .index_fd = -1}};
    cf_error ignored = {0};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    r.started_mono_ms = full.world->mono_ms(full.world->impl);
    r.target.fs = full.fs;
    r.target.db = opts->target;
    r.target.index = opts->index_target;
    cf_buf_init(&r.result.closing_words, 64 * 1024);
    CF_TRY(connect(&r, e));
    CF_TRY(choose(&r, e));         /* 1. which snapshot; a reader's lease keeps it */
    CF_TRY(look_at_target(&r, e)); /* 2. in use, or not empty: refused */
    CF_TRY(explain(&r, cf_restore_survey(&r, e), e)); /* 3. every line is sound, there is room */
    if (!opts->dry_run) {
        CF_TRY(explain(&r, write_all(&r, e), e)); /* 4, 5, 6. first, body, last; each verified */
        if (r.lease != NULL && cf_read_lease_release(CF_STEAL(r.lease), &ignored) != CF_OK)
            cf_restore_log(&r, CF_LOG_WARN, "the reader's lease could not be released: %s",
                           ignored.message);
    }
    CF_TRY(r.profile->closing_words(r.root->facts, &r.result.closing_words,
                                    e)); /* 7. in plain words */
    result_fill(&r);
    *ret = r.result;
    r.result.closing_words = (cf_buf){0}; /* the caller's now */
    return CF_OK;
}

void cf_restore_deinit(cf_restore *const r)
{
    cf_download_free(r->download);
    while (r->under_way != NULL) {
        cf_fetch *const f = r->under_way;

        r->under_way = f->next;
        cf_fetch_free(r, f);
    }
    cf_cursor_free(r->files);
    cf_target_deinit(&r->target);
    cf_read_lease_abandon(r->lease);
    cf_root_free(r->root);
    cf_store_free(r->store);
    cf_buf_deinit(&r->result.closing_words);
}

void cf_restore_log(const cf_restore *const r, const cf_log_level level, const char *const fmt, ...)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;

    if (r->ctx->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    r->ctx->log(r->ctx->impl, level, text);
}

void cf_restore_progress(const cf_restore *const r, const char *const phase)
{
    cf_download_counts counts = {0};

    if (r->ctx->progress == NULL)
        return;
    if (r->download != NULL)
        cf_download_get_counts(r->download, &counts);
    const cf_progress p = {
        .phase = phase,
        .done_bytes = counts.written_bytes,
        .total_bytes = r->plan_bytes,
        .done_files = r->result.files_restored + r->result.files_kept,
        .total_files = r->result.files_total,
    };
    r->ctx->progress(r->ctx->impl, &p);
}
