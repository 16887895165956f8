/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashes by OpenSSL, and the two text forms of their digests.
 */
#include "s3/base/hash.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "s3/base/cleanup.h"

cf_err cf_hash_init(cf_hash *h, cf_hash_kind kind, cf_error *e)
{
    if (h->ctx == NULL)
        h->ctx = EVP_MD_CTX_new();
    CF_ENSURE(h->ctx != NULL, e, CF_ERR_NO_MEMORY, "allocate a hash");
    h->kind = kind;
    const EVP_MD *const md = kind == CF_HASH_SHA256 ? EVP_sha256() : EVP_md5();
    CF_ENSURE(EVP_DigestInit_ex(h->ctx, md, /* engine= */ NULL) == 1, e, CF_ERR_FAILED,
              "%s is not available from OpenSSL", kind == CF_HASH_SHA256 ? "SHA-256" : "MD5");
    return CF_OK;
}

cf_err cf_hash_update(cf_hash *h, cf_slice s, cf_error *e)
{
    assert(h->ctx != NULL);
    CF_ENSURE(s.len == 0 || EVP_DigestUpdate(h->ctx, s.ptr, s.len) == 1, e, CF_ERR_FAILED,
              "hash %zu bytes", s.len);
    return CF_OK;
}

cf_err cf_hash_final(cf_hash *h, uint8_t *ret_digest, cf_error *e)
{
    assert(h->ctx != NULL);
    unsigned len = 0;
    CF_ENSURE(EVP_DigestFinal_ex(h->ctx, ret_digest, &len) == 1, e, CF_ERR_FAILED, "finish a hash");
    CF_CHECK(len == (h->kind == CF_HASH_SHA256 ? CF_SHA256_LEN : CF_MD5_LEN));
    return CF_OK;
}

void cf_hash_deinit(cf_hash *h)
{
    EVP_MD_CTX_free(h->ctx);
    *h = (cf_hash){0};
}

static cf_err hash_once(cf_hash_kind kind, cf_slice s, uint8_t *ret, cf_error *e)
{
    CF_CLEANUP(cf_hash_deinit) cf_hash h = {0};
    CF_TRY(cf_hash_init(&h, kind, e));
    CF_TRY(cf_hash_update(&h, s, e));
    return cf_hash_final(&h, ret, e);
}

cf_err cf_sha256(cf_slice s, uint8_t ret[CF_SHA256_LEN], cf_error *e)
{
    return hash_once(CF_HASH_SHA256, s, ret, e);
}

cf_err cf_md5(cf_slice s, uint8_t ret[CF_MD5_LEN], cf_error *e)
{
    return hash_once(CF_HASH_MD5, s, ret, e);
}

cf_err cf_hmac_sha256(cf_slice key, cf_slice s, uint8_t ret[CF_SHA256_LEN], cf_error *e)
{
    static const uint8_t none = 0; /* OpenSSL takes a NULL key for "the key of before" */
    CF_ENSURE(key.len <= INT32_MAX, e, CF_ERR_TOO_LARGE, "an HMAC key has %zu bytes", key.len);
    unsigned len = 0;
    const uint8_t *const done = HMAC(EVP_sha256(), key.ptr == NULL ? &none : key.ptr, (int)key.len,
                                     s.ptr == NULL ? &none : s.ptr, s.len, ret, &len);
    CF_ENSURE(done != NULL, e, CF_ERR_FAILED, "HMAC-SHA256 failed");
    CF_CHECK(len == CF_SHA256_LEN);
    return CF_OK;
}

void cf_hex_render(cf_slice s, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.len; i++) {
        ret[2 * i] = digits[s.ptr[i] >> 4];
        ret[2 * i + 1] = digits[s.ptr[i] & 15];
    }
    ret[2 * s.len] = '\0';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool cf_hex_parse(cf_slice text, uint8_t *ret, size_t len)
{
    if (text.len / 2 != len || text.len % 2 != 0)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (hex_value(text.ptr[i]) < 0)
            return false;
    for (size_t i = 0; i < len; i++)
        ret[i] = (uint8_t)(hex_value(text.ptr[2 * i]) * 16 + hex_value(text.ptr[2 * i + 1]));
    return true;
}

void cf_base64_render(cf_slice s, char *ret)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = ret;
    for (size_t i = 0; i < s.len; i += 3) {
        const size_t left = s.len - i;
        const uint32_t group = (uint32_t)s.ptr[i] << 16 |
                               (left > 1 ? (uint32_t)s.ptr[i + 1] << 8 : 0) |
                               (left > 2 ? (uint32_t)s.ptr[i + 2] : 0);
        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = '=';
        *out++ = '=';
        if (left > 1)
            out[-2] = digits[group >> 6 & 63];
        if (left > 2)
            out[-1] = digits[group & 63];
    }
    *out = '\0';
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool cf_base64_parse(cf_slice text, uint8_t *ret, size_t cap, size_t *ret_len)
{
    if (text.len % 4 != 0)
        return false;
    size_t pad = 0;
    while (pad < 2 && pad < text.len && text.ptr[text.len - 1 - pad] == '=')
        pad++;
    const size_t len = text.len / 4 * 3 - pad;
    if (len > cap)
        return false;
    uint32_t bits = 0;
    size_t done = 0;
    for (size_t i = 0; i < text.len; i++) {
        const int v = i >= text.len - pad ? 0 : base64_value(text.ptr[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 != 3)
            continue;
        for (int shift = 16; shift >= 0; shift -= 8) {
            const uint8_t byte = (uint8_t)(bits >> shift);
            if (done < len)
                ret[done++] = byte;
            else if (byte != 0) /* bits behind the end: two texts for one value */
                return false;
        }
        bits = 0;
    }
    *ret_len = len;
    return true;
}
