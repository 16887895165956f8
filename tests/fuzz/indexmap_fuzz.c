/* SPDX-License-Identifier: Apache-2.0
 *
 * indexmap: the input is what stands behind the MD5, which is made here, so that the parser is
 * reached.
 */
#include "profile/kurrentdb/indexmap.h"
#include "s3/base/hash.h"

enum { BODY_MAX = 8192, HEX_LEN = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t text[HEX_LEN + BODY_MAX]; /* the fuzzer calls on one thread */
    uint8_t md5[CF_MD5_LEN];
    char hex[CF_MD5_HEX_SIZE];
    cf_kdb_indexmap m = {0};

    if (cf_kdb_indexmap_parse(cf_slice_of(data, size), &m, NULL) == CF_ERR_NO_MEMORY)
        __builtin_trap(); /* sizes are bounded by the input's */
    cf_kdb_indexmap_deinit(&m);
    if (size > BODY_MAX || cf_md5(cf_slice_of(data, size), md5, NULL) != CF_OK)
        return 0;
    cf_hex_render(cf_slice_of(md5, sizeof(md5)), hex);
    memcpy(text, hex, HEX_LEN);
    memcpy(text + HEX_LEN, data, size);
    if (cf_kdb_indexmap_parse(cf_slice_of(text, HEX_LEN + size), &m, NULL) == CF_OK) {
        for (uint32_t i = 0; i < m.table_total; i++) {
            if (!cf_kdb_guid_is(cf_slice_str(m.tables[i].name)))
                __builtin_trap();
        }
    }
    cf_kdb_indexmap_deinit(&m);
    return 0;
}
