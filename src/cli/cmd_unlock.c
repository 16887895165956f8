/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry unlock
 */
#include "cli/cli.h"

cf_err cf_cli_unlock(cf_cli *const c, cf_error *const e)
{
    (void)c;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "unlock is being built");
}
