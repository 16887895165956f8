/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/ptable.h"

#include "s3/base/num.h"

enum { FILE_TYPE_PTABLE = 1, VERSION_WITH_FOOTER = 4, ENTRY_LEN = 24 };

/* Bytes of one entry by version; 0: unknown. */
static uint32_t entry_len(uint8_t version)
{
    static const uint8_t len[] = {[1] = 16, [2] = 20, [3] = ENTRY_LEN, [4] = ENTRY_LEN};

    return version < sizeof(len) ? len[version] : 0;
}

cf_err cf_kdb_ptable_parse(cf_slice head, cf_slice tail, uint64_t size_bytes, cf_kdb_ptable *ret,
                           cf_error *e)
{
    const uint64_t fixed = CF_KDB_PTABLE_HEADER_LEN + CF_KDB_PTABLE_TAIL_LEN;
    cf_kdb_ptable t = {0};

    CF_ENSURE(size_bytes >= fixed, e, CF_ERR_PARSE, "%llu bytes, a table has at least %llu",
              (unsigned long long)size_bytes, (unsigned long long)fixed);
    CF_ENSURE(head.len == CF_KDB_PTABLE_HEADER_LEN && tail.len == CF_KDB_PTABLE_TAIL_LEN, e,
              CF_ERR_PARSE, "head of %zu and tail of %zu bytes", head.len, tail.len);
    CF_ENSURE(head.ptr[0] == FILE_TYPE_PTABLE, e, CF_ERR_PARSE,
              "first byte is %u, a table begins with %d", head.ptr[0], FILE_TYPE_PTABLE);
    t.version = head.ptr[1];
    CF_ENSURE(entry_len(t.version) != 0, e, CF_ERR_UNSUPPORTED, "table format %u is not in 1..%d",
              t.version, VERSION_WITH_FOOTER);
    memcpy(t.md5, tail.ptr + tail.len - sizeof(t.md5), sizeof(t.md5));
    if (t.version < VERSION_WITH_FOOTER) {
        const uint64_t body = size_bytes - CF_KDB_PTABLE_HEADER_LEN - sizeof(t.md5);

        CF_ENSURE(body % entry_len(t.version) == 0, e, CF_ERR_PARSE,
                  "%llu bytes of entries are no multiple of %u", (unsigned long long)body,
                  entry_len(t.version));
        t.entries_total = body / entry_len(t.version);
        *ret = t;
        return CF_OK;
    }
    const uint64_t rows = (size_bytes - fixed) / ENTRY_LEN;

    CF_ENSURE(tail.ptr[0] == FILE_TYPE_PTABLE, e, CF_ERR_PARSE, "footer begins with %u, not %d",
              tail.ptr[0], FILE_TYPE_PTABLE);
    CF_ENSURE(tail.ptr[1] == t.version, e, CF_ERR_PARSE, "footer says format %u, header %u",
              tail.ptr[1], t.version);
    CF_ENSURE((size_bytes - fixed) % ENTRY_LEN == 0, e, CF_ERR_PARSE,
              "%llu bytes of entries are no multiple of %d",
              (unsigned long long)(size_bytes - fixed), ENTRY_LEN);
    t.midpoints_total = cf_le32(tail.ptr + 2);
    CF_ENSURE(t.midpoints_total <= rows, e, CF_ERR_PARSE, "%u midpoints in %llu rows",
              t.midpoints_total, (unsigned long long)rows);
    t.entries_total = rows - t.midpoints_total;
    *ret = t;
    return CF_OK;
}

bool cf_kdb_guid_is(cf_slice text)
{
    if (text.len != CF_KDB_GUID_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}
