/* SPDX-License-Identifier: Apache-2.0
 *
 * Marks: names, the LIST, one object each way.
 */
#include "repo/mark.h"

#include <stdio.h>

#include "repo/json.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum {
    TIME_LEN = 19,    /* 20261121T143100123Z */
    SECONDS_LEN = 15, /* 20261121T143100 */
    ADD_TRIES_MAX =
        10 * 1000, /* ours: so many marks of one kind in one millisecond are no accident */
};

static bool time_parse(const cf_slice text, int64_t *const ret_utc_ms)
{
    char seconds[SECONDS_LEN + 1 + 1];
    uint64_t ms = 0;
    int64_t utc_ms = 0;

    if (text.len != TIME_LEN || text.ptr[TIME_LEN - 1] != 'Z' ||
        !cf_u64_parse(cf_slice_of(text.ptr + SECONDS_LEN, 3), &ms))
        return false;
    (void)snprintf(seconds, sizeof(seconds), "%.*sZ", SECONDS_LEN, (const char *)text.ptr);
    if (!cf_time_parse_basic(cf_slice_str(seconds), &utc_ms))
        return false;
    *ret_utc_ms = utc_ms + (int64_t)ms;
    return true;
}

bool cf_mark_name_parse(const cf_slice name, cf_mark *const ret)
{
    size_t kind_len = 0;
    int64_t utc_ms = 0;

    while (kind_len < name.len && name.ptr[kind_len] >= 'a' && name.ptr[kind_len] <= 'z')
        kind_len++;
    if (kind_len == 0 || kind_len > CF_MARK_KIND_LEN_MAX || kind_len == name.len ||
        name.ptr[kind_len] != '-' ||
        !time_parse(cf_slice_of(name.ptr + kind_len + 1, name.len - kind_len - 1), &utc_ms))
        return false;
    (void)snprintf(ret->kind, sizeof(ret->kind), "%.*s", (int)kind_len, (const char *)name.ptr);
    (void)snprintf(ret->name, sizeof(ret->name), "%.*s", CF_SLICE_FMT(name));
    ret->time_utc_ms = utc_ms;
    return true;
}

static void name_render(const char *const kind, const int64_t utc_ms, char ret[CF_MARK_NAME_SIZE])
{
    char time[CF_TIME_SIZE] = "";

    cf_time_render_basic(utc_ms, time);
    (void)snprintf(ret, CF_MARK_NAME_SIZE, "%s-%.*s%03dZ", kind, SECONDS_LEN, time,
                   (int)(utc_ms % 1000));
}

static void key_of(const char *const node, const cf_run_id *const run, const char *const name,
                   char ret[CF_KEY_LEN_MAX + 1])
{
    (void)snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/marks/%s/%s", node, run->text, name);
}

typedef struct each {
    size_t folder_len; /* of "nodes/<node>/marks/" */
    cf_mark_fn fn;
    void *impl;
} each;

static cf_err entry_take(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                         cf_error *const e)
{
    const each *const x = impl;
    const cf_slice key = cf_slice_str(entry->key);
    const size_t head = x->folder_len + CF_RUN_ID_LEN + 1;
    cf_mark mark = {0};

    (void)ret_stop;
    if (key.len <= head || key.ptr[head - 1] != '/' ||
        !cf_run_id_parse(cf_slice_of(key.ptr + x->folder_len, CF_RUN_ID_LEN), &mark.run) ||
        !cf_mark_name_parse(cf_slice_of(key.ptr + head, key.len - head), &mark))
        return CF_OK;
    return x->fn(x->impl, &mark, e);
}

cf_err cf_mark_each(const cf_repo *const repo, const char *const node, const cf_run_id *const only,
                    const cf_mark_fn fn, void *const impl, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];
    each x = {.fn = fn, .impl = impl};

    CF_TRY(cf_node_name_check(node, e));
    cf_key_folder(prefix, node, "marks");
    x.folder_len = strlen(prefix);
    if (only != NULL)
        key_of(node, only, /* name= */ "", prefix);
    CF_TRY_AS(repo->store->ops->list(repo->store, prefix, /* after= */ NULL, /* delimiter= */ NULL,
                                     entry_take, &x, e),
              e, "list the marks of '%s'", node);
    return CF_OK;
}

static cf_err body_render(json_t *const body, char **const ret, cf_error *const e)
{
    CF_CLEANUP(json_decrefp)
    json_t *all = json_pack("{s:i, s:[]}", "format", CF_FORMAT, "requires");

    CF_ENSURE(all != NULL && json_object_update(all, body) == 0, e, CF_ERR_NO_MEMORY,
              "make a mark");
    *ret = cf_json_dump(all, JSON_COMPACT);
    CF_ENSURE(*ret != NULL, e, CF_ERR_NO_MEMORY, "make a mark");
    return CF_OK;
}

/* A HEAD first: a store that ignores the condition must not lose the mark that is there. */
static cf_err put_new(const cf_repo *const repo, const char *const key, const cf_slice body,
                      cf_error *const e)
{
    const cf_put_opts opts = {.create_only = true};
    cf_object_stat stat = {0};
    const cf_err err = repo->store->ops->head(repo->store, key, &stat, e);

    CF_ENSURE(err != CF_OK, e, CF_ERR_EXISTS, "mark '%s' exists", key);
    if (err != CF_ERR_NOT_FOUND)
        return err;
    return repo->store->ops->put(repo->store, key, body, &opts, /* ret= */ NULL, e);
}

cf_err cf_mark_add(const cf_repo *const repo, const char *const node, const cf_run_id *const run,
                   const char *const kind, json_t *const body, cf_error *const e)
{
    CF_CLEANUP(cf_freep) char *text = NULL;
    char name[CF_MARK_NAME_SIZE];
    char key[CF_KEY_LEN_MAX + 1];
    int64_t utc_ms = 0;

    CF_CHECK(strlen(kind) <= CF_MARK_KIND_LEN_MAX);
    CF_TRY(cf_node_name_check(node, e));
    CF_TRY(body_render(body, &text, e));
    const cf_slice all = cf_slice_str(text);
    CF_ENSURE(all.len <= CF_MARK_LEN_MAX, e, CF_ERR_TOO_LARGE,
              "a mark of %zu bytes is more than %d", all.len, CF_MARK_LEN_MAX);
    CF_TRY(repo->store->ops->now_utc_ms(repo->store, &utc_ms, e));
    for (unsigned i = 0; i < ADD_TRIES_MAX; i++, utc_ms++) {
        name_render(kind, utc_ms, name);
        key_of(node, run, name, key);
        const cf_err err = put_new(repo, key, all, e);
        if (err == CF_OK)
            return CF_OK;
        if (err != CF_ERR_EXISTS)
            CF_TRY_AS(err, e, "write mark '%s'", key);
    }
    CF_FAIL(e, CF_ERR_EXISTS, "snapshot '%s' of node '%s' has %d marks of kind '%s' in a row",
            run->text, node, ADD_TRIES_MAX, kind);
}

cf_err cf_mark_load(const cf_repo *const repo, const char *const node, const cf_mark *const mark,
                    json_t **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    CF_CLEANUP(json_decrefp) json_t *body = NULL;
    char key[CF_KEY_LEN_MAX + 1];

    cf_buf_init(&text, CF_MARK_LEN_MAX);
    key_of(node, &mark->run, mark->name, key);
    const cf_err err = cf_store_get_small(repo->store, key, &text, e);
    CF_ENSURE(err != CF_ERR_TOO_LARGE, e, CF_ERR_DAMAGE, "mark '%s' has more than %d bytes", key,
              CF_MARK_LEN_MAX);
    CF_TRY(err);
    CF_TRY_AS(cf_json_load(cf_buf_slice(&text), &body, e), e, "mark '%s'", key);
    CF_TRY_AS(cf_json_check_format(body, "mark", e), e, "mark '%s'", key);
    *ret = CF_STEAL(body);
    return CF_OK;
}
