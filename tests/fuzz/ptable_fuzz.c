/* SPDX-License-Identifier: Apache-2.0
 *
 * Index tables: the input is a whole small one.
 */
#include "profile/kurrentdb/ptable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t head = size < CF_KDB_PTABLE_HEADER_LEN ? size : CF_KDB_PTABLE_HEADER_LEN;
    const size_t tail = size < CF_KDB_PTABLE_TAIL_LEN ? size : CF_KDB_PTABLE_TAIL_LEN;
    cf_kdb_ptable t = {0};

    if (cf_kdb_ptable_parse(cf_slice_of(data, head), cf_slice_of(data + size - tail, tail), size,
                            &t, NULL) == CF_OK &&
        t.entries_total > size)
        __builtin_trap();
    (void)cf_kdb_guid_is(cf_slice_of(data, size));
    return 0;
}
