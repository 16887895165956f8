/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry status
 */
#include "cli/cli.h"

cf_err cf_cli_status(cf_cli *const c, cf_error *const e)
{
    (void)c;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "status is being built");
}
