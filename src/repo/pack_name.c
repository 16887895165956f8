/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to words and back. Pure.
 */
#include "repo/pack_name.h"

#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

enum {
    RUN_TIME_LEN = 16,
    SEQ_LEN = 10,
};

cf_pack_name cf_pack_name_of(const char *const pack)
{
    cf_run_id run = {""};
    uint32_t seq = 0;
    int64_t utc_ms = 0;
    uint8_t random[4] = {0};
    CF_CHECK(cf_object_name_parse(cf_slice_str(pack), &run, &seq, NULL));
    CF_CHECK(cf_time_parse_basic(cf_slice_of(run.text, RUN_TIME_LEN), &utc_ms));
    CF_CHECK(cf_hex_parse(cf_slice_of(run.text + RUN_TIME_LEN + 1, 8), random, sizeof(random)));
    const uint64_t high = (uint64_t)random[0] << 16 | (uint64_t)random[1] << 8 | random[2];
    return (cf_pack_name){.run = (uint64_t)(utc_ms / 1000) << 24 | high,
                          .rest = (uint64_t)random[3] << 32 | seq};
}

void cf_pack_name_parts(const cf_pack_name *const n, cf_run_id *const ret_run,
                        uint32_t *const ret_seq)
{
    const uint32_t random = (uint32_t)((n->run & 0xffffff) << 8 | n->rest >> 32);
    cf_run_id_make((int64_t)(n->run >> 24) * 1000, /* newest= */ NULL, random, ret_run);
    *ret_seq = (uint32_t)(n->rest & UINT32_MAX);
}

void cf_pack_name_render(const cf_pack_name *const n, char *const ret)
{
    cf_run_id run = {""};
    uint32_t seq = 0;
    cf_pack_name_parts(n, &run, &seq);
    (void)snprintf(ret, CF_RUN_OBJECT_LEN_MAX + 1, "%s/%010u", run.text, (unsigned)seq);
}

const char *cf_pack_name_tail(const char *const pack)
{
    CF_CHECK(cf_object_name_parse(cf_slice_str(pack), NULL, NULL, NULL));
    return pack + CF_RUN_ID_LEN + 1 + SEQ_LEN;
}
