/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunk headers, footers and names. Input: 128 bytes of header, 128 of footer, the rest a name.
 */
#include "profile/kurrentdb/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t head = size < 128 ? size : 128;
    const size_t foot = size - head < 128 ? size - head : 128;
    cf_kdb_chunk_header h = {0};
    cf_kdb_chunk_footer f = {0};
    uint32_t start = 0, version = 0;
    char name[CF_KDB_CHUNK_NAME_SIZE];

    if (cf_kdb_chunk_header_parse(cf_slice_of(data, head), &h, NULL) == CF_OK &&
        (h.start > h.end || h.chunk_size == 0))
        __builtin_trap();
    if (cf_kdb_chunk_footer_parse(cf_slice_of(data + head, foot), &f, NULL) == CF_OK &&
        cf_kdb_chunk_is_complete(&h, &f, 4096) && !f.completed)
        __builtin_trap();
    const cf_slice text = cf_slice_of(data + head + foot, size - head - foot);

    if (cf_kdb_chunk_name_parse(text, &start, &version)) {
        cf_kdb_chunk_name_render(start, version, name);
        if (!cf_slice_eq(text, cf_slice_str(name)))
            __builtin_trap();
    }
    return 0;
}
