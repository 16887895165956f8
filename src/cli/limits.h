/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run may use: bandwidth (--limit-upload, --limit-download) and time (--max-duration). Both
 * are part of the world that the command runs in, so no flow knows of them.
 */
#ifndef SRC_CLI_LIMITS_H
#define SRC_CLI_LIMITS_H

#include "chunkferry/chunkferry.h"
#include "cli/options.h"

typedef struct cf_limits {
    cf_world world; /* inner's, with a wish to stop that comes true at the deadline; impl is this */
    const cf_world *inner;     /* borrowed */
    uint64_t deadline_mono_ms; /* 0: none */
    cf_pace *pace;             /* owned; NULL: no limits */
} cf_limits;

/* Zero l first; it must stay where it is while ctx is used. Puts world and pace into ctx.
 * CF_ERR_USAGE. */
CF_NODISCARD cf_err cf_limits_init(cf_limits *l, const cf_values *v, cf_ctx *ctx, cf_error *e);
void cf_limits_deinit(cf_limits *l);
/* Did the time run out, rather than somebody press a key? */
bool cf_limits_time_is_over(const cf_limits *l);

#endif
