/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: from choosing the snapshots to telling what is damaged, and what can be done.
 */
#include "verify/verify.h"

#include <stdarg.h>
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "store/open.h"

void cf_verify_log(const cf_verify *const v, const cf_log_level level, const char *const fmt, ...)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;

    if (v->ctx->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    v->ctx->log(v->ctx->impl, level, text);
}

void cf_verify_progress(const cf_verify *const v, const char *const phase)
{
    cf_pool_counts counts = {0};

    if (v->ctx->progress == NULL)
        return;
    if (v->pool != NULL)
        cf_verify_pool_get_counts(v->pool, &counts);
    const cf_progress p = {
        .phase = phase,
        .done_bytes = counts.stored_bytes,
        .total_bytes = v->plan_bytes,
        .done_files = counts.files_whole + counts.files_part,
        .total_files = v->result.files_total,
    };
    v->ctx->progress(v->ctx->impl, &p);
}

cf_err cf_verify_check_stop(const cf_verify *const v, cf_error *const e)
{
    CF_ENSURE(!v->ctx->world->stopping(v->ctx->world->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

static void detail(void *const impl, const char *const text)
{
    cf_verify_log(impl, CF_LOG_WARN, "%s", text);
}

/* Each has a connection. */
static uint32_t readers_wanted(const cf_remote *const r)
{
    return r->connections > r->jobs ? r->connections : r->jobs;
}

static cf_err connect(cf_verify *const v, cf_error *const e)
{
    const cf_verify_opts *const o = v->opts;
    const cf_store_sizes sizes = {.connections = o->remote.jobs > 16 ? o->remote.jobs : 16};
    uint32_t workers = 0;

    CF_TRY(cf_pool_plan(o->remote.memory_bytes, readers_wanted(&o->remote), &workers,
                        &v->budget_bytes, e));
    CF_TRY(cf_store_open(v->ctx, &o->remote, &sizes, &v->store, e));
    CF_TRY(cf_repo_open(v->store, v->ctx->world, &v->repo, e));
    CF_TRY(cf_findings_new(&v->findings, e));
    CF_TRY(cf_segment_reader_new(&v->reader, e));
    CF_TRY(cf_line_store_new(&v->lines, e));
    CF_TRY(cf_seen_new(&v->budget_bytes, &v->pack_segments, e));
    CF_TRY(cf_seen_new(&v->budget_bytes, &v->measured, e));
    v->subset = (cf_subset){.how = o->how, .part = o->part, .parts = o->parts};
    v->ctx->world->random(v->ctx->world->impl, &v->subset.seed, sizeof(v->subset.seed));
    if (o->how == CF_VERIFY_LOOK)
        return CF_OK;
    const cf_pool_opts pool = {.store = v->store,
                               .world = v->ctx->world,
                               .findings = v->findings,
                               .workers = workers,
                               .detail = detail,
                               .impl = v};
    return cf_verify_pool_new(&pool, &v->pool, e);
}

typedef cf_err (*snapshot_fn)(cf_verify *v, cf_verify_node *n, cf_verify_snapshot *s, cf_error *e);

/* Newest first: files that change are read whole where they matter most, and only by their parts in
 * older snapshots, which share most of them. */
static cf_err each_snapshot(cf_verify *const v, const snapshot_fn fn, cf_error *const e)
{
    for (size_t n = 0; n < v->node_total; n++) {
        cf_verify_node *const node = &v->nodes[n];

        for (size_t i = node->snapshot_total; i > 0; i--) {
            if (node->snapshots[i - 1].root != NULL)
                CF_TRY(fn(v, node, &node->snapshots[i - 1], e));
        }
    }
    return CF_OK;
}

static cf_err look_at_roots(cf_verify *const v, cf_error *const e)
{
    uint64_t total = 0;

    for (size_t n = 0; n < v->node_total; n++) {
        cf_verify_node *const node = &v->nodes[n];

        CF_TRY(cf_verify_list_objects(v, node, e));
        for (size_t i = 0; i < node->snapshot_total; i++)
            CF_TRY(cf_verify_load_root(v, node, &node->snapshots[i], e));
        total = node->snapshot_total > total ? node->snapshot_total : total;
    }
    return total > 1 ? cf_seen_new(&v->budget_bytes, &v->seen, e) : CF_OK;
}

typedef struct measuring {
    cf_subset_scale *scale; /* owned */
} measuring;

static void measuring_deinit(measuring *const m)
{
    cf_subset_scale_free(m->scale);
}

/* A share of the bytes: all pack lines are looked at first, to know how many there are. */
static cf_err choose_subset(cf_verify *const v, cf_error *const e)
{
    CF_CLEANUP(measuring_deinit) measuring m = {0};

    if (v->opts->how != CF_VERIFY_PERCENT && v->opts->how != CF_VERIFY_BYTES)
        return CF_OK;
    CF_TRY(cf_subset_scale_new(&m.scale, e));
    for (size_t n = 0; n < v->node_total; n++) {
        cf_verify_node *const node = &v->nodes[n];

        for (size_t i = 0; i < node->snapshot_total; i++) {
            if (node->snapshots[i].root != NULL)
                CF_TRY(cf_verify_packs(v, node, &node->snapshots[i], m.scale, e));
            node->snapshots[i].shares_packs = false;
        }
    }
    cf_subset_cut(&v->subset, m.scale,
                  v->opts->how == CF_VERIFY_PERCENT ? v->opts->permille : v->opts->bytes);
    return CF_OK;
}

static cf_err look_at_lines(cf_verify *const v, cf_verify_node *const n,
                            cf_verify_snapshot *const s, cf_error *const e)
{
    cf_verify_progress(v, "checking");
    v->snapshot_number++;
    CF_TRY(cf_verify_packs(v, n, s, /* scale= */ NULL, e));
    return cf_verify_files(v, n, s, e);
}

/* ---- telling ---- */

static void finding_tell(const cf_verify *const v, const cf_finding *const f)
{
    static const char *const kinds[] = {"pack", "segment", "root"};
    static const char *const folders[] = {"runs", "runs", "snapshots"};
    const char *snapshots[CF_FINDING_SNAPSHOTS_MAX];
    const char *files[CF_FINDING_FILES_MAX];
    char object[CF_KEY_LEN_MAX + 1];

    for (size_t i = 0; i < f->snapshots_shown; i++)
        snapshots[i] = f->snapshots[i].text;
    for (size_t i = 0; i < f->files_shown; i++)
        files[i] = f->files[i];
    (void)snprintf(object, sizeof(object), "%s/%s", folders[f->kind], f->object);
    const cf_verify_damage d = {
        .node = v->nodes[f->node].name,
        .object = object,
        .kind = kinds[f->kind],
        .reason = f->reason,
        .files = files,
        .files_shown = f->files_shown,
        .files_total = f->files_total,
        .snapshots = snapshots,
        .snapshots_shown = f->snapshots_shown,
        .snapshots_total = f->snapshots_total,
        .other_copy = f->other_copy,
    };
    if (v->opts->on_damage != NULL)
        v->opts->on_damage(v->opts->impl, &d);
}

static void tell(cf_verify *const v)
{
    cf_verify_result *const r = &v->result;

    for (size_t i = 0; i < v->findings->total; i++) {
        const cf_finding *const f = v->findings->at[i];

        r->damaged_packs += f->kind == CF_FINDING_PACK;
        r->damaged_segments += f->kind == CF_FINDING_SEGMENT;
        r->damaged_roots += f->kind == CF_FINDING_ROOT;
        finding_tell(v, f);
    }
    r->damaged_packs += v->findings->more;
    r->damaged_files = v->findings->files_total;
    if (v->findings->more > 0)
        cf_verify_log(v, CF_LOG_WARN, "%llu more damaged objects are not listed",
                      (unsigned long long)v->findings->more);
}

static cf_err name_all(cf_verify *const v, cf_error *const e)
{
    for (size_t n = 0; n < v->node_total; n++)
        CF_TRY(cf_verify_name(v, &v->nodes[n], e));
    cf_findings_drop_unnamed(v->findings);
    return CF_OK;
}

static cf_err look(cf_verify *const v, cf_error *const e)
{
    CF_TRY(cf_verify_choose(v, e)); /* 2. which snapshots; a reader's lease keeps them */
    CF_TRY(look_at_roots(v, e));    /* 3. what is there; roots and their chain */
    CF_TRY(choose_subset(v, e));    /* 4. what is read of it */
    CF_TRY(each_snapshot(v, look_at_lines, e)); /* 5. lines, and content by the pool */
    return v->pool != NULL ? cf_verify_pool_finish(v->pool, e) : CF_OK;
}

/* What an interrupted run found is told, too, though nobody was asked who names it. */
static cf_err conclude(cf_verify *const v, const cf_err outcome, cf_error *const e)
{
    if (outcome != CF_OK) {
        tell(v);
        CF_ENSURE(outcome != CF_ERR_INTERRUPTED, e, CF_ERR_INTERRUPTED,
                  "interrupted before the end: nothing is recorded");
        return outcome;
    }
    CF_TRY(name_all(v, e));                       /* 6. which snapshots name what was found */
    const cf_err err = cf_verify_ask_other(v, e); /* 7. is there a good copy elsewhere? */
    tell(v);
    cf_verify_record(v, /* complete= */ true); /* 8. so that the next backup knows, and status */
    CF_TRY(err);
    const uint64_t total = cf_findings_total(v->findings);
    CF_ENSURE(total == 0, e, CF_ERR_DAMAGE,
              "%llu damaged object%s\nHINT: run a backup: it sends again what it finds damaged, as "
              "long as the node has it; snapshots that are not named above can be restored",
              (unsigned long long)total, total == 1 ? "" : "s");
    return CF_OK;
}

static void count_packs(const cf_verify *const v, cf_verify_result *const r)
{
    for (size_t n = 0; n < v->node_total; n++)
        r->packs_digested += cf_inventory_count_digested(v->nodes[n].inventory);
}

static void result_fill(cf_verify *const v)
{
    cf_verify_result *const r = &v->result;
    cf_store_counts counts = {0};
    cf_pool_counts pool = {0};

    if (v->store != NULL)
        v->store->ops->get_counts(v->store, &counts);
    if (v->pool != NULL)
        cf_verify_pool_get_counts(v->pool, &pool);
    count_packs(v, r);
    r->files_whole = pool.files_whole;
    r->files_part = pool.files_part;
    r->bytes_read = pool.stored_bytes;
    r->healed = pool.healed;
    r->requests_total = counts.requests_total;
    r->duration_ms = v->ctx->world->mono_ms(v->ctx->world->impl) - v->started_mono_ms;
}

static void verify_deinit(cf_verify *const v)
{
    cf_verify_pool_free(v->pool); /* first: its batches borrow */
    cf_verify_release(v);
    for (size_t n = 0; n < v->node_total; n++) {
        cf_verify_node *const node = &v->nodes[n];

        for (size_t i = 0; i < node->snapshot_total; i++)
            cf_root_free(node->snapshots[i].root);
        cf_free(node->snapshots);
        cf_inventory_free(node->inventory);
        cf_seen_segments_deinit(&node->segments);
    }
    cf_free(v->nodes);
    cf_seen_free(v->seen);
    cf_seen_free(v->pack_segments);
    cf_seen_free(v->measured);
    cf_findings_free(v->findings);
    cf_segment_reader_free(v->reader);
    cf_line_store_free(v->lines);
    cf_buf_deinit(&v->stored);
    cf_store_free(v->store);
}

cf_err cf_verify_run(const cf_ctx *const ctx, const cf_verify_opts *const opts,
                     cf_verify_result *const ret, cf_error *const e)
{
    cf_ctx full = *ctx;
    CF_CLEANUP(verify_deinit) cf_verify v = {.ctx = &full, .opts = opts};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    v.started_mono_ms = full.world->mono_ms(full.world->impl);
    cf_buf_init(&v.stored, CF_SEGMENT_STORED_MAX);
    *ret = (cf_verify_result){0};
    CF_TRY(connect(&v, e)); /* 1. the descriptor */
    cf_err err = look(&v, e);
    err = conclude(&v, err, e);
    cf_verify_release(&v);
    result_fill(&v);
    *ret = v.result;
    return err;
}
