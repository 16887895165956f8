/* SPDX-License-Identifier: Apache-2.0
 *
 * Store seam: where a repository's objects live. s3 (store/s3.c), a directory (store/directory.c),
 * memory (store/memory.c, tests). Keys are relative to the repository's prefix:
 * "nodes/kdb-1/snapshots/...".
 *
 * Promises every store keeps (one conformance suite, tests/store/conformance.c, runs over all):
 *   - an object appears whole or not at all; what was acknowledged is there after a power cut;
 *   - reads and lists are strong: what was acknowledged before the call began is seen, also an
 * object that is being overwritten while a list runs;
 *   - create_only never overwrites, whoever races, threads, processes or machines: exactly one of
 * them wins;
 *   - an answer that got lost is told apart from another's object by the id of the put: see
 * cf_put_opts.
 *
 * Keys    1..CF_KEY_LEN_MAX bytes of [A-Za-z0-9._-] and '/'; no empty component, none that is "."
 * or "..", none above CF_KEY_COMPONENT_LEN_MAX bytes, and not below CF_STORE_TMP_NAME. Else
 * CF_ERR_USAGE, before anything is done. No key may be a folder of another ("a" and "a/b"): a
 * directory cannot hold both (CF_ERR_UNSUPPORTED). What stands in the place under another name is
 * foreign: lists leave it out, nothing touches it. Threads every operation may be called from any
 * thread at once; one cf_store_put belongs to one thread at a time. Callbacks come on the calling
 * thread, with no lock held. A list's may call the store; a get's sink may not: s3 holds a
 * connection meanwhile, and SlowDown can leave it only that one. Errors  CF_ERR_NOT_FOUND,
 * CF_ERR_EXISTS, CF_ERR_NO_SPACE, CF_ERR_ACCESS, CF_ERR_DENIED, CF_ERR_AUTH, CF_ERR_NO_BUCKET (the
 * bucket or the directory is not there), CF_ERR_IO, CF_ERR_USAGE, CF_ERR_NO_MEMORY, network ones
 * after all retries. A write that failed otherwise than with CF_ERR_EXISTS, CF_ERR_USAGE or
 * CF_ERR_UNSUPPORTED may have happened all the same, whole: HEAD tells, or the same put again with
 * the same id. Outputs are untouched on failure.
 */
#ifndef SRC_STORE_STORE_H
#define SRC_STORE_STORE_H

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"
#include "s3/world.h"

enum {
    CF_KEY_LEN_MAX = 900, /* S3's 1,024 less room for the repository's prefix */
    CF_KEY_COMPONENT_LEN_MAX =
        255,              /* NAME_MAX of the filesystems that a directory store is used on */
    CF_STORE_ID_LEN = 32, /* hex digits */
    CF_STORE_PREFIX_LEN_MAX = 123, /* 1,024 - CF_KEY_LEN_MAX - the '/' between */
};

/* Place of unfinished files at the top of a directory store; reserved in every store, so that keys
 * can move. */
#define CF_STORE_TMP_NAME ".chunkferry-tmp"

typedef enum cf_store_feature {
    /* Without it create_only is an ordinary put: no condition is sent. */
    CF_STORE_CONDITIONAL_CREATE = 1 << 0,
    CF_STORE_BATCH_DELETE = 1 << 1,
    CF_STORE_RANGED_GET = 1 << 2,
} cf_store_feature;

typedef enum cf_digest_kind { CF_DIGEST_SHA256, CF_DIGEST_SHA256_PARTS } cf_digest_kind;

/* Of the stored bytes: plain, or S3's composite form: SHA-256 over the binary SHA-256s of the
 * parts. */
typedef struct cf_digest {
    cf_digest_kind kind;
    uint64_t part_bytes; /* PARTS only: size of each part but the last */
    uint8_t sha256[32];
} cf_digest;

typedef struct cf_stored {
    uint64_t size_bytes;
    cf_digest digest;
} cf_stored;

typedef struct cf_object_stat {
    uint64_t size_bytes;
    int64_t modified_utc_ms; /* the store's time */
    char id[CF_STORE_ID_LEN +
            1]; /* "" when unknown; a directory knows only its own process's latest creations */
} cf_object_stat;

/* Zero is the default; NULL for the whole struct too. */
typedef struct cf_put_opts {
    bool create_only; /* CF_ERR_EXISTS when another's object stands there; success when it is ours
                         (same id) */
    const char *id; /* NULL: random; CF_STORE_ID_LEN hex digits. Keep it to tell our own lost answer
                       from another's object */
    bool last_words; /* put only: tried once even while the world is stopping: a lease's end */
} cf_put_opts;

typedef struct cf_store_entry {
    const char *key; /* relative to the repository; a common prefix ends in the delimiter; borrowed
                        during the call */
    bool is_prefix;
    uint64_t size_bytes;     /* objects only */
    int64_t modified_utc_ms; /* objects only */
} cf_store_entry;
/* *ret_stop = true ends the listing early with success; an error becomes the listing's error. */
typedef cf_err (*cf_store_list_fn)(void *impl, const cf_store_entry *entry, bool *ret_stop,
                                   cf_error *e);
/* An upload that was begun and neither finished nor aborted; borrowed during the call. */
typedef struct cf_store_upload {
    const char *key;      /* relative to the repository */
    const char *id;       /* as abort_upload() takes it */
    int64_t begun_utc_ms; /* by the store's time; 0: not told */
} cf_store_upload;
/* An error becomes the listing's. */
typedef cf_err (*cf_store_upload_fn)(void *impl, const cf_store_upload *upload, cf_error *e);
/* An error stops the transfer and becomes its error. */
typedef cf_err (*cf_store_sink)(void *impl, cf_slice bytes, cf_error *e);

/* Zero is the default; NULL for the whole struct too. */
typedef struct cf_delete_opts {
    bool versions; /* every version and delete marker of the keys goes, for good; where there is no
                      versioning the same as without */
    /* What a retention or a legal hold keeps, once a version; NULL: that is a failure. On the
     * calling thread, no connection is held. why: "retention GOVERNANCE", "legal hold", ... */
    void (*on_kept)(void *impl, const char *key, const char *why,
                    int64_t retain_until_utc_ms /* 0: not known, or without end */);
    void *impl;
} cf_delete_opts;

typedef struct cf_store_counts {
    uint64_t requests_total, retries_total; /* a directory counts each operation as a request */
    uint64_t bytes_sent, bytes_received;
} cf_store_counts;

typedef struct cf_store cf_store;
typedef struct cf_store_put cf_store_put; /* an upload under way; the store's own struct */

typedef struct cf_store_ops {
    const char *kind; /* "s3", "file", "memory" */
    /* body is borrowed. opts and ret may be NULL. */
    cf_err (*put)(cf_store *s, const char *key, cf_slice body, const cf_put_opts *opts,
                  cf_stored *ret, cf_error *e);
    /* A put of unknown length. Nothing is visible before finish has succeeded. After a failed write
     * only finish (which fails) or abort may follow. The store must outlive the put. */
    cf_err (*put_open)(cf_store *s, const char *key, const cf_put_opts *opts, cf_store_put **ret,
                       cf_error *e);
    cf_err (*put_write)(cf_store_put *p, cf_slice bytes, cf_error *e);
    cf_err (*put_finish)(cf_store_put *p, cf_stored *ret,
                         cf_error *e);  /* frees p, also on failure; ret may be NULL */
    void (*put_abort)(cf_store_put *p); /* frees p; leaves nothing behind; NULL is fine */
    const char *(*put_upload_id)(
        const cf_store_put *p); /* for the journal; "" when there is none */
    /* len 0: to the end. Each byte is given to the sink once, in order. A range that does not lie
     * within the object, or begins at its end (offset 0 aside), is CF_ERR_DAMAGE. */
    cf_err (*get)(cf_store *s, const char *key, uint64_t offset, uint64_t len, cf_store_sink sink,
                  void *sink_impl, cf_error *e);
    cf_err (*head)(cf_store *s, const char *key, cf_object_stat *ret, cf_error *e);
    /* Keys that start with prefix ("": all) and are > after (NULL: all), in byte order. Delimiter
     * NULL or "/": keys with a '/' behind the prefix are given once, as the common prefix up to and
     * with it, when that is > after. Memory does not grow with the number of keys (a directory:
     * with the entries of one folder). */
    cf_err (*list)(cf_store *s, const char *prefix, const char *after, const char *delimiter,
                   cf_store_list_fn fn, void *impl, cf_error *e);
    /* Absent ones are fine. All are tried, what can heal is retried key by key; the first failure
     * is told, with the number of them. opts may be NULL. What a lock of the store keeps is told to
     * opts->on_kept and is no failure; without on_kept it is CF_ERR_DENIED. */
    cf_err (*delete_many)(cf_store *s, const char *const *keys, size_t key_total,
                          const cf_delete_opts *opts, cf_error *e);
    /* End an upload that another put left unfinished, by its put_upload_id(). One that is not there
     * (any more), and an empty id, are fine: a directory and memory know none. */
    cf_err (*abort_upload)(cf_store *s, const char *key, const char *upload_id, cf_error *e);
    /* Uploads that were left unfinished below keys that start with prefix; fn may abort them.
     * CF_ERR_UNSUPPORTED: the store has none, or cannot list them. That none is told is no proof:
     * MinIO lists those of one whole key only. */
    cf_err (*uploads_each)(cf_store *s, const char *prefix, cf_store_upload_fn fn, void *impl,
                           cf_error *e);
    /* Does the place keep what is overwritten or deleted as older versions? Directory, memory:
     * false. A bucket whose versioning is suspended still holds the versions of before: true.
     * CF_ERR_DENIED when the key may not ask. */
    cf_err (*versioning)(cf_store *s, bool *ret_on, cf_error *e);
    /* Make the place (bucket, directory) when it is not there. */
    cf_err (*create)(cf_store *s, cf_error *e);
    /* The store's time. s3: the Date of its latest answer, carried on by the monotonic clock.
     * Directory: the time its filesystem gives a new file, so the file server's where there is one;
     * on a read-only one this machine's. Memory: the world's. */
    cf_err (*now_utc_ms)(cf_store *s, int64_t *ret, cf_error *e);
    void (*get_counts)(cf_store *s, cf_store_counts *ret);
    void (*free)(cf_store *s); /* no operation and no put may be under way */
} cf_store_ops;

struct cf_store {
    const cf_store_ops *ops; /* no member is NULL */
    /* cf_store_feature. At first what is usual; whoever knows better sets it before other threads
     * come: cf_repo, from what init's probe found and the descriptor says. */
    unsigned features;
};

/* Whole object into an initialised buffer; CF_ERR_TOO_LARGE above its max. The buffer is empty
 * after a failure. */
CF_NODISCARD cf_err cf_store_get_small(cf_store *s, const char *key, cf_buf *ret, cf_error *e);
void cf_store_free(cf_store *s); /* NULL is fine */
static inline void cf_store_freep(cf_store **s)
{
    cf_store_free(*s);
}

/* For the stores themselves. Pure but for the random number. */
/* CF_ERR_USAGE with the rule that is broken. */
CF_NODISCARD cf_err cf_store_key_check(const char *key, cf_error *e);
/* May this be one component of a key? Neither empty nor ".", ".." or too long, only the allowed
 * bytes. */
bool cf_store_component_ok(cf_slice name);
/* opts->id in lower case, or a random one; CF_ERR_USAGE when it is not CF_STORE_ID_LEN hex digits.
 */
CF_NODISCARD cf_err cf_store_id_make(const cf_put_opts *opts, const cf_world *world,
                                     char ret[CF_STORE_ID_LEN + 1], cf_error *e);
/* CF_ERR_DAMAGE unless [offset, offset + len) lies within size; *ret_len is the number of bytes to
 * give. */
CF_NODISCARD cf_err cf_store_range_check(const char *key, uint64_t size_bytes, uint64_t offset,
                                         uint64_t len, uint64_t *ret_len, cf_error *e);

/* Of stores without multipart uploads, and without versions: only the key is checked. */
CF_NODISCARD cf_err cf_store_abort_none(cf_store *s, const char *key, const char *upload_id,
                                        cf_error *e);
CF_NODISCARD cf_err cf_store_uploads_none(cf_store *s, const char *prefix, cf_store_upload_fn fn,
                                          void *impl, cf_error *e);
CF_NODISCARD cf_err cf_store_versioning_off(cf_store *s, bool *ret_on, cf_error *e);

/* probe.c: of several creates of one key at once, does exactly one win? Asked of keys of its own,
 * which are deleted again, with 12 small puts; but of a place without older versions not at all:
 * what fails is the versioned bucket of some servers. Errors: a put's. */
CF_NODISCARD cf_err cf_store_probe_race(cf_store *s, const cf_world *world, bool *ret_one_wins,
                                        cf_error *e);

/* memory.c: the place is there from the start. world is borrowed; NULL: the real one. Hooks for
 * tests: store/memory.h. */
CF_NODISCARD cf_err cf_store_memory_new(const cf_world *world, cf_store **ret, cf_error *e);

/* directory.c: an object is a file of mode 0600 under path, made by ops->create() with mode 0700.
 * fs, world: borrowed, NULL: the real ones. path is absolute and copied. Nothing is touched before
 * the first operation; from then on the directory is kept open, so that a disk that is unmounted
 * meanwhile is not silently replaced by what is below it. Needs hard links and flock on one
 * filesystem: not FAT or exFAT. Symbolic links inside are refused, the path itself may lead over
 * some. A HINT tells what to do when the disk is full. */
struct cf_fs;
CF_NODISCARD cf_err cf_store_directory_new(const struct cf_fs *fs, const cf_world *world,
                                           const char *path, cf_store **ret, cf_error *e);

/* pace is borrowed; NULL: no limits. Before the first operation. */
struct cf_pace;
void cf_store_directory_set_pace(cf_store *s, struct cf_pace *pace);

/* s3.c: prefix NULL or "": none; a '/' is put behind it. All is copied but what s3_client_opts says
 * it borrows. */
struct s3_client_opts;
CF_NODISCARD cf_err cf_store_s3_new(const struct s3_client_opts *opts, const char *prefix,
                                    cf_store **ret, cf_error *e);

/* url.c: "s3://bucket/prefix", "file:///path"; CF_ERR_USAGE with what is wrong and an example.
 * Pure. prefix is "" or without '/' at its ends; path is absolute, without one at its end (but "/"
 * itself is refused). */
typedef struct cf_store_url {
    bool is_s3;
    char *bucket, *prefix; /* owned; s3 only, else NULL */
    char *path;            /* owned; file only, else NULL */
} cf_store_url;
CF_NODISCARD cf_err cf_store_url_parse(const char *url, cf_store_url *ret, cf_error *e);
void cf_store_url_deinit(cf_store_url *u); /* a zeroed one is fine */

#endif
