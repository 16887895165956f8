/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/chunk.h"

#include <stdio.h>

#include "s3/base/num.h"

enum {
    FILE_TYPE_CHUNK = 2,
    FLAG_COMPLETED = 1,
    FLAG_MAP_12 = 2,
    VERSION_ALIGNED = 3,
    VERSION_NEWEST = 4,
    DIGITS = 6,
};

static bool digits_parse(const uint8_t *p, uint32_t *ret)
{
    uint32_t value = 0;

    for (int i = 0; i < DIGITS; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(p[i] - '0');
    }
    *ret = value;
    return true;
}

bool cf_kdb_chunk_name_parse(cf_slice name, uint32_t *ret_start, uint32_t *ret_version)
{
    uint32_t start = 0;
    uint32_t version = 0;

    if (name.len != CF_KDB_CHUNK_NAME_LEN || memcmp(name.ptr, "chunk-", 6) != 0 ||
        name.ptr[12] != '.')
        return false;
    if (!digits_parse(name.ptr + 6, &start) || !digits_parse(name.ptr + 13, &version))
        return false;
    *ret_start = start;
    *ret_version = version;
    return true;
}

void cf_kdb_chunk_name_render(uint32_t start, uint32_t version, char ret[CF_KDB_CHUNK_NAME_SIZE])
{
    (void)snprintf(ret, CF_KDB_CHUNK_NAME_SIZE, "chunk-%06u.%06u", start % 1000000u,
                   version % 1000000u);
}

cf_err cf_kdb_chunk_header_parse(cf_slice bytes, cf_kdb_chunk_header *ret, cf_error *e)
{
    cf_kdb_chunk_header h = {0};
    const uint8_t *const p = bytes.ptr;

    CF_ENSURE(bytes.len == CF_KDB_CHUNK_HEADER_LEN, e, CF_ERR_PARSE,
              "a chunk header has %zu bytes, not %d", bytes.len, CF_KDB_CHUNK_HEADER_LEN);
    CF_ENSURE(p[0] == FILE_TYPE_CHUNK, e, CF_ERR_PARSE, "first byte is %u, a chunk begins with %d",
              p[0], FILE_TYPE_CHUNK);
    CF_ENSURE(p[1] <= VERSION_NEWEST, e, CF_ERR_UNSUPPORTED,
              "chunk format %u is newer than the newest known, %d", p[1], VERSION_NEWEST);
    h.min_compatible = p[1];
    h.chunk_size = cf_le32(p + 2);
    h.start = cf_le32(p + 6);
    h.end = cf_le32(p + 10);
    h.scavenged = cf_le32(p + 14) != 0;
    memcpy(h.id, p + 18, sizeof(h.id));
    h.version = p[34] != 0 ? p[34] : p[1];
    h.transform = h.version >= VERSION_NEWEST ? p[35] : 0;
    CF_ENSURE(h.chunk_size > 0 && h.chunk_size <= INT32_MAX, e, CF_ERR_PARSE,
              "chunk size %u is not in 1..%d", h.chunk_size, INT32_MAX);
    CF_ENSURE(h.start <= h.end, e, CF_ERR_PARSE, "chunk range %u..%u is turned round", h.start,
              h.end);
    CF_ENSURE(h.end < CF_KDB_CHUNK_TOTAL_MAX, e, CF_ERR_PARSE,
              "chunk number %u is over the limit of %d", h.end, CF_KDB_CHUNK_TOTAL_MAX - 1);
    *ret = h;
    return CF_OK;
}

cf_err cf_kdb_chunk_footer_parse(cf_slice bytes, cf_kdb_chunk_footer *ret, cf_error *e)
{
    cf_kdb_chunk_footer f = {0};
    const uint8_t *const p = bytes.ptr;

    CF_ENSURE(bytes.len == CF_KDB_CHUNK_FOOTER_LEN, e, CF_ERR_PARSE,
              "a chunk footer has %zu bytes, not %d", bytes.len, CF_KDB_CHUNK_FOOTER_LEN);
    f.completed = (p[0] & FLAG_COMPLETED) != 0;
    f.physical_bytes = cf_le32(p + 1);
    /* Maps of 12 bytes an entry came with a logical size of 8 bytes; before, it had 4. */
    f.logical_bytes = (p[0] & FLAG_MAP_12) != 0 ? cf_le64(p + 5) : cf_le32(p + 5);
    f.map_12 = (p[0] & FLAG_MAP_12) != 0;
    f.map_bytes = (p[0] & FLAG_MAP_12) != 0 ? cf_le32(p + 13) : cf_le32(p + 9);
    memcpy(f.md5, p + CF_KDB_CHUNK_FOOTER_LEN - sizeof(f.md5), sizeof(f.md5));
    *ret = f;
    return CF_OK;
}

bool cf_kdb_chunk_is_complete(const cf_kdb_chunk_header *h, const cf_kdb_chunk_footer *f,
                              uint64_t size_bytes)
{
    const uint64_t parts = (uint64_t)CF_KDB_CHUNK_HEADER_LEN + f->physical_bytes + f->map_bytes +
                           CF_KDB_CHUNK_FOOTER_LEN;

    if (!f->completed || size_bytes < parts)
        return false;
    return h->min_compatible < VERSION_ALIGNED || size_bytes % CF_KDB_CHUNK_ALIGN == 0;
}
