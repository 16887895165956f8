/* SPDX-License-Identifier: Apache-2.0
 *
 * Every parser of an S3 answer: no crash, no leak, and keys that come out are what the header
 * promises.
 */
#include <stdlib.h>

#include "s3/base/cleanup.h"
#include "s3/base/utf8.h"
#include "s3/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void key_check(cf_slice key)
{
    if (key.len == 0 || key.len > S3_KEY_LEN_MAX || memchr(key.ptr, 0, key.len) != NULL ||
        !cf_utf8_valid(key))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const cf_slice body = cf_slice_of(data, size);
    CF_CLEANUP(s3_xml_page_deinit) s3_xml_page page = {0};
    CF_CLEANUP(s3_xml_uploads_deinit) s3_xml_uploads uploads = {0};
    CF_CLEANUP(s3_xml_deletions_deinit) s3_xml_deletions deletions = {0};
    CF_CLEANUP(s3_xml_versions_deinit) s3_xml_versions versions = {0};
    s3_lock lock = {0};
    bool on = false;
    char id[S3_UPLOAD_ID_LEN_MAX + 1];
    char etag[S3_ETAG_LEN_MAX + 1];
    bool failed = false;
    s3_xml_error error = {0};
    cf_error e = {0};

    if (s3_xml_parse_list(body, &page, &e) == CF_OK)
        for (size_t i = 0; i < page.entry_total; i++)
            key_check(page.entries[i].key);
    if (s3_xml_parse_uploads(body, &uploads, &e) == CF_OK)
        for (size_t i = 0; i < uploads.entry_total; i++)
            key_check(uploads.entries[i].key);
    if (s3_xml_parse_versions(body, &versions, &e) == CF_OK) {
        for (size_t i = 0; i < versions.entry_total; i++) {
            const cf_slice version_id = versions.entries[i].version_id;
            key_check(versions.entries[i].key);
            if (version_id.len == 0 || version_id.len > S3_VERSION_ID_LEN_MAX)
                abort();
        }
    }
    if (s3_xml_parse_lock(body, &lock, &e) == CF_OK && strlen(lock.mode) >= sizeof(lock.mode))
        abort();
    if (s3_xml_parse_versioning(body, &on, &e) != CF_OK && on)
        abort();
    if (s3_xml_parse_deletions(body, &deletions, &e) == CF_OK)
        for (size_t i = 0; i < deletions.failed_total; i++)
            key_check(deletions.failed[i].key);
    if (s3_xml_parse_initiate(body, id, &e) == CF_OK && id[0] == '\0')
        abort();
    if (s3_xml_parse_complete(body, etag, &failed, &error, &e) == CF_OK && failed &&
        error.code[0] == '\0')
        abort();
    return 0;
}
