/* SPDX-License-Identifier: Apache-2.0
 *
 * Upload: bytes of unknown number to one object. The caller fills part buffers of the client's
 * pool; the pool's threads hash and send them. A full buffer is sent only when another byte comes,
 * so that what fits one part is one PUT.
 *
 * The size of parts is fixed for an upload (some stores want all but the last equal), so an upload
 * takes at most part_bytes * 10,000: 78 GiB with the default of 8 MiB.
 */
#include <pthread.h>
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/hash.h"
#include "s3/client.h"
#include "s3/multipart.h"
#include "s3/object.h"
#include "s3/put.h"

enum { PARTS_GROWTH = 64 };

typedef struct upload_part {
    uint8_t sha256[CF_SHA256_LEN];
    char etag[S3_ETAG_LEN_MAX + 1];
} upload_part;

struct s3_upload {
    s3_client *c;
    char *key, *content_type; /* owned */
    char id[S3_ID_LEN + 1];
    s3_multipart multipart; /* set while the first part is not sent yet, then only read */
    uint8_t *buffer;        /* being filled; from the pool */
    size_t buffer_len;
    uint64_t size_bytes;
    uint32_t part_total; /* submitted */

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t sent;
    upload_part *parts; /* owned; part_cap of them */
    uint32_t part_cap;
    uint32_t in_flight;
    cf_error failure; /* the first one; code CF_OK: none */
};

typedef struct part_job {
    s3_job job; /* first */
    s3_upload *u;
    uint8_t *buffer;
    size_t len;
    uint32_t number;
} part_job;

static void upload_free(s3_upload *u)
{
    s3_pool_give(u->c->pool, u->buffer);
    (void)pthread_cond_destroy(&u->sent);
    (void)pthread_mutex_destroy(&u->lock);
    cf_free(u->key);
    cf_free(u->content_type);
    cf_free(u->parts);
    cf_free(u);
}

CF_DEFINE_FREEP(s3_upload, upload_free)

cf_err s3_upload_open(s3_client *c, const char *key, const s3_put_opts *opts, s3_upload **ret,
                      cf_error *e)
{
    s3_upload *made = NULL;

    CF_NEW(made, e);
    made->c = c;
    (void)pthread_mutex_init(&made->lock, NULL);
    (void)pthread_cond_init(&made->sent, NULL);
    CF_CLEANUP(upload_freep) s3_upload *u = made;
    u->key = cf_strdup(key);
    u->content_type = cf_strdup(s3_put_content_type(opts));
    CF_ENSURE(u->key != NULL, e, CF_ERR_NO_MEMORY, "allocate the key");
    CF_ENSURE(u->content_type != NULL, e, CF_ERR_NO_MEMORY, "allocate the content type");
    CF_TRY(s3_put_id(c, opts, u->id, e));
    u->multipart.key = u->key;
    u->multipart.id = u->id;
    u->multipart.content_type = u->content_type;
    u->multipart.create_only = opts != NULL && opts->create_only;
    *ret = CF_STEAL(u);
    return CF_OK;
}

const char *s3_upload_id(const s3_upload *u)
{
    return u->multipart.upload_id;
}

static cf_err failure_get(s3_upload *u, cf_error *e)
{
    (void)pthread_mutex_lock(&u->lock);
    const cf_err err = u->failure.code;
    if (err != CF_OK && e != NULL)
        *e = u->failure;
    (void)pthread_mutex_unlock(&u->lock);
    return err;
}

/* On a thread of the pool. */
static void part_run(s3_job *job)
{
    part_job *j = (part_job *)job;
    s3_upload *u = j->u;
    upload_part part = {0};
    cf_error failure = {0};
    const cf_slice body = cf_slice_of(j->buffer, j->len);
    cf_err err = failure_get(u, &failure);

    if (err == CF_OK)
        err = cf_sha256(body, part.sha256, &failure);
    if (err == CF_OK)
        err = s3_multipart_send(u->c, &u->multipart, j->number, body, part.sha256, part.etag,
                                &failure);
    s3_pool_give(u->c->pool, j->buffer);
    (void)pthread_mutex_lock(&u->lock);
    u->parts[j->number - 1] = part;
    if (err != CF_OK && u->failure.code == CF_OK) {
        u->failure = failure;
        u->failure.code = err;
    }
    u->in_flight--;
    (void)pthread_cond_broadcast(&u->sent);
    (void)pthread_mutex_unlock(&u->lock);
    cf_free(j);
}

static cf_err parts_reserve(s3_upload *u, cf_error *e)
{
    cf_err err = CF_OK;

    CF_ENSURE(u->part_total < S3_PART_TOTAL_MAX, e, CF_ERR_TOO_LARGE,
              "upload of '%s': more than %u parts of %llu bytes\nHINT: raise the part size", u->key,
              S3_PART_TOTAL_MAX, (unsigned long long)u->c->part_bytes);
    (void)pthread_mutex_lock(&u->lock);
    if (u->part_total == u->part_cap) {
        upload_part *grown =
            cf_realloc(u->parts, (size_t)u->part_cap + PARTS_GROWTH, sizeof(*grown));
        if (grown == NULL) {
            err = cf_error_set(e, CF_ERR_NO_MEMORY, __FILE__, __LINE__, "allocate %u parts",
                               u->part_cap + PARTS_GROWTH);
        } else {
            u->parts = grown;
            u->part_cap += PARTS_GROWTH;
        }
    }
    (void)pthread_mutex_unlock(&u->lock);
    return err;
}

/* The filled buffer becomes a part under way. */
static cf_err part_submit(s3_upload *u, cf_error *e)
{
    part_job *j = NULL;

    CF_TRY(parts_reserve(u, e));
    if (u->multipart.upload_id[0] == '\0')
        CF_TRY(s3_multipart_create(u->c, &u->multipart, e));
    CF_NEW(j, e);
    *j = (part_job){.job = {.run = part_run},
                    .u = u,
                    .buffer = u->buffer,
                    .len = u->buffer_len,
                    .number = u->part_total + 1};
    (void)pthread_mutex_lock(&u->lock);
    u->in_flight++;
    (void)pthread_mutex_unlock(&u->lock);
    const cf_err err = s3_pool_submit(u->c->pool, &j->job, e);
    if (err != CF_OK) {
        (void)pthread_mutex_lock(&u->lock);
        u->in_flight--;
        (void)pthread_mutex_unlock(&u->lock);
        cf_free(j);
        return err;
    }
    u->buffer = NULL;
    u->buffer_len = 0;
    u->part_total++;
    return CF_OK;
}

static cf_err write_some(s3_upload *u, cf_slice bytes, size_t *ret_len, cf_error *e)
{
    const size_t part_bytes = (size_t)u->c->part_bytes;

    CF_TRY(failure_get(u, e));
    if (u->buffer_len == part_bytes)
        CF_TRY(part_submit(u, e));
    if (u->buffer == NULL)
        CF_TRY(s3_pool_take(u->c->pool, &u->buffer, e));
    const size_t room = part_bytes - u->buffer_len;
    const size_t len = bytes.len < room ? bytes.len : room;
    memcpy(u->buffer + u->buffer_len, bytes.ptr, len);
    u->buffer_len += len;
    u->size_bytes += len;
    *ret_len = len;
    return CF_OK;
}

/* An upload that once failed stays failed: finish() must not make an object of the bytes that got
 * through. */
static void failure_keep(s3_upload *u, cf_err err, const cf_error *failure)
{
    (void)pthread_mutex_lock(&u->lock);
    if (u->failure.code == CF_OK) {
        u->failure = *failure;
        u->failure.code = err;
    }
    (void)pthread_mutex_unlock(&u->lock);
}

cf_err s3_upload_write(s3_upload *u, cf_slice bytes, cf_error *e)
{
    cf_error failure = {0};
    size_t len = 0;

    for (; bytes.len > 0; bytes = cf_slice_of(bytes.ptr + len, bytes.len - len)) {
        const cf_err err = write_some(u, bytes, &len, &failure);
        if (err != CF_OK) {
            failure_keep(u, err, &failure);
            if (e != NULL)
                *e = failure;
            return err;
        }
    }
    return CF_OK;
}

static void parts_wait(s3_upload *u)
{
    (void)pthread_mutex_lock(&u->lock);
    while (u->in_flight > 0)
        (void)pthread_cond_wait(&u->sent, &u->lock);
    (void)pthread_mutex_unlock(&u->lock);
}

/* Parts are done; nobody else touches u. */
static cf_err complete(s3_upload *u, s3_put_result *ret, bool *ret_unknown, cf_error *e)
{
    CF_CLEANUP(cf_freep) s3_xml_part *list = NULL;
    CF_CLEANUP(cf_hash_deinit) cf_hash composite = {0};

    list = cf_alloc(u->part_total, sizeof(*list));
    CF_ENSURE(list != NULL, e, CF_ERR_NO_MEMORY, "allocate %u parts", u->part_total);
    CF_TRY(cf_hash_init(&composite, CF_HASH_SHA256, e));
    for (uint32_t i = 0; i < u->part_total; i++) {
        list[i] = (s3_xml_part){.number = i + 1, .etag = u->parts[i].etag};
        CF_TRY(cf_hash_update(&composite, cf_slice_of(u->parts[i].sha256, CF_SHA256_LEN), e));
    }
    CF_TRY(cf_hash_final(&composite, ret->sha256, e));
    return s3_multipart_complete(u->c, &u->multipart, list, u->part_total, u->size_bytes, ret,
                                 ret_unknown, e);
}

/* The upload failed with a story in *e: withdraw it at the server. unknown: Complete may have been
 * carried out. If the upload is still there it was not; if it is gone although we did not end it,
 * HEAD has the last word. */
static cf_err withdraw(s3_upload *u, cf_err failed, bool unknown, s3_put_result *result,
                       cf_error *e)
{
    const cf_world *w = u->c->world;
    const bool last_words = w->stopping(w->impl);
    cf_error aborting = {0};
    bool gone = false;

    if (u->multipart.upload_id[0] == '\0')
        return failed;
    const cf_err aborted =
        s3_multipart_abort(u->c, u->key, u->multipart.upload_id, last_words, &gone, &aborting);
    if (aborted != CF_OK) {
        const size_t len = strlen(e->message);
        (void)snprintf(e->message + len, sizeof(e->message) - len,
                       "\nand its parts may still be there: %.300s", aborting.message);
        if (unknown)
            e->code = CF_ERR_UNKNOWN;
        return unknown ? CF_ERR_UNKNOWN : failed;
    }
    if (!unknown || !gone)
        return failed;
    const s3_settle settle = {.key = u->key,
                              .id = u->id,
                              .size_bytes = u->size_bytes,
                              .failed = failed,
                              .maybe_done = true,
                              .create_only = u->multipart.create_only};
    return s3_put_settle(u->c, &settle, result, e);
}

static cf_err finish_multipart(s3_upload *u, s3_put_result *result, cf_error *e)
{
    bool unknown = false;
    cf_err err = failure_get(u, e);

    result->multipart = true;
    result->part_bytes = u->c->part_bytes;
    if (err == CF_OK && u->buffer_len > 0)
        err = part_submit(u, e);
    parts_wait(u);
    if (err == CF_OK)
        err = failure_get(u, e);
    if (err == CF_OK)
        err = complete(u, result, &unknown, e);
    return err == CF_OK ? CF_OK : withdraw(u, err, unknown, result, e);
}

cf_err s3_upload_finish(s3_upload *upload, s3_put_result *ret, cf_error *e)
{
    CF_CLEANUP(upload_freep) s3_upload *u = upload;
    s3_put_result result = {.size_bytes = u->size_bytes};
    cf_error failure = {0};

    if (u->part_total == 0 && failure_get(u, NULL) == CF_OK) {
        const s3_put_opts opts = {
            .create_only = u->multipart.create_only, .content_type = u->content_type, .id = u->id};
        return s3_put(u->c, u->key, cf_slice_of(u->buffer, u->buffer_len), &opts, ret, e);
    }
    const cf_err err = finish_multipart(u, &result, &failure);
    if (err == CF_OK && ret != NULL)
        *ret = result;
    if (err != CF_OK && e != NULL)
        *e = failure;
    return err;
}

void s3_upload_abort(s3_upload *upload)
{
    s3_put_result ignored = {0};
    cf_error swallowed = {0};

    if (upload == NULL)
        return;
    CF_CLEANUP(upload_freep) s3_upload *u = upload;
    (void)pthread_mutex_lock(&u->lock);
    if (u->failure.code == CF_OK)
        (void)cf_error_set(&u->failure, CF_ERR_INTERRUPTED, __FILE__, __LINE__,
                           "upload of '%s' was given up", u->key);
    (void)pthread_mutex_unlock(&u->lock);
    parts_wait(u);
    /* A void function: what goes wrong here leaves parts behind, which s3_uploads_list() finds. */
    (void)withdraw(u, CF_ERR_INTERRUPTED, /* unknown= */ false, &ignored, &swallowed);
}
