/* SPDX-License-Identifier: Apache-2.0
 *
 * Percent-encoding as Signature V4 wants it. Everybody who puts a key or a query into a URL uses
 * this, so that what is signed is what is sent. Pure; any thread.
 *
 * Source: AWS S3 API reference "Authenticating Requests (AWS Signature Version 4)", UriEncode();
 * RFC 3986 2.3.
 */
#ifndef S3_URI_H
#define S3_URI_H

#include <stdbool.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"

/* A name and its value: a query parameter (not encoded) or a header. Borrowed. */
typedef struct s3_pair {
    cf_slice name, value;
} s3_pair;

/* Append s: A-Z a-z 0-9 - . _ ~ stay (and '/' when keep_slash), every other byte becomes %XX in
 * capitals; a space %20. keep_slash: true for keys in a path, false for query names and values.
 * Errors as cf_buf_append(). */
CF_NODISCARD cf_err s3_uri_encode(cf_slice s, bool keep_slash, cf_buf *ret, cf_error *e);

/* Append the decoded bytes. '+' is a space when plus_is_space. CF_ERR_PARSE for a '%' without two
 * hex digits; *ret then has what came before it. */
CF_NODISCARD cf_err s3_uri_decode(cf_slice s, bool plus_is_space, cf_buf *ret, cf_error *e);

/* Append the pairs as "name=value&..." in the order of Signature V4: encoded, sorted by encoded
 * name, then by encoded value, bytewise; an empty value keeps its '='. This is also the form to put
 * into the URL. */
CF_NODISCARD cf_err s3_uri_render_query(const s3_pair *pairs, size_t total, cf_buf *ret,
                                        cf_error *e);

typedef enum s3_uri_path {
    S3_URI_PATH_S3,      /* decode, encode once; no normalisation: "//", "/./" and "/../" stay */
    S3_URI_PATH_GENERIC, /* dot segments and doubled slashes go (RFC 3986 5.2.4), then the wire form
                            is encoded again */
    S3_URI_PATH_GENERIC_RAW, /* encoded again, without normalisation */
} s3_uri_path;

/* Append the canonical form of a path as it stands on the wire; an empty path is "/". */
CF_NODISCARD cf_err s3_uri_render_path(cf_slice wire_path, s3_uri_path how, cf_buf *ret,
                                       cf_error *e);

#endif
