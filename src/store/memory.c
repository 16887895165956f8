/* SPDX-License-Identifier: Apache-2.0
 *
 * Store in memory: the second implementation, which most tests use.
 *
 * Invariant: objects are sorted by key; a body never changes once it stands there, so readers share
 * it by reference and no lock is held while a callback runs.
 */
#include "store/memory.h"

#include <pthread.h>
#include <stdatomic.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"

enum {
    MEMORY_OBJECT_LEN_MAX = 1 << 30, /* ours: a test that needs more has a mistake */
    MEMORY_SINK_BYTES = 64 * 1024,   /* bodies are given in pieces, as a network does */
};

typedef struct blob {
    atomic_uint refs;
    size_t len;
    uint8_t data[];
} blob;

typedef struct object {
    char *key;  /* owned */
    blob *body; /* one reference */
    int64_t modified_utc_ms;
    char id[CF_STORE_ID_LEN + 1];
} object;

typedef struct memory {
    cf_store base;
    const cf_world *world;
    cf_store_memory_hooks hooks;
    uint64_t part_bytes;
    pthread_mutex_t lock; /* of all below */
    bool there;
    object *objects; /* owned; sorted by key */
    size_t count, cap;
    cf_store_counts counts;
} memory;

struct cf_store_put {
    memory *m;
    char *key; /* owned */
    bool create_only;
    char id[CF_STORE_ID_LEN + 1];
    cf_buf body;
};

static const char *const op_names[CF_STORE_OP_TOTAL] = {
    [CF_STORE_OP_PUT] = "put",
    [CF_STORE_OP_PUT_OPEN] = "put_open",
    [CF_STORE_OP_PUT_WRITE] = "put_write",
    [CF_STORE_OP_PUT_FINISH] = "put_finish",
    [CF_STORE_OP_GET] = "get",
    [CF_STORE_OP_HEAD] = "head",
    [CF_STORE_OP_LIST] = "list",
    [CF_STORE_OP_DELETE] = "delete",
    [CF_STORE_OP_CREATE] = "create",
    [CF_STORE_OP_NOW] = "now",
};

const char *cf_store_op_name(cf_store_op op)
{
    return op < CF_STORE_OP_TOTAL ? op_names[op] : "?";
}

/* ---- bodies and the sorted table ---- */

static blob *blob_new(cf_slice s)
{
    blob *const b = cf_alloc(1, sizeof(*b) + s.len);
    if (b == NULL)
        return NULL;
    atomic_init(&b->refs, 1);
    b->len = s.len;
    if (s.len > 0)
        memcpy(b->data, s.ptr, s.len);
    return b;
}

static void blob_unrefp(blob **b)
{
    if (*b != NULL && atomic_fetch_sub(&(*b)->refs, 1) == 1)
        cf_free(*b);
    *b = NULL;
}

static blob *blob_ref(blob *b)
{
    (void)atomic_fetch_add(&b->refs, 1);
    return b;
}

static void unlockp(pthread_mutex_t **lock)
{
    (void)pthread_mutex_unlock(*lock);
}

static pthread_mutex_t *lock_take(memory *m)
{
    CF_CHECK(pthread_mutex_lock(&m->lock) == 0);
    return &m->lock;
}

/* Holds the lock to the end of the scope. */
#define MEMORY_HOLD(m)                                                                             \
    CF_CLEANUP(unlockp)                                                                            \
    __attribute__((unused)) pthread_mutex_t *held_ = lock_take(m)

/* Index of the first key >= key. */
static size_t find(const memory *m, cf_slice key)
{
    size_t low = 0;
    size_t high = m->count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (cf_slice_cmp(cf_slice_str(m->objects[mid].key), key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static object *lookup(memory *m, const char *key)
{
    const size_t i = find(m, cf_slice_str(key));
    return i < m->count && strcmp(m->objects[i].key, key) == 0 ? &m->objects[i] : NULL;
}

static void object_deinit(object *o)
{
    cf_free(o->key);
    blob_unrefp(&o->body);
}

/* Takes over *o. */
static cf_err insert(memory *m, object *o, cf_error *e)
{
    if (m->count == m->cap) {
        const size_t cap = m->cap == 0 ? 64 : m->cap * 2;
        object *const objects = cf_realloc(m->objects, cap, sizeof(*objects));
        CF_ENSURE(objects != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu objects", cap);
        m->objects = objects;
        m->cap = cap;
    }
    const size_t i = find(m, cf_slice_str(o->key));
    memmove(m->objects + i + 1, m->objects + i, (m->count - i) * sizeof(*m->objects));
    m->objects[i] = *o;
    m->count++;
    *o = (object){0};
    return CF_OK;
}

/* ---- entering and leaving an operation ---- */

static memory *memory_of(cf_store *s)
{
    return (memory *)(void *)s;
}

static cf_err enter(memory *m, cf_store_op op, const char *key, cf_error *e)
{
    bool there = false;
    {
        MEMORY_HOLD(m);
        m->counts.requests_total++;
        there = m->there;
    }
    if (m->hooks.before != NULL)
        CF_TRY(m->hooks.before(m->hooks.impl, op, key, e));
    CF_ENSURE(there || op == CF_STORE_OP_CREATE, e, CF_ERR_NO_BUCKET,
              "the store in memory is not there");
    return CF_OK;
}

static cf_err leave(memory *m, cf_store_op op, const char *key, cf_error *e)
{
    return m->hooks.after != NULL ? m->hooks.after(m->hooks.impl, op, key, e) : CF_OK;
}

/* ---- put ---- */

static cf_err digest_parts(cf_slice body, uint64_t part_bytes, cf_digest *ret, cf_error *e)
{
    CF_CLEANUP(cf_hash_deinit) cf_hash all = {0};
    CF_TRY(cf_hash_init(&all, CF_HASH_SHA256, e));
    for (size_t at = 0; at < body.len; at += (size_t)part_bytes) {
        const size_t n = body.len - at < part_bytes ? body.len - at : (size_t)part_bytes;
        uint8_t one[CF_SHA256_LEN];
        CF_TRY(cf_sha256(cf_slice_of(body.ptr + at, n), one, e));
        CF_TRY(cf_hash_update(&all, cf_slice_of(one, sizeof(one)), e));
    }
    ret->kind = CF_DIGEST_SHA256_PARTS;
    ret->part_bytes = part_bytes;
    return cf_hash_final(&all, ret->sha256, e);
}

/* part_bytes 0: plain. */
static cf_err stored_make(cf_slice body, uint64_t part_bytes, cf_stored *ret, cf_error *e)
{
    cf_stored stored = {.size_bytes = body.len};
    if (part_bytes > 0 && body.len > part_bytes)
        CF_TRY(digest_parts(body, part_bytes, &stored.digest, e));
    else
        CF_TRY(cf_sha256(body, stored.digest.sha256, e));
    *ret = stored;
    return CF_OK;
}

/* The put itself: all or nothing, under the lock. */
static cf_err place(memory *m, const char *key, cf_slice body, bool create_only, const char *id,
                    cf_error *e)
{
    CF_CLEANUP(object_deinit)
    object fresh = {.key = cf_strdup(key),
                    .body = blob_new(body),
                    .modified_utc_ms = m->world->now_utc_ms(m->world->impl)};
    CF_ENSURE(fresh.key != NULL && fresh.body != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes",
              body.len);
    memcpy(fresh.id, id, sizeof(fresh.id));

    MEMORY_HOLD(m);
    object *const old = lookup(m, key);
    const bool conditional = create_only && (m->base.features & CF_STORE_CONDITIONAL_CREATE) != 0;
    m->counts.bytes_sent += body.len;
    if (old == NULL)
        return insert(m, &fresh, e);
    if (conditional && strcmp(old->id, id) == 0)
        return CF_OK; /* ours: an earlier answer was lost */
    CF_ENSURE(!conditional, e, CF_ERR_EXISTS, "object '%s' exists already", key);
    const object swap = *old;
    *old = fresh;
    fresh = swap;
    return CF_OK;
}

static cf_err memory_put(cf_store *s, const char *key, cf_slice body, const cf_put_opts *opts,
                         cf_stored *ret, cf_error *e)
{
    memory *const m = memory_of(s);
    char id[CF_STORE_ID_LEN + 1];
    cf_stored stored = {0};
    CF_TRY(cf_store_key_check(key, e));
    CF_TRY(cf_store_id_make(opts, m->world, id, e));
    CF_TRY(enter(m, CF_STORE_OP_PUT, key, e));
    CF_TRY(stored_make(body, 0, &stored, e));
    CF_TRY(place(m, key, body, opts != NULL && opts->create_only, id, e));
    CF_TRY(leave(m, CF_STORE_OP_PUT, key, e));
    if (ret != NULL)
        *ret = stored;
    return CF_OK;
}

static void put_free(cf_store_put *p)
{
    cf_free(p->key);
    cf_buf_deinit(&p->body);
    cf_free(p);
}
CF_DEFINE_FREEP(cf_store_put, put_free)

static cf_err memory_put_open(cf_store *s, const char *key, const cf_put_opts *opts,
                              cf_store_put **ret, cf_error *e)
{
    memory *const m = memory_of(s);
    CF_CLEANUP(put_freep) cf_store_put *p = NULL;
    CF_TRY(cf_store_key_check(key, e));
    CF_NEW(p, e);
    p->m = m;
    p->create_only = opts != NULL && opts->create_only;
    cf_buf_init(&p->body, MEMORY_OBJECT_LEN_MAX);
    CF_TRY(cf_store_id_make(opts, m->world, p->id, e));
    p->key = cf_strdup(key);
    CF_ENSURE(p->key != NULL, e, CF_ERR_NO_MEMORY, "allocate a key");
    CF_TRY(enter(m, CF_STORE_OP_PUT_OPEN, key, e));
    CF_TRY(leave(m, CF_STORE_OP_PUT_OPEN, key, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

static cf_err memory_put_write(cf_store_put *p, cf_slice bytes, cf_error *e)
{
    CF_TRY(enter(p->m, CF_STORE_OP_PUT_WRITE, p->key, e));
    CF_TRY(cf_buf_append(&p->body, bytes, e));
    return leave(p->m, CF_STORE_OP_PUT_WRITE, p->key, e);
}

static cf_err memory_put_finish(cf_store_put *put, cf_stored *ret, cf_error *e)
{
    CF_CLEANUP(put_freep) cf_store_put *p = put;
    cf_stored stored = {0};
    CF_TRY(enter(p->m, CF_STORE_OP_PUT_FINISH, p->key, e));
    CF_TRY(stored_make(cf_buf_slice(&p->body), p->m->part_bytes, &stored, e));
    CF_TRY(place(p->m, p->key, cf_buf_slice(&p->body), p->create_only, p->id, e));
    CF_TRY(leave(p->m, CF_STORE_OP_PUT_FINISH, p->key, e));
    if (ret != NULL)
        *ret = stored;
    return CF_OK;
}

static void memory_put_abort(cf_store_put *p)
{
    if (p != NULL)
        put_free(p);
}

static const char *memory_put_upload_id(const cf_store_put *p)
{
    (void)p;
    return "";
}

/* ---- reading ---- */

/* A reference of the caller's own. */
static cf_err body_take(memory *m, const char *key, blob **ret, cf_error *e)
{
    MEMORY_HOLD(m);
    const object *const o = lookup(m, key);
    CF_ENSURE(o != NULL, e, CF_ERR_NOT_FOUND, "object '%s' is not there", key);
    *ret = blob_ref(o->body);
    return CF_OK;
}

static cf_err give(memory *m, cf_slice body, cf_store_sink sink, void *sink_impl, cf_error *e)
{
    while (body.len > 0) {
        const size_t n = body.len < MEMORY_SINK_BYTES ? body.len : MEMORY_SINK_BYTES;
        CF_TRY(sink(sink_impl, cf_slice_of(body.ptr, n), e));
        body = cf_slice_of(body.ptr + n, body.len - n);
        MEMORY_HOLD(m);
        m->counts.bytes_received += n;
    }
    return CF_OK;
}

static cf_err memory_get(cf_store *s, const char *key, uint64_t offset, uint64_t len,
                         cf_store_sink sink, void *sink_impl, cf_error *e)
{
    memory *const m = memory_of(s);
    CF_CLEANUP(blob_unrefp) blob *body = NULL;
    uint64_t n = 0;
    CF_TRY(cf_store_key_check(key, e));
    CF_TRY(enter(m, CF_STORE_OP_GET, key, e));
    CF_TRY(body_take(m, key, &body, e));
    CF_CHECK(body != NULL); /* gcc cannot see that body_take() set it */
    CF_TRY(cf_store_range_check(key, body->len, offset, len, &n, e));
    CF_TRY(give(m, cf_slice_of(body->data + offset, (size_t)n), sink, sink_impl, e));
    return leave(m, CF_STORE_OP_GET, key, e);
}

static cf_err stat_of(memory *m, const char *key, cf_object_stat *ret, cf_error *e)
{
    MEMORY_HOLD(m);
    const object *const o = lookup(m, key);
    CF_ENSURE(o != NULL, e, CF_ERR_NOT_FOUND, "object '%s' is not there", key);
    *ret = (cf_object_stat){.size_bytes = o->body->len, .modified_utc_ms = o->modified_utc_ms};
    memcpy(ret->id, o->id, sizeof(ret->id));
    return CF_OK;
}

static cf_err memory_head(cf_store *s, const char *key, cf_object_stat *ret, cf_error *e)
{
    memory *const m = memory_of(s);
    cf_object_stat stat = {0};
    CF_TRY(cf_store_key_check(key, e));
    CF_TRY(enter(m, CF_STORE_OP_HEAD, key, e));
    CF_TRY(stat_of(m, key, &stat, e));
    CF_TRY(leave(m, CF_STORE_OP_HEAD, key, e));
    *ret = stat;
    return CF_OK;
}

/* ---- list ---- */

typedef struct step {
    bool found;
    cf_store_entry entry; /* .key points to text */
    char text[CF_KEY_LEN_MAX + 1];
} step;

/* The first entry > after that is >= prefix. Each step looks anew, so that callbacks may change the
 * store. */
static void next_entry(memory *m, cf_slice prefix, cf_slice after, const char *delimiter, step *ret)
{
    MEMORY_HOLD(m);
    ret->found = false;
    size_t i = find(m, cf_slice_cmp(prefix, after) > 0 ? prefix : after);
    for (; i < m->count; i++) {
        const object *const o = &m->objects[i];
        const cf_slice key = cf_slice_str(o->key);
        if (!cf_slice_starts_with(key, prefix))
            return;
        const char *const slash = delimiter == NULL ? NULL : strchr(o->key + prefix.len, '/');
        const size_t len = slash == NULL ? key.len : (size_t)(slash - o->key) + 1;
        if (after.len > 0 && cf_slice_cmp(cf_slice_of(key.ptr, len), after) <= 0)
            continue;
        memcpy(ret->text, o->key, len);
        ret->text[len] = '\0';
        ret->found = true;
        ret->entry = (cf_store_entry){.key = ret->text, .is_prefix = slash != NULL};
        if (slash == NULL) {
            ret->entry.size_bytes = o->body->len;
            ret->entry.modified_utc_ms = o->modified_utc_ms;
        }
        return;
    }
}

static cf_err memory_list(cf_store *s, const char *prefix, const char *after, const char *delimiter,
                          cf_store_list_fn fn, void *impl, cf_error *e)
{
    memory *const m = memory_of(s);
    char last[CF_KEY_LEN_MAX + 1] = "";
    cf_slice from = cf_slice_str(after);
    CF_TRY(enter(m, CF_STORE_OP_LIST, prefix, e));
    for (bool stop = false; !stop;) {
        step one;
        next_entry(m, cf_slice_str(prefix), from, delimiter, &one);
        if (!one.found)
            break;
        CF_TRY(fn(impl, &one.entry, &stop, e));
        memcpy(last, one.text, sizeof(last));
        from = cf_slice_str(last);
    }
    return leave(m, CF_STORE_OP_LIST, prefix, e);
}

/* ---- the rest ---- */

static void remove_key(memory *m, const char *key)
{
    MEMORY_HOLD(m);
    object *const o = lookup(m, key);
    if (o == NULL)
        return;
    object_deinit(o);
    m->count--;
    memmove(o, o + 1, (m->count - (size_t)(o - m->objects)) * sizeof(*o));
}

static cf_err memory_delete_many(cf_store *s, const char *const *keys, size_t key_total,
                                 const cf_delete_opts *opts, cf_error *e)
{
    (void)opts;
    memory *const m = memory_of(s);
    const char *const first = key_total > 0 ? keys[0] : "";
    for (size_t i = 0; i < key_total; i++)
        CF_TRY(cf_store_key_check(keys[i], e));
    CF_TRY(enter(m, CF_STORE_OP_DELETE, first, e));
    for (size_t i = 0; i < key_total; i++)
        remove_key(m, keys[i]);
    return leave(m, CF_STORE_OP_DELETE, first, e);
}

static cf_err memory_create(cf_store *s, cf_error *e)
{
    memory *const m = memory_of(s);
    CF_TRY(enter(m, CF_STORE_OP_CREATE, "", e));
    cf_store_memory_set_there(s, true);
    return leave(m, CF_STORE_OP_CREATE, "", e);
}

static cf_err memory_now_utc_ms(cf_store *s, int64_t *ret, cf_error *e)
{
    memory *const m = memory_of(s);
    CF_TRY(enter(m, CF_STORE_OP_NOW, "", e));
    const int64_t now = m->world->now_utc_ms(m->world->impl);
    CF_TRY(leave(m, CF_STORE_OP_NOW, "", e));
    *ret = now;
    return CF_OK;
}

static void memory_get_counts(cf_store *s, cf_store_counts *ret)
{
    memory *const m = memory_of(s);
    MEMORY_HOLD(m);
    *ret = m->counts;
}

static void memory_free(cf_store *s)
{
    memory *const m = memory_of(s);
    for (size_t i = 0; i < m->count; i++)
        object_deinit(&m->objects[i]);
    cf_free(m->objects);
    (void)pthread_mutex_destroy(&m->lock);
    cf_free(m);
}

static const cf_store_ops memory_ops = {
    .kind = "memory",
    .put = memory_put,
    .put_open = memory_put_open,
    .put_write = memory_put_write,
    .put_finish = memory_put_finish,
    .put_abort = memory_put_abort,
    .put_upload_id = memory_put_upload_id,
    .get = memory_get,
    .head = memory_head,
    .list = memory_list,
    .delete_many = memory_delete_many,
    .abort_upload = cf_store_abort_none,
    .uploads_each = cf_store_uploads_none,
    .versioning = cf_store_versioning_off,
    .create = memory_create,
    .now_utc_ms = memory_now_utc_ms,
    .get_counts = memory_get_counts,
    .free = memory_free,
};

cf_err cf_store_memory_new(const cf_world *world, cf_store **ret, cf_error *e)
{
    memory *m = NULL;
    CF_NEW(m, e);
    m->base.ops = &memory_ops;
    m->base.features = CF_STORE_CONDITIONAL_CREATE | CF_STORE_BATCH_DELETE | CF_STORE_RANGED_GET;
    m->world = world != NULL ? world : cf_world_real();
    m->there = true;
    CF_CHECK(pthread_mutex_init(&m->lock, NULL) == 0);
    *ret = &m->base;
    return CF_OK;
}

void cf_store_memory_set_hooks(cf_store *s, const cf_store_memory_hooks *hooks)
{
    memory_of(s)->hooks = hooks != NULL ? *hooks : (cf_store_memory_hooks){0};
}

void cf_store_memory_set_features(cf_store *s, unsigned features)
{
    s->features = features;
}

void cf_store_memory_set_part_bytes(cf_store *s, uint64_t part_bytes)
{
    memory_of(s)->part_bytes = part_bytes;
}

void cf_store_memory_set_there(cf_store *s, bool there)
{
    memory *const m = memory_of(s);
    MEMORY_HOLD(m);
    m->there = there;
}
