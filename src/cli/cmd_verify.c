/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry verify
 */
#include "cli/cli.h"

cf_err cf_cli_verify(cf_cli *const c, cf_error *const e)
{
    (void)c;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "verify is being built");
}
