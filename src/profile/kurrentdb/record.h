/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of the log: frames (length, body, length), the epoch record, and a walk over them. Pure:
 * bytes come from a function of the caller.
 *
 * A body begins with type, version and its own log position, so a frame proves that it stands where
 * it stands. Source: shared reference kurrentdb.md section 2; frames of the real nodes under shared
 * fixtures.
 */
#ifndef SRC_PROFILE_KURRENTDB_RECORD_H
#define SRC_PROFILE_KURRENTDB_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "profile/kurrentdb/ptable.h"
#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_KDB_RECORD_LEN_MAX = 16 * 1024 * 1024, /* the server's own limit */
    CF_KDB_RECORD_FRAME_LEN = 8,              /* prefix and suffix */
    CF_KDB_RECORD_HEAD_LEN = 14,              /* prefix, type, version, position */
    CF_KDB_EPOCH_FRAME_MAX = 4096,            /* ours: an epoch record has some 240 bytes */
};

typedef struct cf_kdb_epoch {
    int64_t position;
    uint32_t number;
    char id[CF_KDB_GUID_SIZE]; /* lower-case */
} cf_kdb_epoch;

/* One frame as it stands in the file: bytes may go on behind it. CF_ERR_PARSE when it is no epoch
 * record. */
CF_NODISCARD cf_err cf_kdb_epoch_parse(cf_slice bytes, cf_kdb_epoch *ret, cf_error *e);

/* Bytes of the log at `position` (of one chunk, never over its end): exactly len or an error. */
typedef cf_err (*cf_kdb_log_read)(void *impl, uint64_t position, void *ret, uint32_t len,
                                  cf_error *e);

/* `position` is right behind a record, or at `first`, where the chunk's data begins. CF_ERR_PARSE
 * says what is wrong.
 */
CF_NODISCARD cf_err cf_kdb_record_check_end(cf_kdb_log_read read, void *impl, uint64_t first,
                                            uint64_t position, cf_error *e);
/* Whole frames, one after the other, from `from` exactly to `to`, both in one chunk's data. */
CF_NODISCARD cf_err cf_kdb_record_walk(cf_kdb_log_read read, void *impl, uint64_t from, uint64_t to,
                                       cf_error *e);

#endif
