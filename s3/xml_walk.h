/* SPDX-License-Identifier: Apache-2.0
 *
 * Walk over an XML document: element names joined to a path, text of leaves. The engine under
 * s3/xml.c.
 */
#ifndef S3_XML_WALK_H
#define S3_XML_WALK_H

#include "s3/err.h"
#include "s3/slice.h"

typedef enum s3_xml_event {
    S3_XML_OPEN,  /* an element begins; text is empty */
    S3_XML_LEAF,  /* an element without children ended; text is its content */
    S3_XML_CLOSE, /* an element with children ended; text is empty */
} s3_xml_event;

/* path: "ListBucketResult/Contents/Key", local names. Borrowed during the call. */
typedef cf_err (*s3_xml_walk_fn)(void *impl, s3_xml_event event, const char *path, cf_slice text,
                                 cf_error *e);

/* Every event in document order. CF_ERR_PROTOCOL as told in s3/xml.h; CF_ERR_NO_MEMORY; what fn
 * returns. */
CF_NODISCARD cf_err s3_xml_walk(cf_slice body, s3_xml_walk_fn fn, void *impl, cf_error *e);

#endif
