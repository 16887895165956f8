/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack name: "<run>/<seq>" of a pack in two words, for tables of many packs. They sort as the names
 * do.
 */
#ifndef SRC_REPO_PACK_NAME_H
#define SRC_REPO_PACK_NAME_H

#include <stdint.h>

#include "repo/run.h"

typedef struct cf_pack_name {
    uint64_t run;  /* seconds << 24 | high 24 bits of the random digits */
    uint64_t rest; /* low 8 bits of them << 32 | sequence number; never 0 */
} cf_pack_name;

/* pack: of the right shape (CF_CHECK). What follows the sequence number is for people. */
cf_pack_name cf_pack_name_of(const char *pack);
void cf_pack_name_parts(const cf_pack_name *n, cf_run_id *ret_run, uint32_t *ret_seq);
/* "<run>/<seq>"; ret has CF_RUN_OBJECT_LEN_MAX + 1 bytes. */
void cf_pack_name_render(const cf_pack_name *n, char *ret);
/* What follows "<run>/<seq>" in the name of an object: "-pack-hint.zst"; borrowed. */
const char *cf_pack_name_tail(const char *pack);

static inline int cf_pack_name_cmp(const cf_pack_name *const a, const cf_pack_name *const b)
{
    if (a->run != b->run)
        return a->run < b->run ? -1 : 1;
    return a->rest == b->rest ? 0 : a->rest < b->rest ? -1 : 1;
}

#endif
