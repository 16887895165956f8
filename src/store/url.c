/* SPDX-License-Identifier: Apache-2.0
 *
 * Repository URLs: text in, strings out; no I/O.
 */
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "store/store.h"

static const char example[] = "HINT: --repo s3://bucket/prefix or --repo file:///path";

/* Bucket names of S3's user guide; older buckets and other servers have upper case and '_' too. */
enum { BUCKET_LEN_MIN = 3, BUCKET_LEN_MAX = 255 };

static cf_err url_dup(cf_slice text, char **ret, cf_error *e)
{
    char *const copy = cf_strndup(text.len == 0 ? "" : (const char *)text.ptr, text.len);
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", text.len + 1);
    *ret = copy;
    return CF_OK;
}

/* "a/b" out of "/a/b/". */
static cf_slice trim_slashes(cf_slice s)
{
    while (s.len > 0 && s.ptr[0] == '/')
        s = cf_slice_of(s.ptr + 1, s.len - 1);
    while (s.len > 0 && s.ptr[s.len - 1] == '/')
        s.len--;
    return s;
}

static bool bucket_byte_ok(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

static cf_err bucket_check(const char *url, cf_slice bucket, cf_error *e)
{
    CF_ENSURE(bucket.len > 0, e, CF_ERR_USAGE, "repository '%s' names no bucket\n%s", url, example);
    CF_ENSURE(bucket.len >= BUCKET_LEN_MIN, e, CF_ERR_USAGE,
              "repository '%s': the bucket's name has %zu bytes, %d are needed", url, bucket.len,
              BUCKET_LEN_MIN);
    CF_ENSURE(bucket.len <= BUCKET_LEN_MAX, e, CF_ERR_USAGE,
              "repository '%.512s': the bucket's name has %zu bytes, %d are allowed", url,
              bucket.len, BUCKET_LEN_MAX);
    for (size_t i = 0; i < bucket.len; i++)
        CF_ENSURE(bucket_byte_ok(bucket.ptr[i]), e, CF_ERR_USAGE,
                  "repository '%s': the bucket's name has the byte 0x%02x\n%s", url, bucket.ptr[i],
                  example);
    return CF_OK;
}

/* Each component by the rule for keys, so that a repository can be copied into a directory and
 * back. */
static cf_err prefix_check(const char *url, cf_slice prefix, cf_error *e)
{
    CF_ENSURE(prefix.len <= CF_STORE_PREFIX_LEN_MAX, e, CF_ERR_USAGE,
              "repository '%.512s': the prefix has %zu bytes, %d are allowed", url, prefix.len,
              CF_STORE_PREFIX_LEN_MAX);
    while (prefix.len > 0) {
        const uint8_t *const slash = memchr(prefix.ptr, '/', prefix.len);
        const size_t n = slash == NULL ? prefix.len : (size_t)(slash - prefix.ptr);
        const cf_slice name = cf_slice_of(prefix.ptr, n);
        CF_ENSURE(cf_store_component_ok(name), e, CF_ERR_USAGE,
                  "repository '%s': the prefix has the component '%.*s'; neither empty ones, '.' "
                  "and '..', nor bytes "
                  "but A-Z, a-z, 0-9, '.', '_', '-' are allowed\n%s",
                  url, CF_SLICE_FMT(name), example);
        const size_t step = slash == NULL ? n : n + 1;
        prefix = cf_slice_of(prefix.ptr + step, prefix.len - step);
    }
    return CF_OK;
}

static cf_err s3_parse(const char *url, cf_slice rest, cf_store_url *ret, cf_error *e)
{
    CF_CLEANUP(cf_store_url_deinit) cf_store_url u = {.is_s3 = true};
    const uint8_t *const slash = rest.len == 0 ? NULL : memchr(rest.ptr, '/', rest.len);
    const size_t bucket_len = slash == NULL ? rest.len : (size_t)(slash - rest.ptr);
    const cf_slice bucket = cf_slice_of(rest.ptr, bucket_len);
    const cf_slice prefix = trim_slashes(cf_slice_of(rest.ptr + bucket_len, rest.len - bucket_len));

    CF_TRY(bucket_check(url, bucket, e));
    CF_TRY(prefix_check(url, prefix, e));
    CF_TRY(url_dup(bucket, &u.bucket, e));
    CF_TRY(url_dup(prefix, &u.prefix, e));
    *ret = u;
    u = (cf_store_url){0};
    return CF_OK;
}

static cf_err file_parse(const char *url, cf_slice rest, cf_store_url *ret, cf_error *e)
{
    CF_CLEANUP(cf_store_url_deinit) cf_store_url u = {0};
    CF_ENSURE(rest.len > 0 && rest.ptr[0] == '/', e, CF_ERR_USAGE,
              "repository '%s' is not an absolute path: three slashes are needed\nHINT: --repo "
              "file:///path",
              url);
    while (rest.len > 0 && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    CF_ENSURE(rest.len > 0, e, CF_ERR_USAGE, "repository '%s' is the root directory\n%s", url,
              example);
    CF_TRY(url_dup(rest, &u.path, e));
    *ret = u;
    u = (cf_store_url){0};
    return CF_OK;
}

cf_err cf_store_url_parse(const char *url, cf_store_url *ret, cf_error *e)
{
    static const cf_slice s3 = {(const uint8_t *)"s3://", 5};
    static const cf_slice file = {(const uint8_t *)"file://", 7};
    const cf_slice text = cf_slice_str(url);
    CF_ENSURE(text.len > 0, e, CF_ERR_USAGE, "the repository's URL is empty\n%s", example);
    if (cf_slice_starts_with(text, s3))
        return s3_parse(url, cf_slice_of(text.ptr + s3.len, text.len - s3.len), ret, e);
    if (cf_slice_starts_with(text, file))
        return file_parse(url, cf_slice_of(text.ptr + file.len, text.len - file.len), ret, e);
    CF_FAIL(e, CF_ERR_USAGE, "repository '%s' begins neither with s3:// nor with file://\n%s", url,
            example);
}

void cf_store_url_deinit(cf_store_url *u)
{
    cf_free(u->bucket);
    cf_free(u->prefix);
    cf_free(u->path);
    *u = (cf_store_url){0};
}
