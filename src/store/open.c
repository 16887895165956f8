/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the store a URL names: the one place that knows all kinds.
 */
#include "store/open.h"

#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/fs.h"
#include "s3/s3.h"

static cf_err addressing_parse(const char *text, s3_addressing *ret, cf_error *e)
{
    static const struct {
        const char *name;
        s3_addressing value;
    } table[] = {{"auto", S3_ADDRESSING_AUTO},
                 {"path", S3_ADDRESSING_PATH},
                 {"virtual", S3_ADDRESSING_VIRTUAL}};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (text == NULL || strcmp(text, table[i].name) == 0) {
            *ret = table[i].value;
            return CF_OK;
        }
    }
    CF_FAIL(e, CF_ERR_USAGE, "addressing '%s' is not one of auto, path, virtual", text);
}

static void trace_to_log(void *impl, const s3_trace *t)
{
    const cf_ctx *const ctx = impl;
    char text[512];

    (void)snprintf(
        text, sizeof(text),
        "%s %s '%.200s' -> %d%s%s, %llu bytes sent, %llu received, %llu ms, attempt %u%s%s",
        t->method, t->operation, t->key, t->http_status, t->s3_code[0] != '\0' ? " " : "",
        t->s3_code, (unsigned long long)t->bytes_sent, (unsigned long long)t->bytes_received,
        (unsigned long long)t->duration_ms, t->attempt,
        t->request_id[0] != '\0' ? ", request " : "", t->request_id);
    ctx->log(ctx->impl, CF_LOG_DEBUG, text);
}

cf_err cf_store_open(const cf_ctx *const ctx, const cf_remote *const remote,
                     const cf_store_sizes *const sizes, cf_store **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_store_url_deinit) cf_store_url url = {0};
    s3_addressing addressing = S3_ADDRESSING_AUTO;

    CF_ENSURE(remote->url != NULL && remote->url[0] != '\0', e, CF_ERR_USAGE,
              "no repository given\nHINT: --repo s3://bucket/prefix or --repo file:///path, or set "
              "CHUNKFERRY_REPO");
    CF_TRY(cf_store_url_parse(remote->url, &url, e));
    CF_TRY(addressing_parse(remote->addressing, &addressing, e));
    if (!url.is_s3) { /* ctx->fs is the node's side */
        CF_TRY(cf_store_directory_new(cf_fs_real(), ctx->world, url.path, ret, e));
        cf_store_directory_set_pace(*ret, ctx->pace);
        return CF_OK;
    }

    cf_stat st = {0};
    if (remote->ca_bundle != NULL) /* else the first request says it in libcurl's words, as if the
                                      server were at fault */
        CF_ENSURE(cf_fs_real()->ops->stat_at(cf_fs_real(), CF_FS_CWD, remote->ca_bundle, &st,
                                             /* e= */ NULL) == CF_OK,
                  e, CF_ERR_USAGE,
                  "the file of certificates '%.500s' is not there\nHINT: --ca-bundle FILE, or "
                  "AWS_CA_BUNDLE",
                  remote->ca_bundle);
    const s3_client_opts opts = {
        .bucket = url.bucket,
        .endpoint = remote->endpoint,
        .region = remote->region,
        .addressing = addressing,
        .ca_bundle = remote->ca_bundle,
        .profile = remote->aws_profile,
        .user_agent = "chunkferry/" CF_VERSION,
        .connections_max = remote->connections != 0 ? remote->connections
                           : sizes != NULL          ? sizes->connections
                                                    : 0,
        .part_bytes = sizes != NULL ? sizes->part_bytes : 0,
        .parts_in_flight_max = sizes != NULL ? sizes->parts_in_flight : 0,
        .world = ctx->world,
        .pace = ctx->pace,
        .trace = ctx->log != NULL ? trace_to_log : NULL,
        .trace_impl = (void *)(uintptr_t)ctx,
    };
    return cf_store_s3_new(&opts, url.prefix, ret, e);
}
