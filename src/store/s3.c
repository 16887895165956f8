/* SPDX-License-Identifier: Apache-2.0
 *
 * Store over the S3 client: prefix, digests and errors in the words of store.h.
 */
#include <stdio.h>
#include <string.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "store/s3_impl.h"

_Static_assert((unsigned)CF_STORE_ID_LEN == S3_ID_LEN, "the id of a put is the client's");
_Static_assert(CF_STORE_PREFIX_LEN_MAX + 1 + CF_KEY_LEN_MAX <= S3_KEY_LEN_MAX,
               "prefix and key fit a key of S3");

struct cf_store_put {
    s3_upload *upload;
};

typedef struct full_key {
    char text[S3_KEY_LEN_MAX + 1];
} full_key;

/* prefix + text; text has been checked, or is a list's prefix or start. */
static cf_err join(const cf_s3_store *s, const char *text, full_key *ret, cf_error *e)
{
    const size_t len = strlen(text);
    CF_ENSURE(s->prefix_len + len <= S3_KEY_LEN_MAX, e, CF_ERR_USAGE,
              "key with prefix has %zu bytes, %u are allowed", s->prefix_len + len, S3_KEY_LEN_MAX);
    memcpy(ret->text, s->prefix, s->prefix_len);
    memcpy(ret->text + s->prefix_len, text, len + 1);
    return CF_OK;
}

static cf_err full(const cf_s3_store *s, const char *key, full_key *ret, cf_error *e)
{
    CF_TRY(cf_store_key_check(key, e));
    return join(s, key, ret, e);
}

static void stored_of(const s3_put_result *r, cf_stored *ret)
{
    if (ret == NULL)
        return;
    *ret = (cf_stored){
        .size_bytes = r->size_bytes,
        .digest.kind = r->multipart ? CF_DIGEST_SHA256_PARTS : CF_DIGEST_SHA256,
        .digest.part_bytes = r->multipart ? r->part_bytes : 0,
    };
    memcpy(ret->digest.sha256, r->sha256, sizeof(ret->digest.sha256));
}

static s3_put_opts put_opts_of(const cf_s3_store *s, const cf_put_opts *opts)
{
    const bool conditional = (s->base.features & CF_STORE_CONDITIONAL_CREATE) != 0;
    return opts == NULL ? (s3_put_opts){0}
                        : (s3_put_opts){.create_only = opts->create_only && conditional,
                                        .id = opts->id,
                                        .last_words = opts->last_words};
}

/* ---- writing ---- */

static cf_err store_put(cf_store *store, const char *key, cf_slice body, const cf_put_opts *opts,
                        cf_stored *ret, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    const s3_put_opts put = put_opts_of(s, opts);
    s3_put_result result = {0};
    char id[CF_STORE_ID_LEN + 1];
    full_key k;
    CF_TRY(full(s, key, &k, e));
    if (put.id != NULL)
        CF_TRY(cf_store_id_make(opts, s->world, id, e)); /* only to check it */
    CF_TRY(s3_put(s->client, k.text, body, &put, &result, e));
    stored_of(&result, ret);
    return CF_OK;
}

static cf_err store_put_open(cf_store *store, const char *key, const cf_put_opts *opts,
                             cf_store_put **ret, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    const s3_put_opts put = put_opts_of(s, opts);
    CF_CLEANUP(cf_freep) cf_store_put *p = NULL;
    char id[CF_STORE_ID_LEN + 1];
    full_key k;
    CF_TRY(full(s, key, &k, e));
    if (put.id != NULL)
        CF_TRY(cf_store_id_make(opts, s->world, id, e));
    CF_NEW(p, e);
    CF_TRY(s3_upload_open(s->client, k.text, &put, &p->upload, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

static cf_err store_put_write(cf_store_put *p, cf_slice bytes, cf_error *e)
{
    return s3_upload_write(p->upload, bytes, e);
}

static cf_err store_put_finish(cf_store_put *put, cf_stored *ret, cf_error *e)
{
    CF_CLEANUP(cf_freep) cf_store_put *p = put;
    s3_put_result result = {0};
    CF_TRY(s3_upload_finish(p->upload, &result, e));
    stored_of(&result, ret);
    return CF_OK;
}

static void store_put_abort(cf_store_put *p)
{
    if (p == NULL)
        return;
    s3_upload_abort(p->upload);
    cf_free(p);
}

static const char *store_put_upload_id(const cf_store_put *p)
{
    return s3_upload_id(p->upload);
}

/* ---- reading ---- */

/* Counts on the way to the caller's sink. */
typedef struct counted_sink {
    cf_store_sink sink;
    void *impl;
    uint64_t bytes;
} counted_sink;

static cf_err counted(void *impl, cf_slice bytes, cf_error *e)
{
    counted_sink *const c = impl;
    c->bytes += bytes.len;
    return c->sink(c->impl, bytes, e);
}

/* An object shorter than its manifest says: HTTP has 416 for a range that begins behind the end,
 * and gives what there is of one that only ends there. */
static cf_err store_get(cf_store *store, const char *key, uint64_t offset, uint64_t len,
                        cf_store_sink sink, void *sink_impl, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    const s3_range range = {.offset = offset, .len = len};
    const bool whole = offset == 0 && len == 0;
    counted_sink count = {.sink = sink, .impl = sink_impl};
    cf_error local = {0};
    cf_error *const story = e != NULL ? e : &local;
    full_key k;
    CF_TRY(full(s, key, &k, e));
    CF_ENSURE(len <= UINT64_MAX - offset, e, CF_ERR_DAMAGE,
              "object '%s' cannot have %llu bytes at %llu", key, (unsigned long long)len,
              (unsigned long long)offset);
    const cf_err err =
        s3_get(s->client, k.text, whole ? NULL : &range, counted, &count, /* ret= */ NULL, story);
    CF_ENSURE(err == CF_OK || story->http_status != 416, e, CF_ERR_DAMAGE,
              "object '%s' ends before byte %llu, where more was expected", key,
              (unsigned long long)offset);
    CF_TRY(err);
    CF_ENSURE(len == 0 || count.bytes == len, e, CF_ERR_DAMAGE,
              "object '%s' has %llu bytes at %llu, but %llu were expected", key,
              (unsigned long long)count.bytes, (unsigned long long)offset, (unsigned long long)len);
    return CF_OK;
}

static cf_err store_head(cf_store *store, const char *key, cf_object_stat *ret, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    s3_object object = {0};
    full_key k;
    CF_TRY(full(s, key, &k, e));
    CF_TRY(s3_head(s->client, k.text, &object, e));
    *ret = (cf_object_stat){.size_bytes = object.size_bytes,
                            .modified_utc_ms = object.modified_utc_ms};
    memcpy(ret->id, object.id, sizeof(ret->id));
    return CF_OK;
}

typedef struct list_run {
    const cf_s3_store *s;
    cf_slice after; /* "" or relative */
    cf_store_list_fn fn;
    void *impl;
} list_run;

/* Foreign keys (a console's "folder/" objects among them) are left out. So is a common prefix <=
 * after: servers differ in whether they give it when keys under it are greater. */
static cf_err list_entry(void *impl, const s3_list_entry *entry, bool *ret_stop, cf_error *e)
{
    const list_run *const l = impl;
    char key[S3_KEY_LEN_MAX + 1];
    const cf_slice prefix = cf_slice_of(l->s->prefix, l->s->prefix_len);
    if (!cf_slice_starts_with(entry->key, prefix) || entry->key.len - prefix.len > CF_KEY_LEN_MAX)
        return CF_OK;
    const cf_slice rest = cf_slice_of(entry->key.ptr + prefix.len, entry->key.len - prefix.len);
    if (rest.len == 0 || (l->after.len > 0 && cf_slice_cmp(rest, l->after) <= 0))
        return CF_OK;
    memcpy(key, rest.ptr, rest.len);
    key[rest.len] = '\0';
    if (entry->is_prefix)
        key[rest.len - 1] = '\0'; /* without its delimiter it must be a key */
    if (strlen(key) != rest.len - (entry->is_prefix ? 1 : 0) ||
        cf_store_key_check(key, NULL) != CF_OK)
        return CF_OK;
    if (entry->is_prefix)
        key[rest.len - 1] = '/';
    const cf_store_entry out = {
        .key = key,
        .is_prefix = entry->is_prefix,
        .size_bytes = entry->size_bytes,
        .modified_utc_ms = entry->modified_utc_ms,
    };
    return l->fn(l->impl, &out, ret_stop, e);
}

static cf_err store_list(cf_store *store, const char *prefix, const char *after,
                         const char *delimiter, cf_store_list_fn fn, void *impl, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    list_run l = {.s = s, .after = cf_slice_str(after), .fn = fn, .impl = impl};
    full_key full_prefix;
    full_key full_after;
    CF_TRY(join(s, prefix, &full_prefix, e));
    CF_TRY(join(s, after == NULL ? "" : after, &full_after, e));
    const s3_list_opts opts = {
        .prefix = s->prefix_len + strlen(prefix) == 0 ? NULL : full_prefix.text,
        .start_after = l.after.len == 0 ? NULL : full_after.text,
        .delimiter = delimiter,
    };
    return s3_list(s->client, &opts, list_entry, &l, e);
}

/* ---- versions and uploads ---- */

static cf_err store_abort_upload(cf_store *store, const char *key, const char *upload_id,
                                 cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    full_key k;
    CF_TRY(full(s, key, &k, e));
    return upload_id[0] == '\0' ? CF_OK : s3_uploads_abort(s->client, k.text, upload_id, e);
}

typedef struct uploads_run {
    const cf_s3_store *s;
    cf_store_upload_fn fn;
    void *impl;
} uploads_run;

/* Foreign keys are left out, as by a list of objects. */
static cf_err upload_entry(void *impl, const s3_upload_entry *entry, cf_error *e)
{
    const uploads_run *const u = impl;
    const cf_slice prefix = cf_slice_of(u->s->prefix, u->s->prefix_len);
    char key[CF_KEY_LEN_MAX + 1] = "";
    char id[S3_UPLOAD_ID_LEN_MAX + 1] = "";
    if (!cf_slice_starts_with(entry->key, prefix) || entry->key.len - prefix.len > CF_KEY_LEN_MAX ||
        entry->upload_id.len > S3_UPLOAD_ID_LEN_MAX)
        return CF_OK;
    const size_t len = entry->key.len - prefix.len;
    (void)snprintf(key, sizeof(key), "%.*s", (int)len, (const char *)entry->key.ptr + prefix.len);
    (void)snprintf(id, sizeof(id), "%.*s", CF_SLICE_FMT(entry->upload_id));
    if (strlen(key) != len || strlen(id) != entry->upload_id.len ||
        cf_store_key_check(key, NULL) != CF_OK)
        return CF_OK;
    const cf_store_upload out = {.key = key, .id = id, .begun_utc_ms = entry->initiated_utc_ms};
    return u->fn(u->impl, &out, e);
}

static cf_err store_uploads_each(cf_store *store, const char *prefix, cf_store_upload_fn fn,
                                 void *impl, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    uploads_run u = {.s = s, .fn = fn, .impl = impl};
    full_key full_prefix;
    CF_TRY(join(s, prefix, &full_prefix, e));
    return s3_uploads_list(s->client, full_prefix.text, upload_entry, &u, e);
}

static cf_err store_versioning(cf_store *store, bool *ret_on, cf_error *e)
{
    return s3_bucket_versioning(cf_s3_store_of(store)->client, ret_on, e);
}

/* ---- place, time, end ---- */

static cf_err first_entry(void *impl, const s3_list_entry *entry, bool *ret_stop, cf_error *e)
{
    (void)impl;
    (void)entry;
    (void)e;
    *ret_stop = true;
    return CF_OK;
}

/* HEAD first: most keys may use a bucket but not make one. Its 403 has no body: a LIST tells
 * whether the key is wrong, or only the whole bucket forbidden and our prefix allowed. */
static cf_err store_create(cf_store *store, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    const cf_err err = s3_bucket_head(s->client, e);
    if (err == CF_ERR_NO_BUCKET)
        return s3_bucket_create(s->client, e);
    if (err != CF_ERR_DENIED)
        return err;
    const s3_list_opts opts = {.prefix = s->prefix[0] == '\0' ? NULL : s->prefix};
    return s3_list(s->client, &opts, first_entry, NULL, e);
}

static cf_err store_now_utc_ms(cf_store *store, int64_t *ret, cf_error *e)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    int64_t now = s3_client_server_time_ms(s->client);
    if (now == 0) { /* no answer yet: any will do, also that the key may not look at the bucket */
        cf_error head = {0};
        const cf_err err = s3_bucket_head(s->client, &head);
        now = s3_client_server_time_ms(s->client);
        if (now == 0 && err != CF_OK) {
            if (e != NULL)
                *e = head;
            return err;
        }
    }
    CF_ENSURE(now > 0, e, CF_ERR_PROTOCOL, "the server's answers have no Date");
    *ret = now;
    return CF_OK;
}

static void store_get_counts(cf_store *store, cf_store_counts *ret)
{
    s3_counts counts = {0};
    s3_client_get_counts(cf_s3_store_of(store)->client, &counts);
    *ret = (cf_store_counts){
        .requests_total = counts.requests_total,
        .retries_total = counts.retries_total,
        .bytes_sent = counts.bytes_sent,
        .bytes_received = counts.bytes_received,
    };
}

static void store_free(cf_store *store)
{
    cf_s3_store *const s = cf_s3_store_of(store);
    s3_client_free(s->client);
    cf_free(s);
}

static const cf_store_ops s3_ops = {
    .kind = "s3",
    .put = store_put,
    .put_open = store_put_open,
    .put_write = store_put_write,
    .put_finish = store_put_finish,
    .put_abort = store_put_abort,
    .put_upload_id = store_put_upload_id,
    .get = store_get,
    .head = store_head,
    .list = store_list,
    .delete_many = cf_s3_store_delete_many,
    .abort_upload = store_abort_upload,
    .uploads_each = store_uploads_each,
    .versioning = store_versioning,
    .create = store_create,
    .now_utc_ms = store_now_utc_ms,
    .get_counts = store_get_counts,
    .free = store_free,
};

cf_err cf_store_s3_new(const s3_client_opts *opts, const char *prefix, cf_store **ret, cf_error *e)
{
    CF_CLEANUP(cf_freep) cf_s3_store *s = NULL;
    const char *from = prefix != NULL ? prefix : "";
    from += strspn(from, "/");
    size_t len = strlen(from);
    while (len > 0 && from[len - 1] == '/')
        len--;
    CF_ENSURE(len <= CF_STORE_PREFIX_LEN_MAX, e, CF_ERR_USAGE,
              "the prefix has %zu bytes, %d are allowed", len, CF_STORE_PREFIX_LEN_MAX);
    CF_NEW(s, e);
    memcpy(s->prefix, from, len);
    s->prefix_len = len;
    if (len > 0)
        s->prefix[s->prefix_len++] = '/';
    s->base.ops = &s3_ops;
    /* What AWS and every server tested has; the probe of init takes back what a server does not
     * keep. */
    s->base.features = CF_STORE_CONDITIONAL_CREATE | CF_STORE_BATCH_DELETE | CF_STORE_RANGED_GET;
    s->world = opts->world != NULL ? opts->world : cf_world_real();
    CF_TRY(s3_client_new(opts, &s->client, e));
    *ret = &CF_STEAL(s)->base;
    return CF_OK;
}
