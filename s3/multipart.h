/* SPDX-License-Identifier: Apache-2.0
 *
 * Multipart: the four requests of an upload in parts. What is sent when, and by whom, is upload.c's
 * affair.
 */
#ifndef S3_MULTIPART_H
#define S3_MULTIPART_H

#include "s3/s3.h"
#include "s3/xml.h"

typedef struct s3_multipart {
    const char *key;
    const char *id; /* S3_ID_LEN hex digits: the metadata of the object to be */
    const char *content_type;
    bool create_only;
    char upload_id[S3_UPLOAD_ID_LEN_MAX + 1]; /* "" until created */
} s3_multipart;

CF_NODISCARD cf_err s3_multipart_create(s3_client *c, s3_multipart *m, cf_error *e);

/* One part, from memory. A good answer without ETag is tried again. */
CF_NODISCARD cf_err s3_multipart_send(s3_client *c, const s3_multipart *m, uint32_t number,
                                      cf_slice body, const uint8_t sha256[32],
                                      char ret_etag[S3_ETAG_LEN_MAX + 1], cf_error *e);

/* The commit. Waits four times as long as others for an answer: servers may take minutes. A lost
 * answer is settled by HEAD; *ret has etag and settled then. CF_ERR_EXISTS, CF_ERR_CONFLICT (all
 * parts must be sent again). *ret_unknown: it failed, the object does not stand there, and yet it
 * may come to: abort, then look again. */
CF_NODISCARD cf_err s3_multipart_complete(s3_client *c, const s3_multipart *m,
                                          const s3_xml_part *parts, size_t part_total,
                                          uint64_t size_bytes, s3_put_result *ret,
                                          bool *ret_unknown, cf_error *e);

/* 404 is success: *ret_gone is true then. last_words: also while the world is stopping, once. */
CF_NODISCARD cf_err s3_multipart_abort(s3_client *c, const char *key, const char *upload_id,
                                       bool last_words, bool *ret_gone, cf_error *e);

#endif
