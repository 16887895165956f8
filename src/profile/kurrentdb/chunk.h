/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunk files of the transaction log: name, header, footer, completeness. Pure: bytes in, values
 * out.
 *
 * Layout, all little-endian: header 128, [transform header], data, position map, zeros, footer 128.
 * The last 16 bytes are the MD5 of everything before them. An ongoing chunk has its final length
 * from the start and a footer of zeros, so neither size nor permissions prove that a chunk is
 * completed: the footer's flag does. Source: shared reference kurrentdb.md section 2.
 */
#ifndef SRC_PROFILE_KURRENTDB_CHUNK_H
#define SRC_PROFILE_KURRENTDB_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_KDB_CHUNK_HEADER_LEN = 128,
    CF_KDB_CHUNK_FOOTER_LEN = 128,
    CF_KDB_CHUNK_ALIGN = 4096,
    CF_KDB_CHUNK_TOTAL_MAX = 400000, /* the server's own limit */
    CF_KDB_CHUNK_NAME_LEN = 19,      /* chunk-NNNNNN.VVVVVV */
    CF_KDB_CHUNK_NAME_SIZE = CF_KDB_CHUNK_NAME_LEN + 1,
};

typedef struct cf_kdb_chunk_header {
    uint8_t min_compatible; /* 2 unaligned, 3 aligned, 4 transformed */
    uint8_t version;        /* as the file means it: byte 34, or min_compatible where that is 0 */
    uint8_t transform;      /* 0: none, 1: AES-GCM */
    bool scavenged;
    uint32_t chunk_size; /* logical bytes of one chunk number */
    uint32_t start, end; /* first and last chunk number in the file */
    uint8_t id[16];
} cf_kdb_chunk_header;

enum { CF_KDB_MAP_ENTRY_LEN = 12 };
typedef struct cf_kdb_chunk_footer {
    bool completed;
    uint32_t physical_bytes; /* of data */
    uint64_t logical_bytes;
    uint32_t map_bytes;
    bool map_12; /* entries of CF_KDB_MAP_ENTRY_LEN bytes: int32 place, int64 position */
    uint8_t md5[16];
} cf_kdb_chunk_footer;

/* true only for exactly "chunk-" six digits "." six digits. */
bool cf_kdb_chunk_name_parse(cf_slice name, uint32_t *ret_start, uint32_t *ret_version);
void cf_kdb_chunk_name_render(uint32_t start, uint32_t version, char ret[CF_KDB_CHUNK_NAME_SIZE]);

/* The first 128 bytes. CF_ERR_PARSE: not a chunk, a range that is turned round or too high, a size
 * of nothing; CF_ERR_UNSUPPORTED: a newer format than 4. */
CF_NODISCARD cf_err cf_kdb_chunk_header_parse(cf_slice bytes, cf_kdb_chunk_header *ret,
                                              cf_error *e);
/* The last 128 bytes. Any bytes are a footer; whether they mean something,
 * cf_kdb_chunk_is_complete() says. */
CF_NODISCARD cf_err cf_kdb_chunk_footer_parse(cf_slice bytes, cf_kdb_chunk_footer *ret,
                                              cf_error *e);

/* From the file alone, MD5 apart: the flag is set, the length is what a completed file of these
 * parts can have. */
bool cf_kdb_chunk_is_complete(const cf_kdb_chunk_header *h, const cf_kdb_chunk_footer *f,
                              uint64_t size_bytes);

#endif
