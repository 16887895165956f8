/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoint: a URL taken apart by hand (the few forms that are allowed), and the address of the
 * bucket put together.
 */
#include "s3/endpoint.h"

#include <stdio.h>

#include "s3/base/num.h"

enum {
    HOST_NAME_LEN_MAX = 253 /* RFC 1035 */,
    LABEL_LEN_MAX = 63,
    BUCKET_DNS_LEN_MIN = 3,
    PREFIX_LEN_MAX = 255
};

typedef struct url_parts {
    bool https;
    cf_slice host;   /* with brackets for IPv6 */
    uint64_t port;   /* 0: the default */
    cf_slice prefix; /* "" or "/..." without a slash at the end */
} url_parts;

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower_alnum(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool is_alnum(uint8_t c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static uint8_t to_lower(uint8_t c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool has_text(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool ends_with(cf_slice s, const char *end)
{
    const cf_slice tail = cf_slice_str(end);
    return s.len >= tail.len && memcmp(s.ptr + s.len - tail.len, tail.ptr, tail.len) == 0;
}

bool s3_region_valid(cf_slice region)
{
    if (region.len == 0 || region.len > S3_REGION_LEN_MAX)
        return false;
    for (size_t i = 0; i < region.len; i++) {
        const bool inner = i > 0 && i + 1 < region.len;
        if (!is_alnum(region.ptr[i]) && !(inner && region.ptr[i] == '-'))
            return false;
    }
    return true;
}

static cf_slice until(cf_slice s, const char *stops)
{
    size_t len = 0;
    while (len < s.len && strchr(stops, (int)s.ptr[len]) == NULL)
        len++;
    return cf_slice_of(s.ptr, len);
}

static cf_slice behind(cf_slice s, size_t len)
{
    return cf_slice_of(s.ptr + len, s.len - len);
}

static cf_err host_check(cf_slice host, const char *text, cf_error *e)
{
    const bool v6 = host.len > 0 && host.ptr[0] == '[';

    CF_ENSURE(host.len > 0, e, CF_ERR_USAGE, "endpoint '%s' has no host", text);
    CF_ENSURE(host.len <= HOST_NAME_LEN_MAX, e, CF_ERR_USAGE,
              "the host of endpoint '%s' has %zu bytes, %d are allowed", text, host.len,
              HOST_NAME_LEN_MAX);
    for (size_t i = 0; i < host.len; i++) {
        const uint8_t c = host.ptr[i];
        const bool fine = v6 ? (i == 0 || i + 1 == host.len || is_digit(c) ||
                                (to_lower(c) >= 'a' && to_lower(c) <= 'f') || c == ':' || c == '.')
                             : is_alnum(c) || c == '.' || c == '-' || c == '_';
        CF_ENSURE(fine, e, CF_ERR_USAGE,
                  "the host of endpoint '%s' has a character that is not allowed", text);
    }
    return CF_OK;
}

static cf_err authority_split(cf_slice authority, const char *text, url_parts *ret, cf_error *e)
{
    CF_ENSURE(memchr(authority.ptr, '@', authority.len) == NULL, e, CF_ERR_USAGE,
              "the endpoint holds a user or password before '@'\nHINT: give keys by environment or "
              "profile, not in the URL");
    ret->host = until(authority, ":");
    if (authority.len > 0 && authority.ptr[0] == '[') {
        const uint8_t *close = memchr(authority.ptr, ']', authority.len);
        CF_ENSURE(close != NULL, e, CF_ERR_USAGE, "endpoint '%s' has '[' without ']'", text);
        ret->host = cf_slice_of(authority.ptr, (size_t)(close - authority.ptr) + 1);
    }
    CF_TRY(host_check(ret->host, text, e));
    const cf_slice rest = behind(authority, ret->host.len);
    if (rest.len == 0)
        return CF_OK;
    CF_ENSURE(rest.ptr[0] == ':', e, CF_ERR_USAGE,
              "endpoint '%s' has something behind its host that is neither a port nor a path",
              text);
    CF_ENSURE(cf_u64_parse(behind(rest, 1), &ret->port), e, CF_ERR_USAGE,
              "endpoint '%s' has a port that is no number", text);
    CF_ENSURE(ret->port >= 1 && ret->port <= 65535, e, CF_ERR_USAGE,
              "endpoint '%s' has port %llu, 1 to 65535 are allowed", text,
              (unsigned long long)ret->port);
    if (ret->port == (ret->https ? 443u : 80u))
        ret->port = 0;
    return CF_OK;
}

static cf_err prefix_check(cf_slice prefix, const char *text, cf_error *e)
{
    CF_ENSURE(prefix.len <= PREFIX_LEN_MAX, e, CF_ERR_USAGE,
              "the path of endpoint '%s' has %zu bytes, %d are allowed", text, prefix.len,
              PREFIX_LEN_MAX);
    for (size_t i = 0; i < prefix.len; i++) {
        const uint8_t c = prefix.ptr[i];
        CF_ENSURE(is_alnum(c) || strchr("/-._~", (int)c) != NULL, e, CF_ERR_USAGE,
                  "the path of endpoint '%s' has a character that is not allowed", text);
    }
    return CF_OK;
}

static cf_err url_split(const char *text, url_parts *ret, cf_error *e)
{
    static const struct {
        const char *start;
        bool https;
    } schemes[] = {{"https://", true}, {"http://", false}};
    cf_slice rest = cf_slice_str(text);
    bool found = false;

    CF_ENSURE(memchr(rest.ptr, '@', rest.len) == NULL, e, CF_ERR_USAGE,
              "the endpoint holds a user or password before '@'\nHINT: give keys by environment or "
              "profile, not in the URL");
    for (size_t i = 0; i < 2 && !found; i++) {
        if (cf_slice_starts_with(rest, cf_slice_str(schemes[i].start))) {
            ret->https = schemes[i].https;
            rest = behind(rest, strlen(schemes[i].start));
            found = true;
        }
    }
    CF_ENSURE(
        found, e, CF_ERR_USAGE,
        "endpoint '%s' does not start with http:// or https://\nHINT: write https://host:port",
        text);
    CF_ENSURE(until(rest, "?").len == rest.len, e, CF_ERR_USAGE, "endpoint '%s' has a query", text);
    CF_ENSURE(until(rest, "#").len == rest.len, e, CF_ERR_USAGE, "endpoint '%s' has a fragment",
              text);
    const cf_slice authority = until(rest, "/");
    CF_TRY(authority_split(authority, text, ret, e));
    ret->prefix = behind(rest, authority.len);
    while (ret->prefix.len > 0 && ret->prefix.ptr[ret->prefix.len - 1] == '/')
        ret->prefix.len--;
    return prefix_check(ret->prefix, text, e);
}

static bool host_is_ip_or_local(cf_slice host)
{
    bool digits = true;

    for (size_t i = 0; i < host.len; i++)
        digits = digits && (is_digit(host.ptr[i]) || host.ptr[i] == '.');
    return digits || host.ptr[0] == '[' || cf_slice_eq(host, cf_slice_str("localhost")) ||
           ends_with(host, ".localhost");
}

/* Lower case, digits, '-', '.', 3 to 63 bytes, each label starting and ending with a letter or
 * digit, not an address.
 */
static bool bucket_is_dns_safe(cf_slice bucket)
{
    if (bucket.len < BUCKET_DNS_LEN_MIN || bucket.len > LABEL_LEN_MAX ||
        host_is_ip_or_local(bucket))
        return false;
    for (size_t i = 0; i < bucket.len; i++) {
        const uint8_t c = bucket.ptr[i];
        const bool edge =
            i == 0 || i + 1 == bucket.len || bucket.ptr[i - 1] == '.' || bucket.ptr[i + 1] == '.';
        if (!is_lower_alnum(c) && !(c == '-' && !edge) &&
            !(c == '.' && i > 0 && i + 1 < bucket.len && bucket.ptr[i - 1] != '.'))
            return false;
    }
    return true;
}

static cf_err bucket_check(const char *bucket, cf_error *e)
{
    CF_ENSURE(has_text(bucket), e, CF_ERR_USAGE, "no bucket is given");
    const cf_slice name = cf_slice_str(bucket);
    CF_ENSURE(name.len <= S3_BUCKET_LEN_MAX, e, CF_ERR_USAGE,
              "the bucket's name has %zu bytes, %d are allowed", name.len, S3_BUCKET_LEN_MAX);
    for (size_t i = 0; i < name.len; i++)
        CF_ENSURE(is_alnum(name.ptr[i]) || strchr("-._", (int)name.ptr[i]) != NULL, e, CF_ERR_USAGE,
                  "bucket '%s' has a character that no bucket name may have", bucket);
    CF_ENSURE(strcmp(bucket, ".") != 0 && strcmp(bucket, "..") != 0, e, CF_ERR_USAGE,
              "'%s' is no bucket name", bucket);
    return CF_OK;
}

/* "s3.amazonaws.com" and "s3.<region>.amazonaws.com[.cn]", nothing else (no VPC endpoints, no
 * dualstack). */
static bool host_is_aws(cf_slice host, cf_slice *ret_region)
{
    static const char *const ends[] = {".amazonaws.com", ".amazonaws.com.cn"};

    *ret_region = cf_slice_of(NULL, 0);
    if (cf_slice_eq(host, cf_slice_str("s3.amazonaws.com")))
        return true;
    for (size_t i = 0; i < 2; i++) {
        if (!cf_slice_starts_with(host, cf_slice_str("s3.")) || !ends_with(host, ends[i]) ||
            host.len <= 3 + strlen(ends[i]))
            continue;
        *ret_region = cf_slice_of(host.ptr + 3, host.len - 3 - strlen(ends[i]));
        return s3_region_valid(*ret_region);
    }
    return false;
}

static bool wants_virtual(const s3_endpoint_opts *o, const url_parts *url, bool amazon)
{
    const cf_slice bucket = cf_slice_str(o->bucket);

    if (o->addressing != S3_ADDRESSING_AUTO)
        return o->addressing == S3_ADDRESSING_VIRTUAL;
    return amazon && !host_is_ip_or_local(url->host) && bucket_is_dns_safe(bucket) &&
           !(url->https && memchr(bucket.ptr, '.', bucket.len) != NULL);
}

static cf_err region_choose(const s3_endpoint_opts *o, cf_slice from_host, s3_endpoint *ep,
                            cf_error *e)
{
    cf_slice region = has_text(o->region) ? cf_slice_str(o->region) : from_host;

    if (region.len == 0)
        region = cf_slice_str("us-east-1");
    CF_ENSURE(s3_region_valid(region), e, CF_ERR_USAGE,
              "region '%.*s' is not valid: letters, digits and '-', at most %d",
              CF_SLICE_FMT(region), S3_REGION_LEN_MAX);
    memcpy(ep->region, region.ptr, region.len);
    ep->region[region.len] = '\0';
    return CF_OK;
}

static void address_render(const s3_endpoint_opts *o, const url_parts *url, s3_endpoint *ep)
{
    char port[8] = "";

    if (url->port != 0)
        (void)snprintf(port, sizeof(port), ":%u", (unsigned)url->port);
    (void)snprintf(ep->host, sizeof(ep->host), "%s%s%.*s%s", ep->virtual_host ? o->bucket : "",
                   ep->virtual_host ? "." : "", CF_SLICE_FMT(url->host), port);
    for (char *c = ep->host; *c != '\0'; c++)
        *c = (char)to_lower((uint8_t)*c);
    (void)snprintf(ep->path, sizeof(ep->path), "%.*s%s%s", CF_SLICE_FMT(url->prefix),
                   ep->virtual_host ? "" : "/", ep->virtual_host ? "" : o->bucket);
}

cf_err s3_endpoint_resolve(const s3_endpoint_opts *o, s3_endpoint *ret, cf_error *e)
{
    s3_endpoint ep = {0};
    url_parts url = {.https = true};
    char aws_host[S3_REGION_LEN_MAX + 32] = "";
    cf_slice host_region = {0};

    CF_TRY(bucket_check(o->bucket, e));
    if (has_text(o->endpoint))
        CF_TRY(url_split(o->endpoint, &url, e));
    ep.aws = !has_text(o->endpoint) ||
             (host_is_aws(url.host, &host_region) && url.port == 0 && url.prefix.len == 0);
    CF_TRY(region_choose(o, host_region, &ep, e));
    if (ep.aws) {
        const bool china = strncmp(ep.region, "cn-", 3) == 0;
        (void)snprintf(aws_host, sizeof(aws_host), "s3.%s.amazonaws.com%s", ep.region,
                       china ? ".cn" : "");
        url.host = cf_slice_str(aws_host);
    }
    const bool amazon =
        ep.aws || ends_with(url.host, ".amazonaws.com") || ends_with(url.host, ".amazonaws.com.cn");
    ep.https = url.https;
    ep.virtual_host = wants_virtual(o, &url, amazon);
    CF_ENSURE(!ep.virtual_host || bucket_is_dns_safe(cf_slice_str(o->bucket)), e, CF_ERR_USAGE,
              "bucket '%s' cannot be part of a host name\nHINT: use path addressing", o->bucket);
    CF_ENSURE(
        !ep.virtual_host || !host_is_ip_or_local(url.host) || ends_with(url.host, "localhost"), e,
        CF_ERR_USAGE, "a bucket cannot be part of the address '%.*s'\nHINT: use path addressing",
        CF_SLICE_FMT(url.host));
    address_render(o, &url, &ep);
    *ret = ep;
    return CF_OK;
}
