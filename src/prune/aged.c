/* SPDX-License-Identifier: Apache-2.0 */
#include "prune/prune.h"
cf_err cf_prune_aged(cf_prune_node *const n, cf_error *const e)
{
    (void)n;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "prune without conditional create is being built");
}
