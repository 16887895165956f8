/* SPDX-License-Identifier: Apache-2.0
 *
 * Backup: one run from the lease to the commit. The order of the steps is the design
 * (docs/FORMAT.md): bytes before claim, one conditional PUT last. Killed anywhere, the repository
 * stays valid and what was committed stays committed.
 */
#include "backup/backup.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "pipe/memory_plan.h"
#include "repo/tag.h"
#include "s3/base/cleanup.h"
#include "store/open.h"

static void result_fill(const cf_backup *const b, cf_backup_result *const ret)
{
    cf_store_counts counts = {0};
    const cf_world *const w = b->ctx->world;

    cf_upload_counts sent = {0};

    b->store->ops->get_counts(b->store, &counts);
    if (b->upload != NULL)
        cf_upload_get_counts(b->upload, &sent);
    *ret = (cf_backup_result){
        .files_total = b->totals.files_total,
        .files_new = b->totals.files_new,
        .files_reused = b->totals.files_reused,
        .source_bytes = b->totals.source_bytes,
        .bytes_read = b->totals.read_bytes,
        .bytes_changed = b->bytes_changed,
        .bytes_uploaded = counts.bytes_sent,
        .packs_new = b->packs_new,
        .requests_total = counts.requests_total,
        .duration_ms = w->mono_ms(w->impl) - b->started_mono_ms,
        .frames_new = sent.frames_total,
        .level_min = sent.level_min,
        .level_max = sent.level_max,
        .level_mean =
            sent.frames_total > 0 ? (double)sent.level_sum / (double)sent.frames_total : 0,
    };
    if (b->profile->shortfall != NULL) {
        cf_shortfall s = {0};
        b->profile->shortfall(b->source, &s);
        ret->files_left_out = s.left_out_total;
        ret->files_changed = s.changed_total;
    }
    if (!b->opts->dry_run)
        memcpy(ret->snapshot, b->claim.run.id.text, sizeof(ret->snapshot));
    if (b->claim.parent != NULL)
        memcpy(ret->parent, b->claim.parent->run.text, sizeof(ret->parent));
}

/* The snapshot is committed: a lease that stays is only a wait for the next run, so it is told, not
 * failed. */
static void release_lease(cf_backup *const b)
{
    cf_error ignored = {0};

    if (cf_claim_release(&b->claim, &ignored) != CF_OK)
        cf_backup_log(
            b, CF_LOG_WARN,
            "the lease could not be released: %s\nHINT: it runs out by itself in %d minutes",
            ignored.message, CF_LEASE_TTL_S / 60);
}

/* Before the root (model: core.pml B9): a prune that may take this snapshot has it in its first LIST,
 * so it reads the marks later than this. Behind the root there is a gap, for a run that sleeps just
 * there. A run that fails leaves a mark that says nothing: prune deletes it with the run. */
static cf_err put_tags(const cf_backup *const b, cf_error *const e)
{
    const cf_tag_change change = {.add = b->opts->tags, .add_total = b->opts->tag_total};

    if (change.add_total == 0)
        return CF_OK;
    CF_TRY_AS(cf_tag_put(&b->repo, b->opts->node, &b->claim.run.id, &change, e), e,
              "tag run '%s' before its commit", b->claim.run.id.text);
    return CF_OK;
}

static cf_err rehearse(cf_backup *const b, cf_error *const e)
{
    CF_TRY(cf_backup_find_parent(b, e));
    CF_TRY(cf_backup_plan(b, e));
    return cf_backup_rehearse(b, e);
}

static cf_err opts_check(const cf_backup_opts *const o, cf_error *const e)
{
    CF_ENSURE(o->node != NULL, e, CF_ERR_USAGE,
              "no node given\nHINT: --node NAME, or set CHUNKFERRY_NODE");
    CF_TRY(cf_node_name_check(o->node, e));
    for (size_t i = 0; i < o->tag_total; i++)
        CF_TRY(cf_tag_check(o->tags[i], e));
    CF_ENSURE(o->profile != NULL, e, CF_ERR_USAGE, "no profile given\nHINT: --profile kurrentdb");
    const cf_profile *const profile = cf_profile_find(o->profile);
    CF_ENSURE(profile != NULL, e, CF_ERR_USAGE,
              "profile '%s' is not known\nHINT: --profile kurrentdb, or directory for any tree",
              o->profile);
    if (profile->is_tree) {
        CF_ENSURE(o->db == NULL && o->index == NULL, e, CF_ERR_USAGE,
                  "profile '%s' has no database directory\nHINT: --dir DIR names the tree",
                  o->profile);
        CF_ENSURE(o->dir != NULL, e, CF_ERR_USAGE, "no directory given\nHINT: --dir /srv/data");
        return CF_OK;
    }
    CF_ENSURE(o->dir == NULL, e, CF_ERR_USAGE,
              "'--dir' is for a plain tree, profile '%s' has a database\nHINT: --profile "
              "directory, or --db /var/lib/kurrentdb",
              o->profile);
    CF_ENSURE(o->exclude_total == 0, e, CF_ERR_USAGE,
              "'--exclude' is for a plain tree: a node without some of its files does not "
              "start\nHINT: --profile directory --dir DIR");
    CF_ENSURE(o->db != NULL, e, CF_ERR_USAGE,
              "no database directory given\nHINT: --db /var/lib/kurrentdb");
    return CF_OK;
}

static cf_err memory_plan(const cf_backup_opts *const o, cf_memory_plan *const ret,
                          cf_error *const e)
{
    const uint64_t memory = o->remote.memory_bytes != 0 ? o->remote.memory_bytes
                                                        : (uint64_t)CF_MEMORY_DEFAULT_MIB << 20;

    return cf_memory_plan_make_for(memory, o->remote.jobs, o->remote.connections, ret, e);
}

cf_err cf_backup_run(const cf_ctx *const ctx, const cf_backup_opts *const opts,
                     cf_backup_result *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_store_freep) cf_store *store = NULL;
    cf_ctx full = *ctx;
    cf_memory_plan memory = {0};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    CF_TRY(opts_check(opts, e)); /* what is wrong here is told before any server is asked */
    CF_TRY(memory_plan(opts, &memory, e));
    const cf_store_sizes sizes = {
        .part_bytes = memory.part_bytes,
        .parts_in_flight = memory.parts_in_flight,
        .connections = memory.lanes + memory.parts_in_flight,
    };
    CF_TRY(cf_store_open(&full, &opts->remote, &sizes, &store, e));
    return cf_backup_run_on(&full, opts, store, ret, e);
}

static cf_err steps(cf_backup *const b, cf_error *const e)
{
    CF_TRY(cf_backup_claim(b, e)); /* 1, 2. lease and parent: nobody prunes what we name */
    CF_TRY(cf_backup_plan(b, e));  /* 3, 4. preflight, plan, and the cut is pinned */
    CF_TRY(cf_backup_read(b, e));  /* 5. bytes before claim, in the profile's order */
    CF_TRY(b->profile->last_look(b->source, e)); /* 6. did the node change in a way that matters? */
    CF_TRY(put_tags(b, e));
    CF_TRY(cf_backup_commit(b, e)); /* 7. segments, then the commit point: one PUT, last */
    release_lease(b);               /* 8. */
    return CF_OK;
}

static cf_err stored_note(void *const impl, const cf_pack_line *const pack, cf_error *const e)
{
    return cf_manifest_add_pack(impl, pack, e);
}

/* No snapshot came of it: a last journal, so that the next run loses only what was under way. Best
 * effort, and not to a store that just gave no answer. */
static void last_words(cf_backup *const b, const cf_err err)
{
    cf_error ignored = {0};

    if (b->journal == NULL || b->upload == NULL || err == CF_OK || err == CF_ERR_FENCED ||
        err == CF_ERR_UNKNOWN || cf_err_retryable(err))
        return;
    if (cf_upload_failed(b->upload) &&
        cf_upload_each_stored(b->upload, stored_note, b->manifest, &ignored) != CF_OK)
        return;
    if (cf_journal_end(b->journal, &ignored) != CF_OK)
        cf_backup_log(b, CF_LOG_DETAIL, "the last journal could not be written: %s",
                      ignored.message);
}

/* A run that slept was perhaps fenced, and its parent then pruned: what it misses is no damage. */
static cf_err explain(const cf_backup *const b, const cf_err err, cf_error *const e)
{
    const cf_run_id *const run = &b->claim.run.id;
    bool decided = false;

    if (err != CF_ERR_DAMAGE || run->text[0] == '\0' ||
        cf_run_is_decided(&b->repo, b->opts->node, run, &decided, /* e= */ NULL) != CF_OK ||
        !decided)
        return err;
    CF_FAIL(e, CF_ERR_FENCED,
            "run '%s' was fenced while it slept, and what it went on from is pruned: no snapshot "
            "was made\n"
            "HINT: run the backup again",
            run->text);
}

cf_err cf_backup_run_on(const cf_ctx *const ctx, const cf_backup_opts *const opts,
                        cf_store *const store, cf_backup_result *const ret, cf_error *const e)
{
    cf_ctx full = *ctx;
    CF_CLEANUP(cf_backup_deinit) cf_backup b = {.ctx = &full, .opts = opts, .store = store};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    b.started_mono_ms = full.world->mono_ms(full.world->impl);
    CF_TRY(opts_check(opts, e));
    CF_TRY(memory_plan(opts, &b.memory, e));
    CF_TRY(cf_backup_connect(&b, e)); /* the repository, checked before the node is touched */
    if (opts->dry_run) {
        CF_TRY(rehearse(&b, e));
    } else {
        const cf_err err = steps(&b, e);
        last_words(&b, err);
        CF_TRY(explain(&b, err, e));
    }
    result_fill(&b, ret);
    return CF_OK;
}

cf_err cf_backup_connect(cf_backup *const b, cf_error *const e)
{
    const char *const node = b->opts->node;

    b->profile = cf_profile_find(b->opts->profile);
    CF_TRY(cf_repo_open(b->store, b->ctx->world, &b->repo, e));
    b->repo.segment_cache_bytes = cf_memory_cache_bytes(b->opts->remote.memory_bytes);
    (void)snprintf(b->runs_prefix, sizeof(b->runs_prefix), "nodes/%s/runs/", node);
    return CF_OK;
}

void cf_backup_deinit(cf_backup *const b)
{
    cf_upload_free(b->upload);
    while (b->first != NULL) {
        cf_pending *const p = b->first;

        b->first = p->next;
        cf_pending_free(p);
    }
    (void)cf_left_take(b, /* path= */ NULL); /* all of them */
    cf_sparse_free(b->sparse);
    cf_manifest_free(b->manifest);
    cf_journal_free(b->journal);
    if (b->source != NULL)
        b->profile->close(b->source);
    cf_prior_free(b->prior);
    cf_cursor_free(b->parent_files);
    cf_cursor_free(b->parent_packs);
    cf_claim_deinit(&b->claim);
    *b = (cf_backup){0};
}

void cf_backup_log(const cf_backup *const b, const cf_log_level level, const char *const fmt, ...)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;

    if (b->ctx->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    b->ctx->log(b->ctx->impl, level, text);
}

void cf_backup_progress(const cf_backup *const b, const char *const phase)
{
    cf_upload_counts counts = {0};

    if (b->ctx->progress == NULL)
        return;
    if (b->upload != NULL)
        cf_upload_get_counts(b->upload, &counts);
    const cf_progress p = {
        .phase = phase,
        .done_bytes = counts.read_bytes,
        .total_bytes = b->plan_read_bytes,
        .done_files = b->totals.files_total,
        .total_files = b->plan_files,
    };
    b->ctx->progress(b->ctx->impl, &p);
}
