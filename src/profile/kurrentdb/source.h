/* SPDX-License-Identifier: Apache-2.0
 *
 * The source as it is kept between open and close: what was looked at, in which order, and what
 * follows from it. Internal to the profile; each file of this folder fills its own part.
 */
#ifndef SRC_PROFILE_KURRENTDB_SOURCE_H
#define SRC_PROFILE_KURRENTDB_SOURCE_H

#include <jansson.h>

#include "profile/kurrentdb/chunk.h"
#include "profile/kurrentdb/indexmap.h"
#include "profile/kurrentdb/io.h"
#include "profile/kurrentdb/prior.h"
#include "profile/kurrentdb/ptable.h"
#include "profile/kurrentdb/record.h"
#include "profile/profile.h"

/* Steps of the manifest: part of the format, never renumbered. */
enum {
    CF_KDB_STEP_INDEX =
        1, /* tables, bloom filters, then indexmap: 'i' sorts behind every hex digit */
    CF_KDB_STEP_FILTER = 2,      /* streamExistenceFilter.chk, then .dat */
    CF_KDB_STEP_SCAVENGE = 3,    /* scavenging.db */
    CF_KDB_STEP_CHECKPOINTS = 4, /* *.chk but truncate.chk */
    CF_KDB_STEP_SECONDARY = 5,   /* kurrent.ddb, kurrent.ddb.wal of a stopped node */
    CF_KDB_STEP_CHUNKS = 6,
};

enum {
    CF_KDB_ATTEMPT_TOTAL = 3,     /* indexmap against its tables */
    CF_KDB_LOG_ATTEMPT_TOTAL = 5, /* checkpoints against chunks */
    CF_KDB_LOOK_AGAIN_MS = 5000,  /* how long a wrong relation may last */
    CF_KDB_LOOK_AGAIN_STEP_MS = 250,
    CF_KDB_INDEXMAP_ABSENT_TOTAL = 20, /* 20 times 50 ms: the server replaces it in microseconds */
    CF_KDB_INDEXMAP_ABSENT_STEP_MS = 50,
    CF_KDB_BLOOM_CERT_LEN = 64,
    CF_KDB_FD_RESERVE = 256, /* descriptors left for the pipeline (CF_UPLOAD_ITEMS_MAX files that
                                were opened late), the store, packs and the looks */
    CF_KDB_FD_LEAST = 112,   /* 64 of them in the pipeline */
};
#define CF_KDB_MAX_TRUNCATION_BYTES (256ull * 1024 * 1024) /* the server's default */

/* truncate.chk: written by an election that cuts the log. */
typedef struct cf_kdb_mark {
    bool present;
    int64_t value;
    uint64_t ino;
    int64_t mtime_ns;
} cf_kdb_mark;

typedef struct cf_kdb_checkpoint {
    bool present;
    int64_t value;
} cf_kdb_checkpoint;

typedef struct cf_kdb_checkpoints {
    cf_kdb_checkpoint chaser, epoch, writer, proposal;
} cf_kdb_checkpoints;

/* A file of the steps before the chunks. */
typedef struct cf_kdb_item {
    uint16_t step;
    char *path;        /* owned; role-relative */
    const char *klass; /* static */
    cf_entry_how how;
    int fd;
    uint64_t size_bytes, ino;
    uint32_t mode, uid, gid;
    int64_t mtime_ns;
    bool ends_with_md5;
    bool left_out; /* the scavenge database: a scavenge took it */
    bool in_prior; /* a table that the parent has, whatever this one's bytes are now */
    uint8_t cert_tail_bytes;
    uint8_t cert_header[CF_KDB_BLOOM_CERT_LEN], cert_footer[CF_KDB_BLOOM_CERT_LEN];
    uint8_t cert_header_len, cert_footer_len;
    uint8_t *content; /* owned; INLINE */
    size_t content_len;
} cf_kdb_item;

typedef struct cf_kdb_items {
    cf_kdb_item *at; /* owned */
    size_t total, cap;
} cf_kdb_items;

enum {
    CF_KDB_ROW_COMPLETED = 1,
    CF_KDB_ROW_SCAVENGED = 2,
    CF_KDB_ROW_TRANSFORMED = 4,
    CF_KDB_ROW_REUSED = 8,
    CF_KDB_ROW_PRIOR = 16, /* the parent has a good copy of this range */
};

/* One chosen chunk file: 40 bytes, 400,000 at most. */
typedef struct cf_kdb_row {
    uint32_t start, end;
    uint32_t version : 20, flags : 12;
    int32_t fd; /* pinned, or -1 */
    uint64_t size_bytes, ino;
    uint64_t cert; /* first bytes of the SHA-256 over header and footer */
} cf_kdb_row;
_Static_assert(sizeof(cf_kdb_row) <= 40, "400,000 rows are in memory");

typedef struct cf_kdb_chunks {
    cf_kdb_row *rows; /* owned; by start */
    uint32_t total, cap;
    uint32_t chunk_size;
    uint32_t last;            /* writer / chunk_size */
    uint8_t names_sha256[32]; /* of the chunk names up to `last` */
    uint32_t excess_total;    /* files beyond `last` */
    uint32_t versions_seen;   /* bit n: header version n */
    uint32_t transforms_seen; /* bit n: transform n, 31: any above */
} cf_kdb_chunks;

struct cf_source {
    cf_source_opts opts;
    bool restored; /* check of a restored directory: no retries, truncate.chk is expected */
    cf_kdb_io io;
    int db_fd, index_fd; /* index_fd -1: no index directory */
    cf_kdb_prior prior;
    const json_t *prior_facts; /* borrowed until plan() returns */
    char prior_run[64];
    bool planned;

    cf_kdb_mark truncate;
    bool has_index;
    cf_kdb_indexmap map;
    uint32_t table_versions_seen;
    bool has_filter;
    int64_t filter_value; /* of streamExistenceFilter.chk */
    uint64_t filter_ino;
    cf_kdb_checkpoints values;
    cf_kdb_items items; /* sorted */
    cf_kdb_chunks chunks;
    bool has_first_epoch, has_last_epoch;
    cf_kdb_epoch first_epoch, last_epoch;
    const char *secondary;                 /* "absent", "left-out", "stored" */
    json_t *refusals, *warnings, *hazards; /* owned arrays of strings */
    bool again;                            /* the last failure may be over when looked at anew */
    bool found_archive_files;

    uint32_t pin_max, pinned_total, pin_next; /* rows below pin_next were pinned or need none */
    size_t next_item;
    struct cf_kdb_own_entry *under_way; /* owned: entries given and not done */
    uint32_t next_row;
    uint64_t files_total, reused_total, read_bytes;
};

/* A reason why there is no backup. Returns CF_ERR_SOURCE; in inspect it is noted, CF_OK returned,
 * and the walk goes on.
 */
CF_NODISCARD cf_err cf_kdb_refuse(cf_source *s, cf_error *e, const char *fmt, ...) CF_PRINTF(3, 4);
/* The same for what a second look may find healed. */
CF_NODISCARD cf_err cf_kdb_refuse_for_now(cf_source *s, cf_error *e, const char *fmt, ...)
    CF_PRINTF(3, 4);
/* A hazard with its stable id; the same text is said once. */
void cf_kdb_warn(cf_source *s, const char *hazard, const char *fmt, ...) CF_PRINTF(3, 4);
void cf_kdb_hazard(cf_source *s, const char *hazard); /* the id alone */
void cf_kdb_detail(const cf_source *s, const char *fmt, ...) CF_PRINTF(2, 3);
/* Waits; CF_ERR_INTERRUPTED when the user wants to stop. */
CF_NODISCARD cf_err cf_kdb_wait(const cf_source *s, uint64_t ms, cf_error *e);

/* Makes room for one more item and gives it with path, step, class and no descriptor. */
CF_NODISCARD cf_err cf_kdb_item_add(cf_source *s, uint16_t step, const char *role, const char *name,
                                    const char *klass, cf_kdb_item **ret, cf_error *e);
void cf_kdb_item_set_stat(cf_kdb_item *i, const cf_stat *st);
CF_NODISCARD cf_err cf_kdb_item_set_content(cf_kdb_item *i, cf_slice content, cf_error *e);
/* Forgets the items of a step, closing their descriptors. */
void cf_kdb_items_drop(cf_source *s, uint16_t step);

/* mark.c: truncate.chk, checkpoints, the stopped node. */
CF_NODISCARD cf_err cf_kdb_truncate_look(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_truncate_look_again(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_checkpoints_read(cf_source *s, cf_kdb_checkpoints *ret, cf_error *e);
CF_NODISCARD cf_err cf_kdb_checkpoints_look(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_stopped_look(cf_source *s, cf_error *e);

/* index.c: indexmap, tables, bloom filters. */
CF_NODISCARD cf_err cf_kdb_index_look(cf_source *s, cf_error *e);
/* side.c: existence filter, scavenge database, secondary indexes. */
CF_NODISCARD cf_err cf_kdb_filter_look(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_filter_look_again(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_scavenge_look(cf_source *s, cf_error *e);
/* false: a scavenge took it while it was read; said, and left out. */
bool cf_kdb_scavenge_look_again(cf_source *s, cf_kdb_item *i);
CF_NODISCARD cf_err cf_kdb_secondary_look(cf_source *s, cf_error *e);

/* chunks.c: which chunk files are the log. */
CF_NODISCARD cf_err cf_kdb_chunks_look(cf_source *s, cf_error *e);
void cf_kdb_chunks_deinit(cf_source *s);
/* SHA-256 over the names of chunks up to `last`. */
CF_NODISCARD cf_err cf_kdb_chunks_names_hash(const cf_names *names, uint32_t last, uint8_t ret[32],
                                             cf_error *e);
CF_NODISCARD cf_err cf_kdb_cert_hash(const uint8_t *header, const uint8_t *footer, uint64_t *ret,
                                     cf_error *e);

/* pin.c: open descriptors of what is to be sent. */
void cf_kdb_pin_raise_limit(void); /* to the hard one; before the first file is kept open */
/* How many may be pinned. CF_ERR_SOURCE: the pipeline alone may need more than there are. */
CF_NODISCARD cf_err cf_kdb_pin_limits(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_pin_names_equal(cf_source *s, cf_error *e);
/* Opens the row's file when it is not open, proving that it is still the one looked at. */
CF_NODISCARD cf_err cf_kdb_pin_row(cf_source *s, cf_kdb_row *row, int *ret_fd, cf_error *e);
void cf_kdb_pin_release(cf_source *s, cf_kdb_row *row);
CF_NODISCARD cf_err cf_kdb_pin_refill(cf_source *s, cf_error *e);

/* log.c: what the records say: the walk from chaser to writer, the epochs. */
CF_NODISCARD cf_err cf_kdb_log_check(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_epochs_look(cf_source *s, cf_error *e);

/* look.c: the reading order. */
CF_NODISCARD cf_err cf_kdb_look(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_last_look(cf_source *s, cf_error *e);

/* plan.c: the entries. */
CF_NODISCARD cf_err cf_kdb_plan_finish(cf_source *s, cf_error *e);
CF_NODISCARD cf_err cf_kdb_plan_next(cf_source *s, cf_entry **ret, cf_error *e);
CF_NODISCARD cf_err cf_kdb_plan_reopen(cf_source *s, cf_entry *entry, cf_error *e);
bool cf_kdb_plan_still_wanted(cf_source *s, cf_entry *entry, const cf_read_outcome *outcome);
CF_NODISCARD cf_err cf_kdb_plan_read_done(cf_source *s, cf_entry *entry,
                                          const cf_read_outcome *outcome, cf_error *e);
void cf_kdb_plan_drop(cf_source *s); /* frees what is under way: the run has failed */

/* report.c */
CF_NODISCARD cf_err cf_kdb_facts(const cf_source *s, json_t **ret, cf_error *e);
CF_NODISCARD cf_err cf_kdb_report(const cf_source *s, cf_buf *ret, cf_error *e);

/* source.c */
CF_NODISCARD cf_err cf_kdb_source_open(const cf_source_opts *opts, cf_source **ret, cf_error *e);
void cf_kdb_source_close(cf_source *s);

#endif
