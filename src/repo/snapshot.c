/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots of a node: which there are, and reading one.
 */
#include <stdio.h>

#include "repo/repo.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum {
    SNAPSHOT_TOTAL_MAX = 10 * 1000 * 1000, /* ours: one every ten minutes for 190 years; 260 MB */
    SNAPSHOT_NAMED_MAX = 10,               /* in a message */
    RUN_HOURS_MAX = 24 * 7,                /* ours: the longest run, from its id to its time */
    RUN_TIME_LEN = 16,
};

void cf_snapshot_ids_deinit(cf_snapshot_ids *const s)
{
    cf_free(s->id);
    *s = (cf_snapshot_ids){0};
}

typedef struct id_list {
    cf_snapshot_ids ids;
    size_t cap;
    size_t prefix_len;
} id_list;

static void id_list_deinit(id_list *const l)
{
    cf_snapshot_ids_deinit(&l->ids);
}

static cf_err id_list_push(id_list *const l, const cf_run_id *const id, cf_error *const e)
{
    cf_snapshot_ids *const ids = &l->ids;
    if (ids->total == l->cap) {
        const size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        CF_ENSURE(cap <= SNAPSHOT_TOTAL_MAX * 2, e, CF_ERR_TOO_LARGE, "more than %d snapshots",
                  SNAPSHOT_TOTAL_MAX);
        cf_run_id *const grown = cf_realloc(ids->id, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu ids", cap);
        ids->id = grown;
        l->cap = cap;
    }
    ids->id[ids->total++] = *id;
    return CF_OK;
}

/* Keys of another shape are not ours and are left alone. A fence orders, but is no snapshot. */
static cf_err id_list_add(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                          cf_error *const e)
{
    id_list *const l = impl;
    cf_run_id id = {""};
    (void)ret_stop;
    if (strlen(entry->key) < l->prefix_len ||
        !cf_run_id_parse(cf_slice_str(entry->key + l->prefix_len), &id))
        return CF_OK;
    if (strcmp(id.text, l->ids.newest.text) > 0)
        l->ids.newest = id;
    return entry->size_bytes == 0 ? CF_OK : id_list_push(l, &id, e);
}

/* after: NULL for all. */
static cf_err list_after(const cf_repo *const r, const char *const node,
                         const cf_run_id *const after, cf_snapshot_ids *const ret,
                         cf_error *const e)
{
    CF_CLEANUP(id_list_deinit) id_list l = {0};
    char prefix[CF_KEY_LEN_MAX + 1];
    char from[CF_KEY_LEN_MAX + 1];
    cf_key_folder(prefix, node, "snapshots");
    l.prefix_len = strlen(prefix);
    if (after != NULL)
        cf_key_root(from, node, after);
    CF_TRY_AS(r->store->ops->list(r->store, prefix, after == NULL ? NULL : from,
                                  /* delimiter= */ NULL, id_list_add, &l, e),
              e, "list the snapshots of '%s'", node);
    *ret = l.ids;
    l.ids = (cf_snapshot_ids){0};
    return CF_OK;
}

cf_err cf_snapshot_list(const cf_repo *const r, const char *const node, const bool recent,
                        cf_snapshot_ids *const ret, cf_error *const e)
{
    CF_TRY(cf_node_name_check(node, e));
    if (recent) {
        const int64_t window_ms = (int64_t)CF_SNAPSHOT_WINDOW_DAYS * 24 * 3600 * 1000;
        CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids some = {0};
        int64_t now_utc_ms = 0;
        cf_run_id floor = {""};
        CF_TRY(r->store->ops->now_utc_ms(r->store, &now_utc_ms, e));
        cf_run_id_floor(now_utc_ms - window_ms, &floor);
        CF_TRY(list_after(r, node, &floor, &some, e));
        if (some.total > 0) {
            *ret = some;
            some = (cf_snapshot_ids){0};
            return CF_OK;
        }
    }
    return list_after(r, node, /* after= */ NULL, ret, e);
}

cf_err cf_snapshot_load(const cf_repo *const r, const char *const node, const cf_run_id *const id,
                        cf_root **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    char key[CF_KEY_LEN_MAX + 1];
    CF_TRY(cf_node_name_check(node, e));
    cf_key_root(key, node, id);
    cf_buf_init(&text, CF_ROOT_LEN_MAX);
    const cf_err err = cf_store_get_small(r->store, key, &text, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_NOT_FOUND,
              "node '%s' has no snapshot '%s'\nHINT: 'chunkferry list' shows those there are", node,
              id->text);
    CF_ENSURE(err != CF_ERR_TOO_LARGE, e, CF_ERR_DAMAGE, "root '%s' has more than %d bytes", key,
              CF_ROOT_LEN_MAX);
    CF_TRY(err);
    CF_ENSURE(text.len > 0, e, CF_ERR_FENCED,
              "run '%s' of node '%s' was fenced: it is no snapshot, or no more\n"
              "HINT: 'chunkferry list' shows those there are",
              id->text, node);
    CF_TRY_AS(cf_root_parse(cf_buf_slice(&text), &root, e), e, "root '%s'", key);
    CF_ENSURE(strcmp(root->run.text, id->text) == 0, e, CF_ERR_DAMAGE,
              "root '%s' is that of run '%s'", key, root->run.text);
    *ret = CF_STEAL(root);
    return CF_OK;
}

/* The newest few, for a message. */
static void name_some(const cf_snapshot_ids *const ids, char *const ret, const size_t size)
{
    size_t used = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < ids->total && i < SNAPSHOT_NAMED_MAX; i++) {
        const int len =
            snprintf(ret + used, size - used, "\n  %s", ids->id[ids->total - 1 - i].text);
        if (len < 0 || (size_t)len >= size - used)
            return;
        used += (size_t)len;
    }
    if (ids->total > SNAPSHOT_NAMED_MAX)
        (void)snprintf(ret + used, size - used, "\n  and %zu older ones",
                       ids->total - SNAPSHOT_NAMED_MAX);
}

static cf_err find_among(const cf_snapshot_ids *const ids, const char *const node,
                         const char *const text, cf_run_id *const ret, cf_error *const e)
{
    char some[SNAPSHOT_NAMED_MAX * (CF_RUN_ID_LEN + 3) + 64];
    size_t found = 0;
    size_t at = 0;
    CF_ENSURE(
        ids->total > 0, e, CF_ERR_NOT_FOUND,
        "node '%s' has no snapshot\nHINT: 'chunkferry list' shows the nodes and their snapshots",
        node);
    for (size_t i = 0; i < ids->total; i++) {
        if (cf_slice_starts_with(cf_slice_str(ids->id[i].text), cf_slice_str(text))) {
            at = i;
            found++;
        }
    }
    name_some(ids, some, sizeof(some));
    CF_ENSURE(found > 0 && text[0] != '\0', e, CF_ERR_NOT_FOUND,
              "node '%s' has no snapshot '%.64s'; the newest are:%s\n"
              "HINT: 'latest', or an id or its beginning; 'chunkferry list' shows all",
              node, text, some);
    CF_ENSURE(found == 1, e, CF_ERR_USAGE,
              "%zu snapshots of node '%s' begin with '%s'; the newest are:%s\n"
              "HINT: give more of the id",
              found, node, text, some);
    *ret = ids->id[at];
    return CF_OK;
}

/* When this run began, by its id; a snapshot's time is hardly later, and of a copy it is earlier. */
static int64_t began_utc_ms(const cf_run_id *const id)
{
    int64_t utc_ms = 0;
    (void)cf_time_parse_basic(cf_slice_of(id->text, RUN_TIME_LEN), &utc_ms);
    return utc_ms;
}

/* Of one of ids; NULL when nothing can be said of it: whoever asks for it will hear why. */
static cf_err root_look(const cf_repo *const r, const char *const node, const cf_run_id *const id,
                        cf_root **const ret, cf_error *const e)
{
    cf_error why = {0};
    const cf_err err = cf_snapshot_load(r, node, id, ret, &why);
    if (err == CF_OK || err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT || err == CF_ERR_NOT_FOUND ||
        err == CF_ERR_FENCED)
        return CF_OK;
    if (e != NULL)
        *e = why;
    return err;
}

/* The newest by its own time, from ids of all snapshots. */
static cf_err newest_among(const cf_repo *const r, const char *const node,
                           const cf_snapshot_ids *const ids, cf_run_id *const ret,
                           cf_error *const e)
{
    const int64_t run_ms = (int64_t)RUN_HOURS_MAX * 3600 * 1000;
    int64_t best_utc_ms = INT64_MIN;
    cf_run_id best = ids->id[ids->total - 1];
    bool made_here = false; /* what is before such a one is older */
    for (size_t i = ids->total; i > 0 && !made_here; i--) {
        CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
        if (best_utc_ms > began_utc_ms(&ids->id[i - 1]) + run_ms)
            break;
        CF_TRY(root_look(r, node, &ids->id[i - 1], &root, e));
        made_here = root != NULL && !root->has_origin;
        /* By whole seconds, of one second the newest id: a store's Date has no more. */
        if (root != NULL && root->time_utc_ms / 1000 > best_utc_ms / 1000) {
            best_utc_ms = root->time_utc_ms;
            best = root->run;
        }
    }
    *ret = best;
    return CF_OK;
}

/* Ids order by when they were written, and so do times, but where something was copied in: only
 * then more than one root is read. */
static cf_err find_latest(const cf_repo *const r, const char *const node, cf_run_id *const ret,
                          cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids recent = {0};
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids all = {0};
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    CF_TRY(cf_snapshot_list(r, node, /* recent= */ true, &recent, e));
    CF_ENSURE(
        recent.total > 0, e, CF_ERR_NOT_FOUND,
        "node '%s' has no snapshot\nHINT: 'chunkferry list' shows the nodes and their snapshots",
        node);
    const cf_run_id newest = recent.id[recent.total - 1];
    CF_TRY(root_look(r, node, &newest, &root, e));
    if (root == NULL || !root->has_origin) {
        *ret = newest;
        return CF_OK;
    }
    CF_TRY(cf_snapshot_list(r, node, /* recent= */ false, &all, e));
    CF_ENSURE(
        all.total > 0, e, CF_ERR_NOT_FOUND,
        "node '%s' has no snapshot\nHINT: 'chunkferry list' shows the nodes and their snapshots",
        node);
    return newest_among(r, node, &all, ret, e);
}

cf_err cf_snapshot_find(const cf_repo *const r, const char *const node, const char *const text,
                        cf_run_id *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    if (strcmp(text, "latest") == 0)
        return find_latest(r, node, ret, e);
    CF_TRY(cf_snapshot_list(r, node, /* recent= */ false, &ids, e));
    return find_among(&ids, node, text, ret, e);
}
