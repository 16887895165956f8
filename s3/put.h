/* SPDX-License-Identifier: Apache-2.0
 *
 * Put, inside: what PutObject and the multipart upload share, above all the settling of lost
 * answers.
 */
#ifndef S3_PUT_H
#define S3_PUT_H

#include "s3/s3.h"

/* opts->id checked, or a random one. CF_ERR_USAGE. opts may be NULL. */
CF_NODISCARD cf_err s3_put_id(s3_client *c, const s3_put_opts *opts, char ret[S3_ID_LEN + 1],
                              cf_error *e);
const char *s3_put_content_type(const s3_put_opts *opts); /* opts may be NULL */

/* A write that failed although it may have been carried out. */
typedef struct s3_settle {
    const char *key, *id;
    uint64_t size_bytes;
    cf_err failed; /* what the write returned; e holds its story */
    int status;    /* last status of the write */
    bool maybe_done;
    bool create_only;
} s3_settle;

/* HEAD, and compare x-amz-meta-chunkferry-id. CF_OK: ours stands there; result->etag and ->settled
 * are set. CF_ERR_EXISTS: another's, and create_only. CF_ERR_UNKNOWN: nothing there, but the write
 * may still be under way; or the HEAD failed. CF_ERR_DAMAGE: our id with another size.
 * CF_ERR_INTERRUPTED. Else failed, with e as it was. */
CF_NODISCARD cf_err s3_put_settle(s3_client *c, const s3_settle *s, s3_put_result *result,
                                  cf_error *e);

#endif
