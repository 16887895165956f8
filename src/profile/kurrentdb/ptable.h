/* SPDX-License-Identifier: Apache-2.0
 *
 * Index tables: structure of the file from its first 128 and last 144 bytes and its size. Pure.
 *
 * A table appears under its final name while it is still written, at times with its final size:
 * only one that `indexmap` names, has this structure and ends with the MD5 of all before is a
 * table. Layout: header 128 (type 1, version), entries, [v4: midpoints, footer 128], MD5 16.
 * Source: shared reference kurrentdb.md section 1.3.
 */
#ifndef SRC_PROFILE_KURRENTDB_PTABLE_H
#define SRC_PROFILE_KURRENTDB_PTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_KDB_PTABLE_HEADER_LEN = 128,
    CF_KDB_PTABLE_TAIL_LEN = 144, /* footer and MD5 */
    CF_KDB_PTABLE_MD5_LEN = 16,
    CF_KDB_GUID_LEN = 36,
    CF_KDB_GUID_SIZE = CF_KDB_GUID_LEN + 1,
};

typedef struct cf_kdb_ptable {
    uint8_t version;
    uint64_t entries_total; /* v4 */
    uint32_t midpoints_total;
    uint8_t md5[CF_KDB_PTABLE_MD5_LEN];
} cf_kdb_ptable;

/* head: the first 128 bytes, tail: the last 144. CF_ERR_PARSE: half-written or not a table, with
 * the reason; CF_ERR_UNSUPPORTED: a version that is not 1..4. */
CF_NODISCARD cf_err cf_kdb_ptable_parse(cf_slice head, cf_slice tail, uint64_t size_bytes,
                                        cf_kdb_ptable *ret, cf_error *e);

/* Lower-case 8-4-4-4-12. */
bool cf_kdb_guid_is(cf_slice text);

#endif
