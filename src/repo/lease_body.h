/* SPDX-License-Identifier: Apache-2.0
 *
 * What a lease says, as JSON. Pure.
 */
#ifndef SRC_REPO_LEASE_BODY_H
#define SRC_REPO_LEASE_BODY_H

#include "repo/owner.h"
#include "repo/run.h"
#include "s3/buf.h"
#include "s3/err.h"

enum {
    CF_LEASE_TTL_MAX_S = 7 * 24 * 3600,
    CF_LEASE_USES_MAX = 16, /* ours: a parent, and dead runs in a row that left something */
};

typedef struct cf_lease_body {
    bool is_read; /* a reader's: run is the snapshot it reads, and it uses nothing else */
    cf_run_id run;
    bool ended;
    /* Parent (when there is one), then adopted runs: what prune keeps for this run. A name here is
     * one or the other by what stands at its root's key, so no more need be said. */
    cf_run_id uses[CF_LEASE_USES_MAX];
    size_t uses_total;
    int64_t since_utc_ms; /* by the store's time */
    uint32_t ttl_s;       /* 1..CF_LEASE_TTL_MAX_S */
    cf_lease_owner owner;
} cf_lease_body;

CF_NODISCARD cf_err cf_lease_body_render(const cf_lease_body *b, cf_buf *ret, cf_error *e);
/* CF_ERR_DAMAGE, CF_ERR_FORMAT. */
CF_NODISCARD cf_err cf_lease_body_parse(cf_slice json, cf_lease_body *ret, cf_error *e);

#endif
