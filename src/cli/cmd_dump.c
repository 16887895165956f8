/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry dump
 */
#include "cli/cli.h"

cf_err cf_cli_dump(cf_cli *const c, cf_error *const e)
{
    (void)c;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "dump is being built");
}
