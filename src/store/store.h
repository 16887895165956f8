/* SPDX-License-Identifier: Apache-2.0
 *
 * Store seam: where a repository's objects live. s3 (store/s3.c), a directory (store/directory.c), memory
 * (store/memory.c, tests). Keys are relative to the repository's prefix: "nodes/kdb-1/snapshots/...".
 *
 * Promises every store keeps (one conformance suite runs over all): an object appears whole or not at all; what was
 * acknowledged is there after a power cut; reads and lists are strong; create_only never overwrites, whoever races.
 * Threads: every operation may be called from any thread at once; one cf_store_put belongs to one thread at a time.
 * Errors: CF_ERR_NOT_FOUND, CF_ERR_EXISTS, CF_ERR_NO_SPACE, CF_ERR_ACCESS, CF_ERR_DENIED, CF_ERR_AUTH, CF_ERR_NO_BUCKET,
 * network ones after all retries.
 */
#ifndef SRC_STORE_STORE_H
#define SRC_STORE_STORE_H

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"
#include "s3/world.h"

enum {
    CF_KEY_LEN_MAX = 900, /* S3's 1,024 less room for the repository's prefix */
    CF_STORE_ID_LEN = 32, /* hex digits */
};

typedef enum cf_store_feature {
    CF_STORE_CONDITIONAL_CREATE = 1 << 0,
    CF_STORE_BATCH_DELETE = 1 << 1,
    CF_STORE_RANGED_GET = 1 << 2,
} cf_store_feature;

typedef enum cf_digest_kind { CF_DIGEST_SHA256, CF_DIGEST_SHA256_PARTS } cf_digest_kind;

/* Of the stored bytes: plain, or S3's composite form: SHA-256 over the binary SHA-256s of the parts. */
typedef struct cf_digest {
    cf_digest_kind kind;
    uint64_t part_bytes; /* PARTS only */
    uint8_t sha256[32];
} cf_digest;

typedef struct cf_stored {
    uint64_t size_bytes;
    cf_digest digest;
} cf_stored;

typedef struct cf_object_stat {
    uint64_t size_bytes;
    int64_t modified_utc_ms; /* the store's time */
    char id[CF_STORE_ID_LEN + 1]; /* "" when unknown */
} cf_object_stat;

typedef struct cf_put_opts {
    bool create_only;  /* CF_ERR_EXISTS when another's object stands there; success when it is ours (same id) */
    const char *id;    /* NULL: random; CF_STORE_ID_LEN hex digits. Keep it to tell our own lost answer from another's object */
} cf_put_opts;

typedef struct cf_store_entry {
    const char *key;   /* relative to the repository; a common prefix ends in the delimiter; borrowed during the call */
    bool is_prefix;
    uint64_t size_bytes;
    int64_t modified_utc_ms;
} cf_store_entry;
typedef cf_err (*cf_store_list_fn)(void *impl, const cf_store_entry *entry, bool *ret_stop, cf_error *e);
typedef cf_err (*cf_store_sink)(void *impl, cf_slice bytes, cf_error *e);

typedef struct cf_store_counts {
    uint64_t requests_total, retries_total; /* a directory counts each operation as a request */
    uint64_t bytes_sent, bytes_received;
} cf_store_counts;

typedef struct cf_store cf_store;
typedef struct cf_store_put cf_store_put; /* an upload under way; the store's own struct */

typedef struct cf_store_ops {
    const char *kind; /* "s3", "file", "memory" */
    cf_err (*put)(cf_store *s, const char *key, cf_slice body, const cf_put_opts *opts, cf_stored *ret, cf_error *e);
    cf_err (*put_open)(cf_store *s, const char *key, const cf_put_opts *opts, cf_store_put **ret, cf_error *e);
    cf_err (*put_write)(cf_store_put *p, cf_slice bytes, cf_error *e);
    cf_err (*put_finish)(cf_store_put *p, cf_stored *ret, cf_error *e); /* frees p, also on failure */
    void (*put_abort)(cf_store_put *p);                                 /* frees p; leaves nothing behind */
    const char *(*put_upload_id)(const cf_store_put *p);                /* for the journal; "" when there is none */
    /* len 0: to the end. Each byte is given to the sink once, in order. A range beyond the end: CF_ERR_DAMAGE. */
    cf_err (*get)(cf_store *s, const char *key, uint64_t offset, uint64_t len, cf_store_sink sink, void *sink_impl, cf_error *e);
    cf_err (*head)(cf_store *s, const char *key, cf_object_stat *ret, cf_error *e);
    /* Keys that start with prefix and are > after (NULL: all), byte order; delimiter NULL or "/". */
    cf_err (*list)(cf_store *s, const char *prefix, const char *after, const char *delimiter, cf_store_list_fn fn, void *impl, cf_error *e);
    cf_err (*delete_many)(cf_store *s, const char *const *keys, size_t key_total, cf_error *e); /* absent ones are fine */
    /* Make the place (bucket, directory) when it is not there. */
    cf_err (*create)(cf_store *s, cf_error *e);
    /* The store's time: of its latest answer, carried on by the monotonic clock. */
    cf_err (*now_utc_ms)(cf_store *s, int64_t *ret, cf_error *e);
    void (*get_counts)(cf_store *s, cf_store_counts *ret);
    void (*free)(cf_store *s);
} cf_store_ops;

struct cf_store {
    const cf_store_ops *ops; /* no member is NULL */
    unsigned features;       /* cf_store_feature, as far as known */
};

/* Whole object into an initialised buffer; CF_ERR_TOO_LARGE above its max. */
CF_NODISCARD cf_err cf_store_get_small(cf_store *s, const char *key, cf_buf *ret, cf_error *e);
void cf_store_free(cf_store *s); /* NULL is fine */
static inline void cf_store_freep(cf_store **s)
{
    cf_store_free(*s);
}

/* memory.c */
CF_NODISCARD cf_err cf_store_memory_new(const cf_world *world, cf_store **ret, cf_error *e);

/* directory.c: path is made by ops->create(). A HINT tells what to do when the disk is full. */
struct cf_fs;
CF_NODISCARD cf_err cf_store_directory_new(const struct cf_fs *fs, const cf_world *world, const char *path, cf_store **ret, cf_error *e);

/* s3.c */
struct s3_client_opts;
CF_NODISCARD cf_err cf_store_s3_new(const struct s3_client_opts *opts, const char *prefix, cf_store **ret, cf_error *e);

/* url.c: "s3://bucket/prefix", "file:///path"; CF_ERR_USAGE with what is wrong and an example. Pure. */
typedef struct cf_store_url {
    bool is_s3;
    char *bucket, *prefix, *path; /* owned */
} cf_store_url;
CF_NODISCARD cf_err cf_store_url_parse(const char *url, cf_store_url *ret, cf_error *e);
void cf_store_url_deinit(cf_store_url *u);

#endif
