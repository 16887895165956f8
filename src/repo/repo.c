/* SPDX-License-Identifier: Apache-2.0
 *
 * The descriptor: written once, read by every command. It proves that a repository is there and in
 * which format.
 */
#include "repo/repo.h"

#include <stdio.h>

#include "repo/json.h"
#include "repo/run.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"

enum {
    DESCRIPTOR_LEN_MAX = 64 * 1024, /* ours: it has 150 bytes; room for what later versions add */
    REPO_ID_LEN = 32,
};

void cf_repo_random_id(const cf_world *const world, char ret[CF_STORE_ID_LEN + 1])
{
    uint8_t bytes[CF_STORE_ID_LEN / 2] = {0};
    world->random(world->impl, bytes, sizeof(bytes));
    cf_hex_render(cf_slice_of(bytes, sizeof(bytes)), ret);
}

/* Who does not know the weaker rules must keep away. */
static const char requires_unconditional[] = "unconditional-create";

/* Absent: conditional, as all were once. */
static cf_err create_take(const json_t *const o, bool *const ret, cf_error *const e)
{
    cf_slice create = {NULL, 0};
    *ret = true;
    if (json_object_get(o, "create") == NULL)
        return CF_OK;
    CF_TRY(cf_json_get_str(o, "create", 1, 64, &create, e));
    *ret = cf_slice_eq(create, cf_slice_str("conditional"));
    CF_ENSURE(*ret || cf_slice_eq(create, cf_slice_str("unconditional")), e, CF_ERR_FORMAT,
              "'create' is '%.*s', which this program does not know", CF_SLICE_FMT(create));
    return CF_OK;
}

static cf_err descriptor_take(const cf_slice text, cf_repo *const r, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *o = NULL;
    uint8_t id_bytes[REPO_ID_LEN / 2] = {0};
    cf_slice id = {NULL, 0};
    cf_slice sealing = {NULL, 0};
    CF_TRY(cf_json_load(text, &o, e));
    CF_TRY(cf_json_check_format_but(o, "descriptor", requires_unconditional, e));
    CF_TRY(cf_json_get_str(o, "id", REPO_ID_LEN, REPO_ID_LEN, &id, e));
    CF_ENSURE(cf_hex_parse(id, id_bytes, sizeof(id_bytes)), e, CF_ERR_DAMAGE,
              "'id' is '%.*s', not %d hex digits", CF_SLICE_FMT(id), REPO_ID_LEN);
    CF_TRY(cf_json_get_time_ms(o, "created", &r->created_utc_ms, e));
    CF_TRY(cf_json_get_str(o, "sealing", 1, 64, &sealing, e));
    CF_ENSURE(cf_slice_eq(sealing, cf_slice_str("none")), e, CF_ERR_FORMAT,
              "the repository is sealed with '%.*s', which this program does not know",
              CF_SLICE_FMT(sealing));
    CF_TRY(create_take(o, &r->conditional, e));
    memcpy(r->id, id.ptr, REPO_ID_LEN);
    r->id[REPO_ID_LEN] = '\0';
    return CF_OK;
}

cf_err cf_repo_open(cf_store *const store, const cf_world *const world, cf_repo *const ret,
                    cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_repo r = {.store = store, .world = world, .conditional = true};
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_descriptor(key);
    cf_buf_init(&text, DESCRIPTOR_LEN_MAX);
    const cf_err err = cf_store_get_small(store, key, &text, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_NO_REPOSITORY,
              "there is no '%s', so this is no repository\nHINT: check the address; make a new one "
              "with 'chunkferry init'",
              key);
    CF_ENSURE(err != CF_ERR_TOO_LARGE, e, CF_ERR_DAMAGE, "'%s' has more than %d bytes", key,
              DESCRIPTOR_LEN_MAX);
    CF_TRY(err);
    const cf_err taken = descriptor_take(cf_buf_slice(&text), &r, e);
    if (taken != CF_OK && e != NULL)
        cf_error_prefix(e, "'%s'", key);
    CF_ENSURE(taken != CF_ERR_DAMAGE, e, CF_ERR_DAMAGE,
              "%.1000s\nHINT: this file is written once and never changed: put it back from a copy "
              "of the repository, or from an older version of the object; nothing else is lost",
              e == NULL ? "" : e->message);
    CF_TRY(taken);
    *ret = r;
    return CF_OK;
}

/* Two creates of one key: is the second refused? Asked of a key of its own, so that a store
 * that overwrites cannot hurt a descriptor. What an append-only key cannot delete stays: an object
 * of a few bytes that nobody reads. */
static cf_err probe_conditional_create(cf_store *const store, const cf_world *const world,
                                       bool *const ret, cf_error *const e)
{
    char id[2][CF_STORE_ID_LEN + 1] = {"", ""};
    char key[CF_KEY_LEN_MAX + 1];
    cf_error second = {0};
    for (size_t i = 0; i < 2; i++)
        cf_repo_random_id(world, id[i]);
    (void)snprintf(key, sizeof(key), "probe-%s", id[0]);
    const cf_put_opts first_opts = {.create_only = true, .id = id[0]};
    const cf_put_opts second_opts = {.create_only = true, .id = id[1]};
    CF_TRY_AS(store->ops->put(store, key, cf_slice_str("probe\n"), &first_opts, /* ret= */ NULL, e),
              e, "probe the store");
    const cf_err err = store->ops->put(store, key, cf_slice_str("probe\n"), &second_opts,
                                       /* ret= */ NULL, &second);
    const char *const keys[] = {key};
    (void)store->ops->delete_many(store, keys, 1, /* opts= */ NULL, /* e= */ NULL);
    *ret = err == CF_ERR_EXISTS;
    if (err == CF_OK)
        return CF_OK;
    if (err == CF_ERR_EXISTS) { /* in a row; at once too? */
        CF_TRY_AS(cf_store_probe_race(store, world, ret, e), e, "probe the store");
        return CF_OK;
    }
    if (e != NULL)
        *e = second;
    cf_error_prefix(e, "probe the store");
    return err;
}

static cf_err descriptor_render(const cf_repo *const r, cf_buf *const ret, cf_error *const e)
{
    char created[CF_TIME_MS_SIZE] = "";
    cf_time_render_ms(r->created_utc_ms, created);
    return cf_buf_printf(ret, e,
                         "{\"format\":%d,\"requires\":[%s%s%s],\"id\":\"%s\",\"created\":\"%s\","
                         "\"sealing\":\"none\","
                         "\"create\":\"%s\"}\n",
                         CF_FORMAT, r->conditional ? "" : "\"",
                         r->conditional ? "" : requires_unconditional, r->conditional ? "" : "\"",
                         r->id, created, r->conditional ? "conditional" : "unconditional");
}

/* A HEAD first: a store that ignores the condition must not lose the repository that is there. */
static cf_err check_absent(cf_store *const store, const char *const key, cf_error *const e)
{
    cf_object_stat stat = {0};
    const cf_err err = store->ops->head(store, key, &stat, e);
    CF_ENSURE(err != CF_OK, e, CF_ERR_EXISTS,
              "a repository is there already ('%s')\nHINT: use it as it is, or give another "
              "prefix or directory",
              key);
    return err == CF_ERR_NOT_FOUND ? CF_OK : err;
}

cf_err cf_repo_init(cf_store *const store, const cf_world *const world, cf_repo *const ret,
                    cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_repo r = {.store = store, .world = world, .conditional = true};
    char put_id[CF_STORE_ID_LEN + 1] = "";
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_descriptor(key);
    CF_TRY(store->ops->create(store, e));
    CF_TRY(check_absent(store, key, e));
    CF_TRY(probe_conditional_create(store, world, &r.conditional, e));
    cf_repo_random_id(world, r.id);
    cf_repo_random_id(world, put_id);
    CF_TRY(store->ops->now_utc_ms(store, &r.created_utc_ms, e));
    cf_buf_init(&text, DESCRIPTOR_LEN_MAX);
    CF_TRY(descriptor_render(&r, &text, e));
    const cf_put_opts opts = {.create_only = true, .id = put_id};
    const cf_err err = store->ops->put(store, key, cf_buf_slice(&text), &opts, /* ret= */ NULL, e);
    CF_ENSURE(err != CF_ERR_EXISTS, e, CF_ERR_EXISTS,
              "somebody else just made a repository there ('%s')\nHINT: use it as it is, or give "
              "another prefix or directory",
              key);
    CF_TRY_AS(err, e, "write '%s'", key);
    *ret = r;
    return CF_OK;
}

/* --- names below a prefix --- */

typedef struct name_list {
    size_t prefix_len;
    cf_name_fn fn;
    void *impl;
} name_list;

static cf_err name_list_add(void *const impl, const cf_store_entry *const entry,
                            bool *const ret_stop, cf_error *const e)
{
    const name_list *const l = impl;
    char name[CF_KEY_LEN_MAX + 1];
    (void)ret_stop;
    size_t len = strlen(entry->key);
    if (len <= l->prefix_len || len > CF_KEY_LEN_MAX)
        return CF_OK;
    if (!entry->is_prefix)
        return CF_OK;
    len--; /* the slash */
    memcpy(name, entry->key + l->prefix_len, len - l->prefix_len);
    name[len - l->prefix_len] = '\0';
    return l->fn(l->impl, name, e);
}

/* Names of nodes only: what else lies there is none of ours. */
typedef struct node_filter {
    cf_name_fn fn;
    void *impl;
} node_filter;

static cf_err node_filter_add(void *const impl, const char *const name, cf_error *const e)
{
    const node_filter *const f = impl;
    return cf_node_name_check(name, /* e= */ NULL) == CF_OK ? f->fn(f->impl, name, e) : CF_OK;
}

cf_err cf_repo_list_nodes(const cf_repo *const r, const cf_name_fn fn, void *const impl,
                          cf_error *const e)
{
    static const char prefix[] = "nodes/";
    node_filter filter = {fn, impl};
    name_list l = {sizeof(prefix) - 1, node_filter_add, &filter};
    return r->store->ops->list(r->store, prefix, /* after= */ NULL, "/", name_list_add, &l, e);
}
