/* SPDX-License-Identifier: Apache-2.0
 *
 * What lease.c needs of lease_look.c and nobody else does.
 */
#ifndef SRC_REPO_LEASE_LOOK_H
#define SRC_REPO_LEASE_LOOK_H

#include "repo/lease.h"

enum { CF_LEASE_FOLDER_SIZE = 16 };

/* One LIST of the numbers from `from` on. */
CF_NODISCARD cf_err cf_lease_list(const cf_repo *repo, const char *node, const char *folder,
                                  uint64_t from, cf_lease_view *ret, cf_error *e);

#endif
