/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/checkpoint.h"

#include "s3/base/num.h"

cf_err cf_kdb_checkpoint_parse(cf_slice bytes, int64_t *ret, cf_error *e)
{
    CF_ENSURE(bytes.len == CF_KDB_CHECKPOINT_LEN, e, CF_ERR_PARSE, "%zu bytes, a checkpoint has %d",
              bytes.len, CF_KDB_CHECKPOINT_LEN);
    *ret = (int64_t)cf_le64(bytes.ptr);
    return CF_OK;
}

void cf_kdb_checkpoint_render(int64_t value, uint8_t ret[CF_KDB_CHECKPOINT_LEN])
{
    for (unsigned i = 0; i < CF_KDB_CHECKPOINT_LEN; i++)
        ret[i] = (uint8_t)((uint64_t)value >> (8 * i));
}
