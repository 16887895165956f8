/* SPDX-License-Identifier: Apache-2.0
 *
 * Object: what the headers of an answer say about an object. Shared by HEAD, GET and the settling
 * of lost answers.
 */
#ifndef S3_OBJECT_H
#define S3_OBJECT_H

#include "s3/http.h"
#include "s3/s3.h"

#define S3_ID_HEADER "x-amz-meta-chunkferry-id"

/* ETag as sent, quotes included. CF_ERR_PROTOCOL: missing or longer than S3_ETAG_LEN_MAX. */
CF_NODISCARD cf_err s3_object_etag(const s3_http_answer *a, char ret[S3_ETAG_LEN_MAX + 1],
                                   cf_error *e);
/* Content-Length. CF_ERR_PROTOCOL: missing or no number. */
CF_NODISCARD cf_err s3_object_length(const s3_http_answer *a, uint64_t *ret, cf_error *e);
/* Everything but the size, which depends on the kind of answer. */
CF_NODISCARD cf_err s3_object_of_headers(const s3_http_answer *a, s3_object *ret, cf_error *e);

typedef struct s3_content_range {
    uint64_t first, last, total; /* "bytes first-last/total" */
} s3_content_range;
/* Pure. false: malformed, or first > last, or last >= total. */
bool s3_content_range_parse(cf_slice text, s3_content_range *ret);

/* Whose object stands at key? *ret is the object when it is not absent. */
typedef enum s3_standing { S3_STANDING_OURS, S3_STANDING_OTHER, S3_STANDING_ABSENT } s3_standing;
CF_NODISCARD cf_err s3_object_standing(s3_client *c, const char *key, const char *id,
                                       s3_standing *ret_standing, s3_object *ret, cf_error *e);

#endif
