/* SPDX-License-Identifier: Apache-2.0
 *
 * What list and show have in common: an open repository, and a root as text and JSON.
 */
#ifndef SRC_CLI_SNAPSHOTS_H
#define SRC_CLI_SNAPSHOTS_H

#include "cli/cli.h"
#include "repo/repo.h"

typedef struct cf_opened {
    cf_store *store; /* owned */
    cf_repo repo;
} cf_opened;
CF_NODISCARD cf_err cf_opened_open(const cf_cli *c, cf_opened *ret, cf_error *e);
void cf_opened_close(cf_opened *o);

/* New object with the keys that list and show share. */
json_t *cf_snapshot_object(const char *type, const char *node, const cf_root *root);

#endif
