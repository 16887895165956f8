/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry init
 */
#include "cli/cli.h"

cf_err cf_cli_init(cf_cli *const c, cf_error *const e)
{
    cf_remote remote = {0};
    cf_init_result r = {0};

    CF_TRY(cf_cli_remote(c, &remote, e));
    CF_TRY(cf_init_run(c->ctx, &remote, &r, e));
    cf_output_text(c->output, "repository %s is ready at %s\n", r.repository, remote.url);
    cf_output_object(c->output,
                     json_pack("{s:s, s:s, s:o, s:I}", "type", "summary", "repository",
                               r.repository, "url", cf_output_json(remote.url, strlen(remote.url)),
                               "requests", (json_int_t)r.requests_total));
    return CF_OK;
}
