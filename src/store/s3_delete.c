/* SPDX-License-Identifier: Apache-2.0
 *
 * Deleting from a bucket: objects as they stand, or every version of them; and what a lock keeps.
 *
 * Versions are found by listing: the keys are sorted, and the list jumps ahead to the next one that
 * is wanted, so that it costs a request for 1,000 versions, or for one key where keys lie far apart.
 */
#include <stdio.h>
#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "store/s3_impl.h"

enum {
    ASK_IN_VAIN_MAX = 16, /* ours: a key that may not delete at all would ask for every object */
    VERSION_TEXT_MAX = 64 * 1024 * 1024, /* ours: 10,000 entries of a page, keys and ids, 3 times */
};

typedef struct deletion {
    cf_s3_store *s;
    const cf_delete_opts *opts; /* NULL: none */
    const char **keys;          /* owned; with the prefix, sorted when versions are wanted */
    char *text;                 /* owned; what keys points into */
    size_t key_total;
    cf_buf versions; /* "key\0id\0" of versions that were found and are not deleted yet */
    size_t version_total;
    char listed[S3_KEY_LEN_MAX + 1]; /* the greatest key that a page showed */
    uint32_t asked_in_vain;          /* refusals in a row that no lock explains */
    cf_error first;                  /* of a batch of versions; the others are tried all the same */
} deletion;

static void deletion_deinit(deletion *d)
{
    cf_free(d->keys);
    cf_free(d->text);
    cf_buf_deinit(&d->versions);
}

/* ---- what a lock keeps ---- */

/* Only a lock that holds now: a retention that has run out is not why the server refused. */
static bool lock_holds(cf_s3_store *s, const s3_lock *lock)
{
    return lock->legal_hold || (lock->mode[0] != '\0' &&
                                lock->retain_until_utc_ms > s3_client_server_time_ms(s->client));
}

/* A refusal that could be a lock's: AWS and Ceph say AccessDenied, MinIO InvalidRequest. */
static cf_err refused(void *impl, const s3_target *target, const cf_error *why, bool *ret_fine,
                      cf_error *e)
{
    deletion *const d = impl;
    s3_lock lock = {0};
    cf_error asking = {0};
    char text[64];
    if (d->opts == NULL || d->opts->on_kept == NULL || d->asked_in_vain >= ASK_IN_VAIN_MAX ||
        (why->code != CF_ERR_DENIED && why->code != CF_ERR_REQUEST))
        return CF_OK;
    const cf_err err = s3_lock_get(d->s->client, target, &lock, &asking);
    if (err == CF_ERR_INTERRUPTED) {
        if (e != NULL)
            *e = asking;
        return err;
    }
    if (err != CF_OK || !lock_holds(d->s, &lock)) {
        d->asked_in_vain++;
        return CF_OK;
    }
    d->asked_in_vain = 0;
    (void)snprintf(text, sizeof(text), "%s%s%s%s", lock.mode[0] != '\0' ? "retention " : "",
                   lock.mode, lock.mode[0] != '\0' && lock.legal_hold ? " and " : "",
                   lock.legal_hold ? "legal hold" : "");
    d->opts->on_kept(d->opts->impl, target->key + d->s->prefix_len, text,
                     lock.legal_hold ? 0 : lock.retain_until_utc_ms);
    *ret_fine = true;
    return CF_OK;
}

/* ---- plain ---- */

static cf_err objects_delete(deletion *d, cf_error *e)
{
    CF_CLEANUP(cf_freep) s3_target *targets = cf_alloc(d->key_total, sizeof(*targets));
    CF_ENSURE(targets != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu keys", d->key_total);
    for (size_t i = 0; i < d->key_total; i++)
        targets[i].key = d->keys[i];
    return s3_delete_targets(d->s->client, targets, d->key_total, refused, d, e);
}

/* ---- by version ---- */

static int key_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static cf_err version_found(void *impl, const s3_version_entry *entry, cf_error *e)
{
    deletion *const d = impl;
    char key[S3_KEY_LEN_MAX + 1];
    const char *const wanted = key;
    CF_CHECK(entry->key.len <= S3_KEY_LEN_MAX); /* s3 promises it */
    memcpy(key, entry->key.ptr, entry->key.len);
    key[entry->key.len] = '\0';
    if (strcmp(key, d->listed) > 0)
        memcpy(d->listed, key, entry->key.len + 1);
    if (bsearch(&wanted, d->keys, d->key_total, sizeof(*d->keys), key_order) == NULL)
        return CF_OK;
    CF_TRY(cf_buf_append(&d->versions, entry->key, e));
    CF_TRY(cf_buf_append_char(&d->versions, '\0', e));
    CF_TRY(cf_buf_append(&d->versions, entry->version_id, e));
    CF_TRY(cf_buf_append_char(&d->versions, '\0', e));
    d->version_total++;
    return CF_OK;
}

/* A failure of some does not keep the rest: it is told at the end. */
static cf_err versions_delete(deletion *d, cf_error *e)
{
    CF_CLEANUP(cf_freep) s3_target *targets = NULL;
    cf_error failure = {0};
    if (d->version_total == 0)
        return CF_OK;
    targets = cf_alloc(d->version_total, sizeof(*targets));
    CF_ENSURE(targets != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu versions", d->version_total);
    const char *at = (const char *)d->versions.data;
    for (size_t i = 0; i < d->version_total; i++) {
        targets[i].key = at;
        at += strlen(at) + 1;
        targets[i].version_id = at;
        at += strlen(at) + 1;
    }
    const cf_err err =
        s3_delete_targets(d->s->client, targets, d->version_total, refused, d, &failure);
    cf_buf_clear(&d->versions);
    d->version_total = 0;
    if (err == CF_OK)
        return CF_OK;
    if (d->first.code == CF_OK)
        d->first = failure;
    if (err != CF_ERR_INTERRUPTED && err != CF_ERR_NO_BUCKET && err != CF_ERR_NO_MEMORY)
        return CF_OK;
    if (e != NULL)
        *e = failure;
    return err;
}

/* The longest beginning that the first and the last key share: all between share it too. */
static void common_prefix(const deletion *d, char ret[S3_KEY_LEN_MAX + 1])
{
    const char *const first = d->keys[0];
    const char *const last = d->keys[d->key_total - 1];
    size_t n = 0;
    while (first[n] != '\0' && first[n] == last[n])
        n++;
    memcpy(ret, first, n);
    ret[n] = '\0';
}

/* A marker is behind all of its key, so key itself needs one before it: key without its last byte.
 * What lies between the two is listed in vain. */
static void place_before(const char *key, s3_versions_at *ret)
{
    const size_t len = strlen(key) - 1;
    memcpy(ret->key, key, len);
    ret->key[len] = '\0';
    ret->version_id[0] = '\0';
}

/* Leave out the keys that the list has passed, and jump to the next one when it is further on. What
 * was shown tells, not the marker: MinIO's has more in it than a key. */
static void skip_ahead(const deletion *d, size_t *at_key, s3_versions_at *at)
{
    s3_versions_at before = {0};
    while (*at_key < d->key_total && strcmp(d->keys[*at_key], d->listed) < 0)
        (*at_key)++;
    if (*at_key == d->key_total || strcmp(d->keys[*at_key], d->listed) == 0)
        return; /* the next page may have more versions of it */
    place_before(d->keys[*at_key], &before);
    if (strcmp(before.key, d->listed) > 0)
        *at = before;
}

static cf_err all_versions_delete(deletion *d, cf_error *e)
{
    char prefix[S3_KEY_LEN_MAX + 1];
    s3_versions_at at = {0};
    size_t at_key = 0;
    cf_buf_init(&d->versions, VERSION_TEXT_MAX);
    qsort(d->keys, d->key_total, sizeof(*d->keys), key_order);
    common_prefix(d, prefix);
    place_before(d->keys[0], &at);
    while (at_key < d->key_total && !at.end) {
        const cf_err err = s3_versions_page(d->s->client, prefix, &at, version_found, d, e);
        if (err == CF_ERR_UNSUPPORTED && d->first.code == CF_OK && d->version_total == 0)
            return objects_delete(d, e); /* a server without versions */
        CF_TRY(err);
        if (d->version_total >= S3_DELETE_TOTAL_MAX)
            CF_TRY(versions_delete(d, e));
        if (!at.end)
            skip_ahead(d, &at_key, &at);
    }
    CF_TRY(versions_delete(d, e));
    if (d->first.code != CF_OK && e != NULL)
        *e = d->first;
    return d->first.code;
}

/* ---- the operation ---- */

static cf_err keys_make(deletion *d, const char *const *keys, size_t key_total, cf_error *e)
{
    const cf_s3_store *const s = d->s;
    size_t text_len = 0;
    for (size_t i = 0; i < key_total; i++) {
        CF_TRY(cf_store_key_check(keys[i], e));
        text_len += s->prefix_len + strlen(keys[i]) + 1;
    }
    d->text = cf_alloc(text_len, 1);
    d->keys = cf_alloc(key_total, sizeof(*d->keys));
    CF_ENSURE(d->text != NULL && d->keys != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu keys",
              key_total);
    char *at = d->text;
    for (size_t i = 0; i < key_total; i++) {
        d->keys[i] = at;
        memcpy(at, s->prefix, s->prefix_len);
        memcpy(at + s->prefix_len, keys[i], strlen(keys[i]) + 1);
        at += s->prefix_len + strlen(keys[i]) + 1;
    }
    d->key_total = key_total;
    return CF_OK;
}

cf_err cf_s3_store_delete_many(cf_store *store, const char *const *keys, size_t key_total,
                               const cf_delete_opts *opts, cf_error *e)
{
    CF_CLEANUP(deletion_deinit) deletion d = {.s = cf_s3_store_of(store), .opts = opts};
    if (key_total == 0)
        return CF_OK;
    CF_TRY(keys_make(&d, keys, key_total, e));
    return opts != NULL && opts->versions ? all_versions_delete(&d, e) : objects_delete(&d, e);
}
