/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy: a run of the target for each snapshot, oldest first. The order of the steps is that of a
 * backup: bytes before claim, one conditional PUT last. Killed anywhere, the target stays valid, and
 * the next copy takes up what was sent.
 */
#include "copy/copy.h"

#include <stdio.h>

#include "pipe/memory_plan.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "store/open.h"

static void told(const cf_transfer *const t)
{
    cf_copy *const c = t->c;
    const bool dry = c->opts->dry_run;
    const cf_copied copied = {
        .node = c->node,
        .snapshot = dry ? "" : t->claim.run.id.text,
        .origin = t->id.text,
        .packs_new = dry ? t->packs_missing : t->packs_sent,
        .bytes_new = dry ? t->bytes_missing : t->bytes_sent,
        .packs_reused = t->packs_total - t->packs_missing,
    };

    c->result.snapshots_copied++;
    c->result.packs_copied += copied.packs_new;
    c->result.bytes_copied += copied.bytes_new;
    c->result.packs_reused += copied.packs_reused;
    if (c->opts->copied != NULL)
        c->opts->copied(c->ctx->impl, &copied);
}

/* Ids of the target count up, times are the origins': an older snapshot that is copied late is the
 * newest by its id. */
static void warn_late(const cf_transfer *const t)
{
    char time[CF_TIME_SIZE];

    if (t->source->time_utc_ms >= t->c->present.newest_utc_ms)
        return;
    cf_time_render_iso(t->source->time_utc_ms, time);
    cf_copy_log(t->c, CF_LOG_WARN,
                "snapshot %s of node '%s' (%s) is older than what the target had already: it is "
                "the newest entry there until the next copy or backup\nHINT: 'latest' of the "
                "target goes by time; list shows both",
                t->id.text, t->c->node, time);
}

/* The way of one snapshot. */
static cf_err transfer(cf_transfer *const t, cf_error *const e)
{
    CF_TRY(cf_transfer_open(t, e));  /* 1. the source's root, under a reader's lease */
    CF_TRY(cf_transfer_claim(t, e)); /* 2. who may write, on what, and with what a dead run left */
    CF_TRY(cf_transfer_match(t, e)); /* 3. which packs are there */
    if (t->c->opts->dry_run)
        return CF_OK;
    CF_TRY(cf_transfer_send(t, e));   /* 4. bytes before claim */
    CF_TRY(cf_transfer_lines(t, e));  /* 5. lines, under the new names */
    CF_TRY(cf_transfer_tags(t, e));   /* 6. before the root: no prune sees it without them */
    CF_TRY(cf_transfer_commit(t, e)); /* 7. segments, then the commit point: one PUT, last */
    cf_transfer_release(t);           /* 8. */
    return CF_OK;
}

static void rehearsed_set(cf_copy *const c, cf_names *const names)
{
    cf_names_free(c->rehearsed);
    c->rehearsed = names;
}

/* A run that slept was perhaps fenced, and its parent then pruned: what it misses is no damage. */
static cf_err explain(const cf_transfer *const t, const cf_err err, cf_error *const e)
{
    const cf_run_id *const run = &t->claim.run.id;
    bool decided = false;

    if (err != CF_ERR_DAMAGE || t->failed_at_source || run->text[0] == '\0' ||
        cf_run_is_decided(&t->c->to, t->c->node, run, &decided, /* e= */ NULL) != CF_OK || !decided)
        return err;
    CF_FAIL(e, CF_ERR_FENCED,
            "run '%s' of the target was fenced while it slept, and what it went on from is pruned: "
            "nothing was copied\nHINT: run the copy again",
            run->text);
}

static cf_err snapshot_copy(cf_copy *const c, const cf_run_id *const id, bool *const ret_at_source,
                            cf_error *const e)
{
    CF_CLEANUP(cf_transfer_deinit) cf_transfer t = {.c = c, .id = *id};
    const cf_err err = explain(&t, transfer(&t, e), e);

    *ret_at_source = t.failed_at_source;
    CF_TRY(err);
    told(&t);
    warn_late(&t);
    if (c->opts->dry_run)
        rehearsed_set(c, CF_STEAL(t.names));
    return cf_present_add(&c->present, &t.origin, t.source->time_utc_ms, e);
}

/* Copies it unless the target has it. */
static cf_err snapshot_consider(cf_copy *const c, const cf_run_id *const id, const bool single,
                                bool *const ret_at_source, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    const cf_err err = cf_snapshot_load(&c->from, c->node, id, &root, e);

    *ret_at_source = err != CF_OK;
    CF_TRY(err);
    const cf_origin origin = cf_copy_origin(&c->from, root);
    if (single) /* else it was done for all */
        CF_TRY(cf_copy_look(c, &origin.run, e));
    if (!cf_present_has(&c->present, &origin))
        return snapshot_copy(c, id, ret_at_source, e);
    cf_copy_log(c, CF_LOG_DETAIL, "%s of node %s is there already", id->text, c->node);
    c->result.snapshots_skipped++;
    return CF_OK;
}

/* What is the snapshot's own fault does not stop the others: an old one that is damaged must not
 * keep the new ones from their copy. Damage weighs more than a newer program. */
static cf_err fault_note(cf_copy *const c, const cf_run_id *const id, const cf_err err,
                         cf_error *const why)
{
    cf_error_prefix(why, "snapshot %s of node '%s' was not copied", id->text, c->node);
    cf_copy_log(c, CF_LOG_ERROR, "%s", why->message);
    c->result.snapshots_failed++;
    if (c->result.failed != CF_ERR_DAMAGE)
        c->result.failed = err;
    return CF_OK;
}

/* Was it pruned while it was read? Then what is missing is no damage. */
static bool is_gone(const cf_copy *const c, const cf_run_id *const id)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    const cf_err err = cf_snapshot_load(&c->from, c->node, id, &root, /* e= */ NULL);

    return err == CF_ERR_FENCED || err == CF_ERR_NOT_FOUND;
}

static cf_err snapshot_try(cf_copy *const c, const cf_run_id *const id, const bool single,
                           cf_error *const e)
{
    bool at_source = false;
    cf_error why = {0};
    const cf_err err = snapshot_consider(c, id, single, &at_source, &why);
    const bool own_fault = err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT ||
                           err == CF_ERR_NOT_FOUND || err == CF_ERR_FENCED;

    if (err == CF_OK)
        return CF_OK;
    if (at_source && own_fault && err != CF_ERR_FORMAT && is_gone(c, id)) {
        CF_ENSURE(!single, e, CF_ERR_NOT_FOUND,
                  "snapshot %s of node '%s' was pruned from the source while it was copied\nHINT: "
                  "copy 'latest', or one that 'chunkferry list' shows now",
                  id->text, c->node);
        cf_copy_log(c, CF_LOG_WARN, "snapshot %s of node '%s' was pruned from the source meanwhile",
                    id->text, c->node);
        return CF_OK;
    }
    if (at_source && own_fault)
        return fault_note(c, id, err, &why);
    cf_error_prefix(&why, "copy snapshot %s of node '%s'", id->text, c->node);
    if (e != NULL)
        *e = why;
    return err;
}

/* ---- which ---- */

static const char *word_of(const cf_copy_opts *const o)
{
    return o->snapshot != NULL ? o->snapshot : "latest";
}

/* One, or all, oldest first. A node without any is none of ours when nobody named it. */
static cf_err ids_choose(cf_copy *const c, cf_snapshot_ids *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    cf_run_id id = {""};

    CF_TRY_AS(cf_snapshot_list(&c->from, c->node, /* recent= */ false, &ids, e), e, "the source");
    if (ids.total == 0 && c->opts->node == NULL)
        return CF_OK;
    CF_ENSURE(
        ids.total > 0, e, CF_ERR_NOT_FOUND,
        "node '%s' has no snapshot in the source\nHINT: 'chunkferry list' shows what there is",
        c->node);
    if (strcmp(word_of(c->opts), "all") != 0) {
        CF_TRY(cf_snapshot_find(&c->from, c->node, word_of(c->opts), &id, e));
        ids.id[0] = id;
        ids.total = 1;
    }
    *ret = ids;
    ids = (cf_snapshot_ids){0};
    return CF_OK;
}

static cf_err node_copy(cf_copy *const c, const char *const node, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    const bool single = strcmp(word_of(c->opts), "all") != 0;

    c->node = node;
    (void)snprintf(c->runs_prefix, sizeof(c->runs_prefix), "nodes/%s/runs/", node);
    cf_present_deinit(&c->present);
    rehearsed_set(c, NULL);
    CF_TRY(ids_choose(c, &ids, e));
    if (!single && ids.total > 0)
        CF_TRY(cf_copy_look(c, /* from= */ NULL, e));
    for (size_t i = 0; i < ids.total; i++)
        CF_TRY(snapshot_try(c, &ids.id[i], single, e));
    return CF_OK;
}

/* Their names first: a LIST is not kept open for the hours that a copy may take. */
typedef struct name_list {
    char (*names)[CF_NODE_NAME_LEN_MAX + 1]; /* owned */
    size_t total;
} name_list;

static void name_list_deinit(name_list *const l)
{
    cf_free(l->names);
}

static cf_err name_add(void *const impl, const char *const name, cf_error *const e)
{
    name_list *const l = impl;
    char(*const grown)[CF_NODE_NAME_LEN_MAX + 1] =
        cf_realloc(l->names, l->total + 1, sizeof(*grown));

    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu names of nodes", l->total + 1);
    l->names = grown;
    (void)snprintf(grown[l->total++], sizeof(*grown), "%s", name);
    return CF_OK;
}

static cf_err nodes_copy(cf_copy *const c, cf_error *const e)
{
    CF_CLEANUP(name_list_deinit) name_list l = {0};

    if (c->opts->node != NULL)
        return node_copy(c, c->opts->node, e);
    CF_TRY_AS(cf_repo_list_nodes(&c->from, name_add, &l, e), e, "the source");
    for (size_t i = 0; i < l.total; i++)
        CF_TRY(node_copy(c, l.names[i], e));
    return CF_OK;
}

/* ---- the command ---- */

static bool same_text(const char *const a, const char *const b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* As they are written: two names of one place are found by their snapshots, which are all there. */
static cf_err places_check(const cf_copy_opts *const o, cf_error *const e)
{
    CF_CLEANUP(cf_store_url_deinit) cf_store_url from = {0};
    CF_CLEANUP(cf_store_url_deinit) cf_store_url to = {0};

    CF_ENSURE(o->remote.url != NULL && o->remote.url[0] != '\0', e, CF_ERR_USAGE,
              "no repository given\nHINT: --repo s3://bucket/prefix or --repo file:///path, or set "
              "CHUNKFERRY_REPO");
    CF_ENSURE(o->to.url != NULL && o->to.url[0] != '\0', e, CF_ERR_USAGE,
              "no repository to copy into given\nHINT: --to-repo s3://bucket/prefix or --to-repo "
              "file:///path");
    CF_TRY_AS(cf_store_url_parse(o->remote.url, &from, e), e, "--repo");
    CF_TRY_AS(cf_store_url_parse(o->to.url, &to, e), e, "--to-repo");
    const bool same_place =
        from.is_s3 == to.is_s3 &&
        (from.is_s3 ? same_text(from.bucket, to.bucket) && same_text(from.prefix, to.prefix) &&
                          same_text(o->remote.endpoint, o->to.endpoint)
                    : same_text(from.path, to.path));
    CF_ENSURE(!same_place, e, CF_ERR_USAGE,
              "'%s' is the source and the target: a repository cannot be copied into itself\nHINT: "
              "--to-repo names another one; of the same name on another server: with --to-endpoint",
              o->to.url);
    return CF_OK;
}

static cf_err opts_check(const cf_copy_opts *const o, cf_error *const e)
{
    const char *const word = word_of(o);
    const bool is_word = strcmp(word, "latest") == 0 || strcmp(word, "all") == 0;

    if (o->node != NULL)
        CF_TRY(cf_node_name_check(o->node, e));
    CF_ENSURE(o->node != NULL || is_word, e, CF_ERR_USAGE,
              "snapshot '%.64s' of which node?\nHINT: --node NAME; or 'latest' or 'all' of all "
              "nodes",
              word);
    return CF_OK;
}

static void result_fill(cf_copy *const c, const uint64_t started_mono_ms, cf_copy_result *const ret)
{
    const cf_world *const w = c->ctx->world;
    cf_store_counts from = {0}, to = {0};

    c->from.store->ops->get_counts(c->from.store, &from);
    c->to.store->ops->get_counts(c->to.store, &to);
    c->result.requests_total = from.requests_total + to.requests_total;
    c->result.duration_ms = w->mono_ms(w->impl) - started_mono_ms;
    *ret = c->result;
}

static void copy_deinit(cf_copy *const c)
{
    cf_present_deinit(&c->present);
    cf_names_free(c->rehearsed);
}

static cf_err repositories_open(cf_copy *const c, cf_store *const from, cf_store *const to,
                                cf_error *const e)
{
    const char *const url = c->opts->to.url != NULL ? c->opts->to.url : "URL";

    CF_TRY_AS(cf_repo_open(from, c->ctx->world, &c->from, e), e, "the source");
    const cf_err err = cf_repo_open(to, c->ctx->world, &c->to, e);
    CF_ENSURE(err != CF_ERR_NO_REPOSITORY && err != CF_ERR_NO_BUCKET, e, err,
              "the target '%s' is no repository yet\nHINT: make it one first: chunkferry init "
              "--repo %s",
              url, url);
    CF_TRY_AS(err, e, "the target");
    c->from.segment_cache_bytes = cf_memory_cache_bytes(c->opts->remote.memory_bytes);
    c->to.segment_cache_bytes = c->from.segment_cache_bytes;
    return CF_OK;
}

cf_err cf_copy_run_on(const cf_ctx *const ctx, const cf_copy_opts *const opts, cf_store *const from,
                      cf_store *const to, cf_copy_result *const ret, cf_error *const e)
{
    cf_ctx full = *ctx;
    CF_CLEANUP(copy_deinit) cf_copy c = {.ctx = &full, .opts = opts};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    const uint64_t started_mono_ms = full.world->mono_ms(full.world->impl);
    CF_TRY(opts_check(opts, e));
    CF_TRY(cf_copy_plan_make(opts->remote.memory_bytes, opts->remote.jobs, &c.plan, e));
    CF_TRY(repositories_open(&c, from, to, e));
    CF_TRY(nodes_copy(&c, e));
    result_fill(&c, started_mono_ms, ret);
    return CF_OK;
}

cf_err cf_copy_run(const cf_ctx *const ctx, const cf_copy_opts *const opts,
                   cf_copy_result *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_store_freep) cf_store *from = NULL;
    CF_CLEANUP(cf_store_freep) cf_store *to = NULL;
    cf_ctx full = *ctx;
    cf_copy_plan plan = {0};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    CF_TRY(places_check(opts, e)); /* what is wrong here is told before any server is asked */
    CF_TRY(opts_check(opts, e));
    CF_TRY(cf_copy_plan_make(opts->remote.memory_bytes, opts->remote.jobs, &plan, e));
    const cf_store_sizes reads = {.connections = plan.jobs + 2}; /* and a lease's renewal, a list */
    const cf_store_sizes writes = {
        .part_bytes = plan.part_bytes,
        .parts_in_flight = plan.parts_in_flight,
        .connections = plan.jobs + plan.parts_in_flight,
    };
    CF_TRY_AS(cf_store_open(&full, &opts->remote, &reads, &from, e), e, "the source");
    CF_TRY_AS(cf_store_open(&full, &opts->to, &writes, &to, e), e, "the target");
    return cf_copy_run_on(&full, opts, from, to, ret, e);
}
