/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry tag
 */
#include "cli/cli.h"

cf_err cf_cli_tag(cf_cli *const c, cf_error *const e)
{
    (void)c;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "tag is being built");
}
