/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry version
 */
#include <curl/curl.h>
#include <libxml/xmlversion.h>
#include <openssl/crypto.h>
#include <zstd.h>

#include "cli/cli.h"
#include "repo/root.h"

cf_err cf_cli_version(cf_cli *const c, cf_error *const e)
{
    (void)e;
    cf_output_text(c->output,
                   "chunkferry %s, repository format %d\n%s\n%s, libxml2 %s, zstd %s, jansson %s\n",
                   CF_VERSION, CF_FORMAT, curl_version(), OpenSSL_version(OPENSSL_VERSION),
                   LIBXML_DOTTED_VERSION, ZSTD_versionString(), JANSSON_VERSION);
    cf_output_object(c->output,
                     json_pack("{s:s, s:s, s:i, s:{s:s, s:s, s:s, s:s, s:s}}", "type", "summary",
                               "version", CF_VERSION, "format", CF_FORMAT, "libraries", "curl",
                               curl_version(), "openssl", OpenSSL_version(OPENSSL_VERSION),
                               "libxml2", LIBXML_DOTTED_VERSION, "zstd", ZSTD_versionString(),
                               "jansson", JANSSON_VERSION));
    return CF_OK;
}
