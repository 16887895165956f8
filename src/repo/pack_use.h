/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack use: how many bytes of each pack the snapshot being written names. The only thing a manifest
 * keeps of every pack: 24 bytes, and 4 to 8 of an index.
 */
#ifndef SRC_REPO_PACK_USE_H
#define SRC_REPO_PACK_USE_H

#include <stdint.h>

#include "s3/base/cleanup.h"
#include "s3/err.h"
#include "s3/slice.h"

typedef struct cf_pack_use cf_pack_use;
/* total_max: packs it may hold. */
CF_NODISCARD cf_err cf_pack_use_new(uint32_t total_max, cf_pack_use **ret, cf_error *e);
void cf_pack_use_free(cf_pack_use *u);
CF_DEFINE_FREEP(cf_pack_use, cf_pack_use_free)

/* pack: a name of the right shape. CF_ERR_TOO_LARGE above total_max. */
CF_NODISCARD cf_err cf_pack_use_add(cf_pack_use *u, const char *pack, uint64_t bytes, cf_error *e);
/* Bytes used of pack, and notes that it has been described; 0: no file names it. */
uint64_t cf_pack_use_describe(cf_pack_use *u, const char *pack);
/* Name of some pack that files name and nobody described; false when there is none. ret has
 * CF_RUN_OBJECT_LEN_MAX + 1 bytes: "<run>/<seq>". */
bool cf_pack_use_find_undescribed(const cf_pack_use *u, char *ret);

#endif
