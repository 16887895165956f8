/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry prune
 */
#include "cli/cli.h"

cf_err cf_cli_prune(cf_cli *const c, cf_error *const e)
{
    (void)c;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "prune is being built");
}
