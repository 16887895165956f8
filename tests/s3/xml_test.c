/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of S3: what is read, and as many bodies that are refused, with their words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/xml.h"

#define DECL        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS          " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define OBJECT(key) "<Contents><Key>" key "</Key><Size>1</Size></Contents>"
#define LIST(body)  "<ListBucketResult>" body "</ListBucketResult>"

static cf_slice repeat(cf_buf *b, const char *head, const char *unit, size_t times,
                       const char *tail)
{
    cf_buf_init(b, S3_XML_BODY_MAX + 4096);
    assert_int_equal(cf_buf_append_str(b, head, NULL), CF_OK);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(cf_buf_append_str(b, unit, NULL), CF_OK);
    assert_int_equal(cf_buf_append_str(b, tail, NULL), CF_OK);
    return cf_buf_slice(b);
}

static bool slice_is(cf_slice s, const char *text)
{
    return cf_slice_eq(s, cf_slice_str(text));
}

/* ---- lists ---- */

static void test_list(void **state)
{
    (void)state;
    static const char body[] =
        "\n  " DECL "<ListBucketResult" NS
        "><Name>b</Name><Prefix>p</Prefix><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys>"
        "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>1+/"
        "=</"
        "NextContinuationToken>"
        "<Contents><Key>p%2Fa+b%2Bc%C3%A9</Key><LastModified>2026-11-21T14:31:00.000Z</"
        "LastModified>"
        "<ETag>&quot;abc&quot;</ETag><Size>5497558138880</Size><Owner><ID>x</ID></Owner>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        "<CommonPrefixes><Prefix>p%2Fd%2F</Prefix></CommonPrefixes></ListBucketResult>\n";
    CF_CLEANUP(s3_xml_page_deinit) s3_xml_page p = {0};
    assert_int_equal(s3_xml_parse_list(cf_slice_str(body), &p, NULL), CF_OK);
    assert_int_equal(p.entry_total, 2);
    assert_true(p.truncated);
    assert_true(slice_is(p.next_token, "1+/="));
    assert_true(slice_is(p.entries[0].key, "p/a b+c\xC3\xA9"));
    assert_true(slice_is(p.entries[0].etag, "\"abc\""));
    assert_true(p.entries[0].size_bytes == 5497558138880u);
    assert_true(p.entries[0].modified_utc_ms == 1795271460000);
    assert_false(p.entries[0].is_prefix);
    assert_true(slice_is(p.entries[1].key, "p/d/"));
    assert_true(p.entries[1].is_prefix);
}

typedef struct key_case {
    const char *title, *body, *key;
} key_case;

static const key_case key_cases[] = {
    {"no encoding: percent and plus are themselves", LIST(OBJECT("a%2Fb+c")), "a%2Fb+c"},
    {"encoded, with %20: a plus is a plus",
     LIST("<EncodingType>url</EncodingType>" OBJECT("a%20b+c")), "a b+c"},
    {"encoded, without %20: a plus is a space",
     LIST("<EncodingType>url</EncodingType>" OBJECT("a+b")), "a b"},
    {"the encoding told behind the keys", LIST(OBJECT("a%2Fb") "<EncodingType>url</EncodingType>"),
     "a/b"},
    {"entities", LIST(OBJECT("&lt;&amp;&#x41;&#66;&gt;")), "<&AB>"},
    {"CDATA", LIST(OBJECT("<![CDATA[a&b]]>")), "a&b"},
    {"another prefix of the namespace",
     "<x:ListBucketResult xmlns:x=\"u\"><x:Contents><x:Key>k</x:Key><x:Size>0</x:Size>"
     "</x:Contents></x:ListBucketResult>",
     "k"},
    {"a comment inside", LIST(OBJECT("a<!-- c -->b")), "ab"},
    {"unknown elements", LIST("<New><Key>no</Key></New>" OBJECT("k") "<New2/>"), "k"},
};

static void test_list_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(key_cases) / sizeof(key_cases[0]); i++) {
        CF_CLEANUP(s3_xml_page_deinit) s3_xml_page p = {0};
        cf_error e = {0};
        if (s3_xml_parse_list(cf_slice_str(key_cases[i].body), &p, &e) != CF_OK ||
            p.entry_total != 1 || !slice_is(p.entries[0].key, key_cases[i].key))
            fail_msg("%s: %s", key_cases[i].title, e.message);
    }
}

typedef struct refused_case {
    const char *title, *body, *message;
} refused_case;

static const refused_case list_refused[] = {
    {"nothing", "", "the XML is empty"},
    {"white space", " \n\t", "the XML is empty"},
    {"no XML", "Service Unavailable", "the XML is malformed in line 1"},
    {"a page of a proxy", "<html><body>502</body></html>",
     "the XML's root is 'html', not 'ListBucketResult'"},
    {"cut off", "<ListBucketResult>\n<Contents>", "the XML is malformed in line 2"},
    {"two roots", LIST("") LIST(""), "the XML is malformed in line 1"},
    {"a DOCTYPE", "<!DOCTYPE a [<!ENTITY b \"c\">]>" LIST(OBJECT("&b;")), "the XML has a DOCTYPE"},
    {"an external DOCTYPE",
     "<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM \"file:///etc/passwd\">" LIST(""),
     "the XML has a DOCTYPE"},
    {"an unknown entity", LIST(OBJECT("&nbsp;")), "the XML is malformed in line 1"},
    {"a NUL by reference", LIST(OBJECT("a&#0;")), "the XML is malformed in line 1"},
    {"a NUL by percent", LIST("<EncodingType>url</EncodingType>" OBJECT("a%00")),
     "a key has a NUL in it"},
    {"broken UTF-8", LIST(OBJECT("a\xC3(")), "the XML is malformed in line 1"},
    {"broken UTF-8 by percent", LIST("<EncodingType>url</EncodingType>" OBJECT("a%FF")),
     "a key is not UTF-8"},
    {"a percent sign alone", LIST("<EncodingType>url</EncodingType>" OBJECT("a%")),
     "a key is not percent-encoded as it claims to be"},
    {"an empty key", LIST(OBJECT("")), "a key is empty"},
    {"no key", LIST("<Contents><Size>1</Size></Contents>"), "a key is empty"},
    {"no size", LIST("<Contents><Key>k</Key></Contents>"), "an object in the list has no size"},
    {"an empty object", LIST("<Contents/>"), "an object in the list has no key"},
    {"a negative size", LIST("<Contents><Key>k</Key><Size>-1</Size></Contents>"),
     "the size of an object is no number"},
    {"a size of 2^64", LIST("<Contents><Key>k</Key><Size>18446744073709551616</Size></Contents>"),
     "the size of an object is no number"},
    {"a time that is none", LIST("<Contents><LastModified>today</LastModified></Contents>"),
     "LastModified is no time"},
    {"truncated perhaps", LIST("<IsTruncated>yes</IsTruncated>"),
     "IsTruncated is neither true nor false"},
    {"truncated without a token", LIST("<IsTruncated>true</IsTruncated>"),
     "the list goes on, but the answer has no token"},
    {"too deep",
     LIST("<a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a></a></a></a>"),
     "the XML is deeper than the 12 levels allowed"},
};

static void test_list_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(list_refused) / sizeof(list_refused[0]); i++) {
        CF_CLEANUP(s3_xml_page_deinit) s3_xml_page p = {0};
        cf_error e = {0};
        const cf_err err = s3_xml_parse_list(cf_slice_str(list_refused[i].body), &p, &e);
        if (err != CF_ERR_PROTOCOL || strcmp(e.message, list_refused[i].message) != 0)
            fail_msg("%s: %s '%s'", list_refused[i].title, cf_err_name(err), e.message);
        assert_null(p.entries);
    }
}

typedef struct size_case {
    const char *title, *head, *unit;
    size_t times;
    const char *tail;
    cf_err err;
} size_case;

static const size_case size_cases[] = {
    {"a key of 1,024 bytes", "<ListBucketResult><Contents><Key>", "k", S3_KEY_LEN_MAX,
     "</Key><Size>1</Size></Contents></ListBucketResult>", CF_OK},
    {"one more", "<ListBucketResult><Contents><Key>", "k", S3_KEY_LEN_MAX + 1,
     "</Key><Size>1</Size></Contents></ListBucketResult>", CF_ERR_PROTOCOL},
    {"10,000 entries", "<ListBucketResult>", OBJECT("k"), S3_XML_ENTRY_TOTAL_MAX,
     "</ListBucketResult>", CF_OK},
    {"one more", "<ListBucketResult>", OBJECT("k"), S3_XML_ENTRY_TOTAL_MAX + 1,
     "</ListBucketResult>", CF_ERR_PROTOCOL},
    {"100,000 elements", "<ListBucketResult>", "<a/>", S3_XML_ELEMENT_TOTAL_MAX - 1,
     "</ListBucketResult>", CF_OK},
    {"one more", "<ListBucketResult>", "<a/>", S3_XML_ELEMENT_TOTAL_MAX, "</ListBucketResult>",
     CF_ERR_PROTOCOL},
    {"a text of 64 KiB", "<ListBucketResult><a>", "x", S3_XML_TEXT_LEN_MAX,
     "</a></ListBucketResult>", CF_OK},
    {"one more", "<ListBucketResult><a>", "x", S3_XML_TEXT_LEN_MAX + 1, "</a></ListBucketResult>",
     CF_ERR_PROTOCOL},
    {"16 MiB", "<ListBucketResult>", " ", S3_XML_BODY_MAX, "</ListBucketResult>", CF_ERR_PROTOCOL},
};

static void test_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(size_cases) / sizeof(size_cases[0]); i++) {
        const size_case *const c = &size_cases[i];
        CF_CLEANUP(s3_xml_page_deinit) s3_xml_page p = {0};
        CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
        cf_error e = {0};
        const cf_err err =
            s3_xml_parse_list(repeat(&b, c->head, c->unit, c->times, c->tail), &p, &e);
        if (err != c->err)
            fail_msg("%s: %s %s", c->title, cf_err_name(err), e.message);
    }
}

/* ---- errors ---- */

static void test_error(void **state)
{
    (void)state;
    s3_xml_error error = {0};
    static const char redirect[] =
        DECL "<Error><Code>PermanentRedirect</Code><Message>use\nthe \x1b"
             "other</Message>"
             "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint><Bucket>b</"
             "Bucket><Region>eu-west-1</Region>"
             "<RequestId>R1</RequestId></Error>";
    /* ESC is no XML character: the whole is refused, as libxml2 does. */
    assert_int_equal(s3_xml_parse_error(cf_slice_str(redirect), &error, NULL), CF_ERR_PROTOCOL);
    static const char good[] =
        "<Error><Code>RequestTimeTooSkewed</Code><Message>a\nb&#x9B;c</Message><Region>eu-west-1</"
        "Region>"
        "<RequestId>R1</RequestId><ServerTime>2026-11-21T14:31:00Z</ServerTime></Error>";
    assert_int_equal(s3_xml_parse_error(cf_slice_str(good), &error, NULL), CF_OK);
    assert_string_equal(error.code, "RequestTimeTooSkewed");
    assert_string_equal(error.message, "a b??c");
    assert_string_equal(error.region, "eu-west-1");
    assert_string_equal(error.request_id, "R1");
    assert_true(error.server_utc_ms == 1795271460000);
    static const char sts[] =
        "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>m</Message>"
        "</Error><RequestId>R2</RequestId></ErrorResponse>";
    assert_int_equal(s3_xml_parse_error(cf_slice_str(sts), &error, NULL), CF_OK);
    assert_string_equal(error.code, "ExpiredToken");
    assert_string_equal(error.request_id, "R2");
    assert_string_equal(error.region, "");
}

static void test_error_refused(void **state)
{
    (void)state;
    static const refused_case cases[] = {
        {"no code", "<Error><Message>m</Message></Error>", "the error has no code"},
        {"an empty code", "<Error><Code/></Error>", "the error has no code"},
        {"another root", "<Errors><Code>a</Code></Errors>",
         "the XML's root is 'Errors', not 'Error'"},
        {"a code too deep", "<Error><a><Code>a</Code></a></Error>", "the error has no code"},
        {"text", "AccessDenied", "the XML is malformed in line 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s3_xml_error error = {.code = "untouched"};
        cf_error e = {0};
        assert_int_equal(s3_xml_parse_error(cf_slice_str(cases[i].body), &error, &e),
                         CF_ERR_PROTOCOL);
        assert_string_equal(e.message, cases[i].message);
        assert_string_equal(error.code, "untouched");
    }
    /* A code longer than its room is cut, not refused: its text is for people. */
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    s3_xml_error error = {0};
    assert_int_equal(
        s3_xml_parse_error(repeat(&b, "<Error><Code>", "c", 100, "</Code></Error>"), &error, NULL),
        CF_OK);
    assert_int_equal(strlen(error.code), CF_ERROR_CODE_LEN_MAX - 1);
}

/* ---- multipart ---- */

static void test_multipart(void **state)
{
    (void)state;
    char id[S3_UPLOAD_ID_LEN_MAX + 1] = "untouched";
    char etag[S3_ETAG_LEN_MAX + 1] = "untouched";
    bool failed = true;
    s3_xml_error error = {0};
    cf_error e = {0};
    assert_int_equal(
        s3_xml_parse_initiate(
            cf_slice_str("<InitiateMultipartUploadResult><Bucket>b</Bucket><UploadId>u/"
                         "+=</UploadId></InitiateMultipartUploadResult>"),
            id, &e),
        CF_OK);
    assert_string_equal(id, "u/+=");
    assert_int_equal(
        s3_xml_parse_initiate(cf_slice_str("<InitiateMultipartUploadResult/>"), id, &e),
        CF_ERR_PROTOCOL);
    assert_string_equal(e.message, "the answer has no UploadId");
    assert_int_equal(
        s3_xml_parse_initiate(cf_slice_str("<InitiateMultipartUploadResult><UploadId>a\nb</"
                                           "UploadId></InitiateMultipartUploadResult>"),
                              id, &e),
        CF_ERR_PROTOCOL);
    assert_string_equal(e.message, "UploadId has a control character");
    assert_string_equal(id, "u/+=");

    assert_int_equal(
        s3_xml_parse_complete(
            cf_slice_str("   \n \n" DECL "<CompleteMultipartUploadResult" NS
                         "><ETag>&quot;a-2&quot;</ETag></CompleteMultipartUploadResult>"),
            etag, &failed, &error, &e),
        CF_OK);
    assert_false(failed);
    assert_string_equal(etag, "\"a-2\"");
    assert_int_equal(
        s3_xml_parse_complete(
            cf_slice_str("\n\n<Error><Code>InternalError</Code><Message>again</Message></Error>"),
            etag, &failed, &error, &e),
        CF_OK);
    assert_true(failed);
    assert_string_equal(error.code, "InternalError");
    assert_string_equal(etag, "\"a-2\"");
    assert_int_equal(s3_xml_parse_complete(cf_slice_str("   "), etag, &failed, &error, &e),
                     CF_ERR_PROTOCOL);
    assert_int_equal(s3_xml_parse_complete(cf_slice_str("<CompleteMultipartUploadResult/>"), etag,
                                           &failed, &error, &e),
                     CF_ERR_PROTOCOL);
    assert_string_equal(e.message, "the answer has no ETag");
}

static void test_uploads(void **state)
{
    (void)state;
#define UPLOAD                                                                                     \
    "<Upload><Key>a%2Fb</Key><UploadId>u</UploadId><Initiated>2026-11-21T14:31:00.000Z</"          \
    "Initiated></Upload>"
#define UPLOADS(body)                                                                              \
    "<ListMultipartUploadsResult><EncodingType>url</EncodingType>" body                            \
    "</ListMultipartUploadsResult>"
    CF_CLEANUP(s3_xml_uploads_deinit) s3_xml_uploads u = {0};
    cf_error e = {0};
    assert_int_equal(
        s3_xml_parse_uploads(
            cf_slice_str(UPLOADS(
                UPLOAD UPLOAD "<IsTruncated>true</IsTruncated><NextKeyMarker>a%2Fb</NextKeyMarker>"
                              "<NextUploadIdMarker>u</NextUploadIdMarker>")),
            &u, &e),
        CF_OK);
    assert_int_equal(u.entry_total, 2);
    assert_true(slice_is(u.entries[1].key, "a/b"));
    assert_true(slice_is(u.entries[1].upload_id, "u"));
    assert_true(slice_is(u.next_key_marker, "a/b"));
    assert_true(u.entries[0].initiated_utc_ms == 1795271460000);
    static const refused_case cases[] = {
        {"no id", UPLOADS("<Upload><Key>k</Key></Upload>"), "an upload has no id"},
        {"no key", UPLOADS("<Upload><UploadId>k</UploadId></Upload>"), "a key is empty"},
        {"no marker", UPLOADS("<IsTruncated>true</IsTruncated>"),
         "the list goes on, but the answer has no marker"},
        {"another answer", LIST(""),
         "the XML's root is 'ListBucketResult', not 'ListMultipartUploadsResult'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(s3_xml_parse_uploads(cf_slice_str(cases[i].body), &u, &e),
                         CF_ERR_PROTOCOL);
        assert_string_equal(e.message, cases[i].message);
        assert_int_equal(u.entry_total, 2);
    }
}

static void test_deletions(void **state)
{
    (void)state;
    CF_CLEANUP(s3_xml_deletions_deinit) s3_xml_deletions d = {0};
    cf_error e = {0};
    assert_int_equal(s3_xml_parse_deletions(cf_slice_str("<DeleteResult/>"), &d, &e), CF_OK);
    assert_int_equal(d.failed_total, 0);
    assert_int_equal(
        s3_xml_parse_deletions(
            cf_slice_str(
                "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</"
                "Key><Code>AccessDenied</Code><Message>m</Message></Error></DeleteResult>"),
            &d, &e),
        CF_OK);
    assert_int_equal(d.deleted_total, 1);
    assert_int_equal(d.failed_total, 1);
    assert_true(slice_is(d.failed[0].key, "b"));
    assert_true(slice_is(d.failed[0].code, "AccessDenied"));
    assert_int_equal(
        s3_xml_parse_deletions(
            cf_slice_str("<DeleteResult><Error><Key>b</Key></Error></DeleteResult>"), &d, &e),
        CF_ERR_PROTOCOL);
    assert_string_equal(e.message, "a failed deletion has no code");
    assert_int_equal(
        s3_xml_parse_deletions(
            cf_slice_str("<DeleteResult><Error><Code>c</Code></Error></DeleteResult>"), &d, &e),
        CF_ERR_PROTOCOL);
    assert_string_equal(e.message, "a key is empty");
    assert_int_equal(s3_xml_parse_deletions(cf_slice_str("<Error><Code>c</Code></Error>"), &d, &e),
                     CF_ERR_PROTOCOL);
}

/* ---- versions and locks ---- */

static void test_versions(void **state)
{
    (void)state;
    static const char body[] =
        "<ListVersionsResult" NS "><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
        "<KeyMarker/><NextKeyMarker>b%2Fc</NextKeyMarker>"
        "<NextVersionIdMarker>v3</NextVersionIdMarker>"
        "<Version><Key>a%20b</Key><VersionId>null</VersionId><Owner><ID>Key</ID></Owner></Version>"
        "<DeleteMarker><VersionId>v2</VersionId><Key>b</Key></DeleteMarker>"
        "<Version><Key>b%2Fc</Key><VersionId>v3</VersionId></Version></ListVersionsResult>";
    static const refused_case refused[] = {
        {"no id", "<ListVersionsResult><Version><Key>k</Key></Version></ListVersionsResult>",
         "a version has no id"},
        {"no key",
         "<ListVersionsResult><Version><VersionId>v</VersionId></Version></ListVersionsResult>",
         "a key is empty"},
        {"an empty entry", "<ListVersionsResult><DeleteMarker/></ListVersionsResult>",
         "a key is empty"},
        {"no marker", "<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>",
         "the list goes on, but the answer has no marker"},
        {"another root", "<ListBucketResult/>",
         "the XML's root is 'ListBucketResult', not 'ListVersionsResult'"},
    };
    CF_CLEANUP(s3_xml_versions_deinit) s3_xml_versions v = {0};
    cf_error e = {0};
    assert_int_equal(s3_xml_parse_versions(cf_slice_str(body), &v, &e), CF_OK);
    assert_int_equal(v.entry_total, 3);
    assert_true(cf_slice_eq(v.entries[0].key, cf_slice_str("a b")));
    assert_true(cf_slice_eq(v.entries[0].version_id, cf_slice_str("null")));
    assert_false(v.entries[0].is_marker);
    assert_true(cf_slice_eq(v.entries[1].key, cf_slice_str("b")));
    assert_true(v.entries[1].is_marker);
    assert_true(v.truncated);
    assert_true(cf_slice_eq(v.next_key_marker, cf_slice_str("b/c")));
    assert_true(cf_slice_eq(v.next_version_id_marker, cf_slice_str("v3")));
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_equal(s3_xml_parse_versions(cf_slice_str(refused[i].body), &v, &e),
                         CF_ERR_PROTOCOL);
        assert_string_equal(e.message, refused[i].message);
    }
    assert_int_equal(v.entry_total, 3); /* untouched */
}

static void test_versioning(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool on;
    } rows[] = {
        {"<VersioningConfiguration" NS "/>", false},
        {"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", true},
        {"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool on = !rows[i].on;
        assert_int_equal(s3_xml_parse_versioning(cf_slice_str(rows[i].body), &on, NULL), CF_OK);
        assert_int_equal(on, rows[i].on);
    }
}

static void test_lock(void **state)
{
    (void)state;
    s3_lock lock = {0};
    cf_error e = {0};
    assert_int_equal(
        s3_xml_parse_lock(
            cf_slice_str("<Retention><Mode>COMPLIANCE</Mode>"
                         "<RetainUntilDate>2027-01-01T00:00:00.123Z</RetainUntilDate></Retention>"),
            &lock, &e),
        CF_OK);
    assert_int_equal(
        s3_xml_parse_lock(cf_slice_str("<LegalHold><Status>ON</Status></LegalHold>"), &lock, &e),
        CF_OK);
    assert_string_equal(lock.mode, "COMPLIANCE");
    assert_int_equal(lock.retain_until_utc_ms, 1798761600123);
    assert_true(lock.legal_hold);
    assert_int_equal(
        s3_xml_parse_lock(
            cf_slice_str("<Retention><RetainUntilDate>soon</RetainUntilDate></Retention>"), &lock,
            &e),
        CF_ERR_PROTOCOL);
    assert_string_equal(e.message, "RetainUntilDate is no time");
    assert_int_equal(s3_xml_parse_lock(cf_slice_str("<Error/>"), &lock, &e), CF_ERR_PROTOCOL);
}

/* ---- requests ---- */

static void test_render(void **state)
{
    (void)state;
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    const char *text = NULL;
    cf_buf_init(&b, 4096);
    const s3_xml_part parts[] = {{1, "\"a\""}, {2, "b<&>'"}};
    assert_int_equal(s3_xml_render_complete(parts, 2, &b, NULL), CF_OK);
    assert_int_equal(cf_buf_get_str(&b, &text, NULL), CF_OK);
    assert_string_equal(text, "<CompleteMultipartUpload" NS
                              "><Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>"
                              "<Part><PartNumber>2</PartNumber><ETag>b&lt;&amp;&gt;&apos;</ETag></"
                              "Part></CompleteMultipartUpload>");
    cf_buf_clear(&b);
    assert_int_equal(s3_xml_delete_begin(&b, NULL), CF_OK);
    assert_int_equal(s3_xml_delete_add("a\r\n\t", "v<1", &b, NULL), CF_OK);
    assert_int_equal(s3_xml_delete_add("\x01", NULL, &b, NULL), CF_ERR_UNSUPPORTED);
    assert_int_equal(s3_xml_delete_add("\xC3\xA9", NULL, &b, NULL), CF_OK);
    assert_int_equal(s3_xml_delete_end(&b, NULL), CF_OK);
    assert_int_equal(cf_buf_get_str(&b, &text, NULL), CF_OK);
    assert_string_equal(text, "<Delete" NS "><Quiet>true</Quiet><Object><Key>a&#xD;&#xA;&#x9;</"
                              "Key><VersionId>v&lt;1</VersionId></Object><Object><Key>\xC3\xA9"
                              "</Key></Object></Delete>");
    cf_buf_clear(&b);
    assert_int_equal(s3_xml_render_location("eu-west-1", &b, NULL), CF_OK);
    assert_int_equal(cf_buf_get_str(&b, &text, NULL), CF_OK);
    assert_string_equal(
        text, "<CreateBucketConfiguration" NS
              "><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>");
}

static void test_render_refused(void **state)
{
    (void)state;
    static const refused_case cases[] = {
        {"a control character", "a\x01",
         "a text with the control character 0x01 cannot be sent as XML"},
        {"broken UTF-8", "a\xFF", "a text that is not UTF-8 cannot be sent as XML"},
        {"U+FFFF", "\xEF\xBF\xBF", "a text with U+FFFE or U+FFFF cannot be sent as XML"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
        cf_error e = {0};
        cf_buf_init(&b, 4096);
        assert_int_equal(s3_xml_delete_add(cases[i].body, NULL, &b, &e), CF_ERR_UNSUPPORTED);
        assert_string_equal(e.message, cases[i].message);
    }
    CF_CLEANUP(cf_buf_deinit) cf_buf small = {0};
    cf_buf_init(&small, 16);
    assert_int_equal(s3_xml_render_location("r", &small, NULL), CF_ERR_TOO_LARGE);
}

static void test_no_memory(void **state)
{
    (void)state;
    cf_err err = CF_ERR_NO_MEMORY;
    unsigned long n = 0;
    while (err == CF_ERR_NO_MEMORY) {
        CF_CLEANUP(s3_xml_page_deinit) s3_xml_page p = {0};
        cf_alloc_fail_at(++n);
        err = s3_xml_parse_list(cf_slice_str(key_cases[1].body), &p, NULL);
        cf_alloc_fail_at(0);
    }
    assert_int_equal(err, CF_OK);
    assert_true(n > 3);
}

int main(void)
{
    s3_xml_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),         cmocka_unit_test(test_list_keys),
        cmocka_unit_test(test_list_refused), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_error),        cmocka_unit_test(test_error_refused),
        cmocka_unit_test(test_multipart),    cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_versions),     cmocka_unit_test(test_versioning),
        cmocka_unit_test(test_lock),         cmocka_unit_test(test_deletions),
        cmocka_unit_test(test_render),       cmocka_unit_test(test_render_refused),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
