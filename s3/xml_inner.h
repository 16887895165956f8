/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parsers of answers share (s3/xml.c, s3/xml_versions.c); nobody else includes it.
 */
#ifndef S3_XML_INNER_H
#define S3_XML_INNER_H

#include "s3/buf.h"
#include "s3/xml_walk.h"

/* "A/B" of a path "A/B/C" is the parent; this is "does path name field under parent". */
bool s3_xml_path_is(const char *path, const char *parent, const char *field);
/* CF_ERR_PROTOCOL when the first element is another than root. */
CF_NODISCARD cf_err s3_xml_root_check(s3_xml_event event, const char *path, const char *root,
                                      cf_error *e);
CF_NODISCARD cf_err s3_xml_bool(cf_slice text, const char *field, bool *ret, cf_error *e);
CF_NODISCARD cf_err s3_xml_time(cf_slice text, const char *field, int64_t *ret, cf_error *e);

/* Room for all of a body: its text is kept in one piece that never moves, since neither entities
 * nor percent signs decode to more than they were. */
CF_NODISCARD cf_err s3_xml_keep_init(cf_buf *text, cf_slice body, cf_error *e);
cf_slice s3_xml_keep(cf_buf *text, cf_slice s);
/* Another element behind total ones; cap follows from total: powers of two. */
CF_NODISCARD cf_err s3_xml_rows_grow(void **rows, size_t total, size_t size, cf_error *e);

/* Percent-decode in place: the bytes of s lie in text, which is the result's own. */
CF_NODISCARD cf_err s3_xml_key_decode(cf_buf *text, cf_slice *s, bool plus_is_space, cf_error *e);
/* A key or a common prefix as s3/xml.h promises it. */
CF_NODISCARD cf_err s3_xml_key_check(cf_slice key, cf_error *e);
bool s3_xml_has_encoded_space(cf_slice s);

#endif
