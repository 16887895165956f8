/* SPDX-License-Identifier: Apache-2.0
 *
 * Good manners beside a node: a lower priority (--nice, --io-idle), and no more memory than half of
 * what the control group has when --memory is not given.
 */
#ifndef SRC_CLI_MANNERS_H
#define SRC_CLI_MANNERS_H

#include "chunkferry/chunkferry.h"
#include "cli/options.h"

enum { CF_NICE_MAX = 19 };

/* Of the calling thread and those it will start: call it before any is. Never raises a priority.
 * CF_ERR_USAGE, CF_ERR_ACCESS when the kernel refuses. */
CF_NODISCARD cf_err cf_manners_apply(const cf_values *v, cf_error *e);
/* --memory, or what the group leaves: then a line of the log says so. */
CF_NODISCARD cf_err cf_manners_memory(const cf_values *v, const cf_ctx *ctx, uint64_t *ret_bytes,
                                      cf_error *e);

#endif
