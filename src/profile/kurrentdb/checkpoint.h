/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint files: exactly 8 bytes, a signed little-endian number. Pure.
 * Source: shared reference kurrentdb.md section 1.2.
 */
#ifndef SRC_PROFILE_KURRENTDB_CHECKPOINT_H
#define SRC_PROFILE_KURRENTDB_CHECKPOINT_H

#include <stdint.h>

#include "s3/err.h"
#include "s3/slice.h"

enum { CF_KDB_CHECKPOINT_LEN = 8 };

/* CF_ERR_PARSE for any other length; ret untouched. */
CF_NODISCARD cf_err cf_kdb_checkpoint_parse(cf_slice bytes, int64_t *ret, cf_error *e);
void cf_kdb_checkpoint_render(int64_t value, uint8_t ret[CF_KDB_CHECKPOINT_LEN]);

#endif
