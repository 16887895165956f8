/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk, over libxml2's reader: it keeps one branch of the document, never the tree.
 *
 * Why a reader and no SAX: the caller's errors end the loop by return, without flags in callbacks.
 */
#include "s3/xml_walk.h"

#include <libxml/parser.h>
#include <libxml/xmlreader.h>

#include "s3/base/cleanup.h"
#include "s3/buf.h"
#include "s3/xml.h"

typedef struct walk {
    char path[S3_XML_PATH_MAX];
    size_t path_len;
    size_t name_at[S3_XML_DEPTH_MAX + 1]; /* path length before each open element */
    int depth;
    unsigned element_total;
    bool leaf;   /* no child since the last open */
    cf_buf text; /* of the innermost element */
    s3_xml_walk_fn fn;
    void *impl;
} walk;

static void walk_deinit(walk *w)
{
    cf_buf_deinit(&w->text);
}

static void reader_freep(xmlTextReaderPtr *reader)
{
    xmlFreeTextReader(*reader); /* NULL is fine */
}

/* The parser's own words go nowhere but here: it would print them to stderr otherwise. */
static void reader_error(void *impl, xmlErrorPtr error)
{
    int *const line = impl;
    if (*line == 0)
        *line = error->line > 0 ? error->line : 1;
}

void s3_xml_init(void)
{
    xmlInitParser();
}

static cf_err walk_open(walk *w, const xmlChar *name, cf_error *e)
{
    const size_t len = strlen((const char *)name);
    CF_ENSURE(++w->element_total <= S3_XML_ELEMENT_TOTAL_MAX, e, CF_ERR_PROTOCOL,
              "the XML has more than the %d elements allowed", S3_XML_ELEMENT_TOTAL_MAX);
    CF_ENSURE(w->depth < S3_XML_DEPTH_MAX, e, CF_ERR_PROTOCOL,
              "the XML is deeper than the %d levels allowed", S3_XML_DEPTH_MAX);
    CF_ENSURE(len + 2 <= sizeof(w->path) - w->path_len, e, CF_ERR_PROTOCOL,
              "the XML's element names have more than the %d bytes allowed", S3_XML_PATH_MAX);
    w->name_at[w->depth++] = w->path_len;
    if (w->path_len > 0)
        w->path[w->path_len++] = '/';
    memcpy(w->path + w->path_len, name, len + 1);
    w->path_len += len;
    w->leaf = true;
    cf_buf_clear(&w->text);
    return w->fn(w->impl, S3_XML_OPEN, w->path, cf_slice_of(NULL, 0), e);
}

static cf_err walk_close(walk *w, cf_error *e)
{
    CF_ENSURE(w->depth > 0, e, CF_ERR_PROTOCOL, "the XML ends an element that did not begin");
    const cf_slice text = w->leaf ? cf_buf_slice(&w->text) : cf_slice_of(NULL, 0);
    CF_TRY(w->fn(w->impl, w->leaf ? S3_XML_LEAF : S3_XML_CLOSE, w->path, text, e));
    w->path_len = w->name_at[--w->depth];
    w->path[w->path_len] = '\0';
    w->leaf = false;
    cf_buf_clear(&w->text);
    return CF_OK;
}

static cf_err walk_text(walk *w, const xmlChar *text, cf_error *e)
{
    const cf_slice s = cf_slice_str((const char *)text);
    CF_ENSURE(s.len <= w->text.max - w->text.len, e, CF_ERR_PROTOCOL,
              "the text of an XML element has more than the %d bytes allowed", S3_XML_TEXT_LEN_MAX);
    return cf_buf_append(&w->text, s, e);
}

static cf_err walk_node(walk *w, xmlTextReaderPtr reader, cf_error *e)
{
    switch (xmlTextReaderNodeType(reader)) {
    case XML_READER_TYPE_ELEMENT: {
        const bool empty = xmlTextReaderIsEmptyElement(reader) == 1;
        CF_TRY(walk_open(w, xmlTextReaderConstLocalName(reader), e));
        return empty ? walk_close(w, e) : CF_OK;
    }
    case XML_READER_TYPE_END_ELEMENT:
        return walk_close(w, e);
    case XML_READER_TYPE_TEXT:
    case XML_READER_TYPE_CDATA:
    case XML_READER_TYPE_WHITESPACE:
    case XML_READER_TYPE_SIGNIFICANT_WHITESPACE:
        return walk_text(w, xmlTextReaderConstValue(reader), e);
    case XML_READER_TYPE_DOCUMENT_TYPE:
        CF_FAIL(e, CF_ERR_PROTOCOL, "the XML has a DOCTYPE");
    case XML_READER_TYPE_ENTITY_REFERENCE:
        CF_FAIL(e, CF_ERR_PROTOCOL, "the XML refers to an entity");
    default:
        return CF_OK; /* comments, processing instructions, the declaration */
    }
}

cf_err s3_xml_walk(cf_slice body, s3_xml_walk_fn fn, void *impl, cf_error *e)
{
    static const char doctype[] = "<!DOCTYPE";
    cf_slice doc = body;
    while (doc.len > 0 &&
           (doc.ptr[0] == ' ' || doc.ptr[0] == '\n' || doc.ptr[0] == '\r' || doc.ptr[0] == '\t')) {
        doc.ptr++;
        doc.len--;
    }
    CF_ENSURE(doc.len > 0, e, CF_ERR_PROTOCOL, "the XML is empty");
    CF_ENSURE(doc.len <= S3_XML_BODY_MAX, e, CF_ERR_PROTOCOL,
              "the XML has %zu bytes, %u are allowed", doc.len, S3_XML_BODY_MAX);
    /* Before libxml2 sees it: S3 escapes '<' in every text, so these bytes can be nothing else. */
    CF_ENSURE(memmem(doc.ptr, doc.len, doctype, sizeof(doctype) - 1) == NULL, e, CF_ERR_PROTOCOL,
              "the XML has a DOCTYPE");

    int error_line = 0;
    CF_CLEANUP(reader_freep)
    xmlTextReaderPtr reader =
        xmlReaderForMemory((const char *)doc.ptr, (int)doc.len, /* URL= */ NULL, "UTF-8",
                           XML_PARSE_NONET | XML_PARSE_NOCDATA | XML_PARSE_COMPACT);
    CF_ENSURE(reader != NULL, e, CF_ERR_NO_MEMORY, "allocate an XML reader");
    xmlTextReaderSetStructuredErrorHandler(reader, reader_error, &error_line);

    CF_CLEANUP(walk_deinit) walk w = {.fn = fn, .impl = impl};
    cf_buf_init(&w.text, S3_XML_TEXT_LEN_MAX);
    int more = 1;
    while ((more = xmlTextReaderRead(reader)) == 1)
        CF_TRY(walk_node(&w, reader, e));
    CF_ENSURE(more == 0, e, CF_ERR_PROTOCOL, "the XML is malformed in line %d",
              error_line == 0 ? 1 : error_line);
    return CF_OK;
}
