/* SPDX-License-Identifier: Apache-2.0
 *
 * Records: the input is a chunk's data, walked from both ends, and an epoch record.
 */
#include "profile/kurrentdb/record.h"

static cf_err input_read(void *impl, uint64_t position, void *ret, uint32_t len, cf_error *e)
{
    const cf_slice *const s = impl;

    if (position > s->len || len > s->len - position)
        __builtin_trap(); /* the walk must stay inside */
    memcpy(ret, s->ptr + position, len);
    (void)e;
    return CF_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cf_slice s = cf_slice_of(data, size);
    cf_kdb_epoch epoch = {0};

    if (cf_kdb_record_walk(input_read, &s, 0, size, NULL) == CF_OK &&
        cf_kdb_record_check_end(input_read, &s, 0, size, NULL) == CF_ERR_NO_MEMORY)
        __builtin_trap();
    if (cf_kdb_epoch_parse(s, &epoch, NULL) == CF_OK && !cf_kdb_guid_is(cf_slice_str(epoch.id)))
        __builtin_trap();
    return 0;
}
