/* SPDX-License-Identifier: Apache-2.0
 *
 * The XML of S3: bodies of answers in, bodies of requests out. Pure functions over bytes.
 *
 * Untrusted input. Refused with CF_ERR_PROTOCOL: a DOCTYPE, an entity of one's own, more than
 * S3_XML_DEPTH_MAX levels, S3_XML_ELEMENT_TOTAL_MAX elements or S3_XML_BODY_MAX bytes, malformed
 * XML, another root than expected, a key that is empty, has a NUL, is not UTF-8 or longer than
 * S3_KEY_LEN_MAX, a number that is none. No network, no file is opened. Namespaces are ignored
 * (compatible servers leave them out), unknown elements too. White space before the document is
 * allowed: servers send it to keep a connection open.
 *
 * Threads    pure; call s3_xml_init() once before threads start (libxml2 wants it).
 * Source     the API reference's answer syntax of each operation; s3proto.md 4.6.
 */
#ifndef S3_XML_H
#define S3_XML_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/s3.h"
#include "s3/slice.h"

enum {
    S3_XML_DEPTH_MAX = 12,             /* ours: the deepest answer we read has 5 */
    S3_XML_PATH_MAX = 512,             /* ours: names of open elements, joined */
    S3_XML_ELEMENT_TOTAL_MAX = 100000, /* ours: 1,000 entries of 20 elements, five times */
    S3_XML_TEXT_LEN_MAX =
        64 * 1024,                  /* ours: text of one element; a key has 3,072 percent-encoded */
    S3_XML_ENTRY_TOTAL_MAX = 10000, /* ours: a page has 1,000; some servers allow more */
    S3_XML_TOKEN_LEN_MAX = 4096,    /* ours: continuation token */
    S3_XML_MESSAGE_SIZE = 512,
    S3_XML_NAME_SIZE = 256,
};

/* Once per process, before threads. */
void s3_xml_init(void);

/* <Error>. A plain value; texts are cut at their size, control characters and broken UTF-8 become
 * '?'. */
typedef struct s3_xml_error {
    char code[CF_ERROR_CODE_LEN_MAX]; /* also an unknown one */
    char message[S3_XML_MESSAGE_SIZE];
    char region[64];                 /* "" unless the server tells the right one */
    char endpoint[S3_XML_NAME_SIZE]; /* "" unless a redirect tells it */
    char bucket[S3_XML_NAME_SIZE];
    char request_id[CF_ERROR_CODE_LEN_MAX];
    int64_t server_utc_ms; /* ServerTime of RequestTimeTooSkewed; 0: none */
} s3_xml_error;

/* CF_ERR_PROTOCOL when the body is not an <Error> with a <Code> (an HTML page of a proxy, say). */
CF_NODISCARD cf_err s3_xml_parse_error(cf_slice body, s3_xml_error *ret, cf_error *e);

/* One page of ListObjectsV2. Zero it; owned; slices point into text. */
typedef struct s3_xml_page {
    cf_buf text;
    s3_list_entry *entries; /* in document order: objects, then common prefixes, each sorted if the
                               server is honest */
    size_t entry_total;
    bool truncated;
    cf_slice next_token; /* opaque; empty: none */
} s3_xml_page;
void s3_xml_page_deinit(s3_xml_page *p);

/* With <EncodingType>url</EncodingType> keys and prefixes are percent-decoded. A '+' in them: a
 * server that writes spaces as %20 means a plus, every other one (AWS, MinIO) a space; a page with
 * a "%20" is of the first kind. Truncated without a token is CF_ERR_PROTOCOL. */
CF_NODISCARD cf_err s3_xml_parse_list(cf_slice body, s3_xml_page *ret, cf_error *e);

/* One page of ListMultipartUploads. Zero it; owned. */
typedef struct s3_xml_uploads {
    cf_buf text;
    s3_upload_entry *entries;
    size_t entry_total;
    bool truncated;
    cf_slice next_key_marker, next_upload_id_marker;
} s3_xml_uploads;
void s3_xml_uploads_deinit(s3_xml_uploads *u);
CF_NODISCARD cf_err s3_xml_parse_uploads(cf_slice body, s3_xml_uploads *ret, cf_error *e);

/* InitiateMultipartUploadResult. */
CF_NODISCARD cf_err s3_xml_parse_initiate(cf_slice body,
                                          char ret_upload_id[S3_UPLOAD_ID_LEN_MAX + 1],
                                          cf_error *e);

/* CompleteMultipartUploadResult under status 200, which may carry an <Error> all the same: then
 * *ret_failed is true, *ret_error has it, ret_etag is untouched, and the result is CF_OK (the body
 * was understood). */
CF_NODISCARD cf_err s3_xml_parse_complete(cf_slice body, char ret_etag[S3_ETAG_LEN_MAX + 1],
                                          bool *ret_failed, s3_xml_error *ret_error, cf_error *e);

/* VersioningConfiguration: without a <Status> the bucket never had versions. */
CF_NODISCARD cf_err s3_xml_parse_versioning(cf_slice body, bool *ret_on, cf_error *e);

/* One page of ListObjectVersions: versions and delete markers in document order, which is by key,
 * the newest first, but not by both kinds on every server. Zero it; owned. */
typedef struct s3_xml_versions {
    cf_buf text;
    s3_version_entry *entries;
    size_t entry_total;
    bool truncated;
    cf_slice next_key_marker, next_version_id_marker; /* the second may be empty */
} s3_xml_versions;
void s3_xml_versions_deinit(s3_xml_versions *v);
CF_NODISCARD cf_err s3_xml_parse_versions(cf_slice body, s3_xml_versions *ret, cf_error *e);

/* <Retention> or <LegalHold>, added to what lock says. */
CF_NODISCARD cf_err s3_xml_parse_lock(cf_slice body, s3_lock *lock, cf_error *e);
/* "GOVERNANCE", cut; what is no capital letter becomes '?'. */
void s3_xml_mode_copy(char *ret, size_t size, cf_slice text);

/* DeleteResult: the keys that could not be deleted. Zero it; owned. */
typedef struct s3_xml_deletion {
    cf_slice key, version_id, code, message; /* version_id: may be empty */
} s3_xml_deletion;
typedef struct s3_xml_deletions {
    cf_buf text;
    s3_xml_deletion *failed;
    size_t failed_total;
    size_t deleted_total; /* <Deleted> elements; 0 when asked to be quiet */
} s3_xml_deletions;
void s3_xml_deletions_deinit(s3_xml_deletions *d);
/* An <Error> root under status 200 is CF_ERR_PROTOCOL: look with s3_xml_parse_error() first. */
CF_NODISCARD cf_err s3_xml_parse_deletions(cf_slice body, s3_xml_deletions *ret, cf_error *e);

/* Bodies of requests, appended. Escaped; CF_ERR_UNSUPPORTED for a text that XML 1.0 cannot carry
 * (control characters, broken UTF-8); errors of cf_buf_append(). */
typedef struct s3_xml_part {
    uint32_t number;  /* 1..S3_PART_TOTAL_MAX, rising */
    const char *etag; /* as the server gave it, with its quotes */
} s3_xml_part;
CF_NODISCARD cf_err s3_xml_render_complete(const s3_xml_part *parts, size_t total, cf_buf *ret,
                                           cf_error *e);
/* One document of <Object>s: begin, each, end. Quiet: the answer names failures only. each appends
 * all or nothing. */
CF_NODISCARD cf_err s3_xml_delete_begin(cf_buf *ret, cf_error *e);
CF_NODISCARD cf_err s3_xml_delete_add(const char *key, const char *version_id /* NULL: none */,
                                      cf_buf *ret, cf_error *e);
CF_NODISCARD cf_err s3_xml_delete_end(cf_buf *ret, cf_error *e);
CF_NODISCARD cf_err s3_xml_render_location(const char *region, cf_buf *ret, cf_error *e);

#endif
