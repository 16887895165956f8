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

enum { CF_LEASE_TTL_MAX_S = 7 * 24 * 3600 };

typedef struct cf_lease_body {
    bool is_read; /* a reader's: run is the snapshot it reads, and it uses nothing else */
    cf_run_id run;
    bool ended;
    bool has_parent; /* `uses` */
    cf_run_id parent;
    int64_t since_utc_ms; /* by the store's time */
    uint32_t ttl_s;       /* 1..CF_LEASE_TTL_MAX_S */
    cf_owner owner;
} cf_lease_body;

CF_NODISCARD cf_err cf_lease_body_render(const cf_lease_body *b, cf_buf *ret, cf_error *e);
/* CF_ERR_DAMAGE, CF_ERR_FORMAT. Of `uses` the first is taken as parent. */
CF_NODISCARD cf_err cf_lease_body_parse(cf_slice json, cf_lease_body *ret, cf_error *e);

#endif
