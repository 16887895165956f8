/* SPDX-License-Identifier: Apache-2.0
 *
 * indexmap: the text that names the index tables in use. Pure.
 *
 *   32 upper-case hex digits: MD5 of all bytes from offset 32 on
 *   version (1, 2)
 *   <prepare>/<commit>
 *   <highest level merged by itself>     (version 2)
 *   <level>,<position>,<file>            one a table
 * Source: shared reference kurrentdb.md section 1.3.
 */
#ifndef SRC_PROFILE_KURRENTDB_INDEXMAP_H
#define SRC_PROFILE_KURRENTDB_INDEXMAP_H

#include <stdint.h>

#include "profile/kurrentdb/ptable.h"
#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_KDB_INDEXMAP_LEN_MAX = 256 * 1024, /* ours: 4,096 tables of 60 bytes */
    CF_KDB_TABLE_TOTAL_MAX =
        4096, /* ours: two a level merge by default, so a node has some dozens */
};

typedef struct cf_kdb_indexmap_table {
    uint32_t level, position;
    char name[CF_KDB_GUID_SIZE];
} cf_kdb_indexmap_table;

typedef struct cf_kdb_indexmap {
    uint32_t version;
    int64_t prepare, commit;       /* -1: no tables yet */
    cf_kdb_indexmap_table *tables; /* owned; sorted by name */
    uint32_t table_total;
} cf_kdb_indexmap;

/* ret must be zero or deinitialised. CF_ERR_PARSE: wrong MD5, malformed, a name that is no GUID or
 * there twice, over the limits; CF_ERR_UNSUPPORTED: another version; CF_ERR_NO_MEMORY. */
CF_NODISCARD cf_err cf_kdb_indexmap_parse(cf_slice text, cf_kdb_indexmap *ret, cf_error *e);
void cf_kdb_indexmap_deinit(cf_kdb_indexmap *m);

#endif
