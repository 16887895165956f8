/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets, and the one table of names whose values are never shown.
 */
#include "s3/base/secret.h"

#include <openssl/crypto.h>

#include "s3/base/alloc.h"

void cf_wipe(void *ptr, size_t len)
{
    if (ptr != NULL)
        OPENSSL_cleanse(ptr, len);
}

void cf_secret_deinit(cf_secret *s)
{
    cf_wipe(s->data, s->len);
    cf_free(s->data);
    *s = (cf_secret){0};
}

cf_err cf_secret_set(cf_secret *s, cf_slice value, cf_error *e)
{
    CF_ENSURE(value.len <= CF_SECRET_LEN_MAX, e, CF_ERR_TOO_LARGE,
              "a secret has %zu bytes, at most %d are allowed", value.len, CF_SECRET_LEN_MAX);
    uint8_t *const data = cf_alloc(value.len + 1, 1);
    CF_ENSURE(data != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", value.len + 1);
    if (value.len > 0)
        memcpy(data, value.ptr, value.len);
    cf_secret_deinit(s);
    *s = (cf_secret){.data = data, .len = value.len};
    return CF_OK;
}

cf_err cf_secret_dup(cf_secret *to, const cf_secret *from, cf_error *e)
{
    return cf_secret_set(to, cf_secret_reveal(from), e);
}

cf_slice cf_secret_reveal(const cf_secret *s)
{
    return cf_slice_of(s->data, s->len);
}

bool cf_secret_is_set(const cf_secret *s)
{
    return s->len > 0;
}

typedef struct redacted_row {
    const char *name;
    bool prefix; /* every name that begins so */
} redacted_row;

static const redacted_row redacted_rows[] = {
    {"authorization", false},
    {"proxy-authorization", false},
    {"cookie", false},
    {"set-cookie", false},
    {"x-amz-security-token", false},
    {"x-amz-signature", false},
    {"x-amz-credential", false},
    {"x-amz-server-side-encryption-customer-key", true},
    {"x-amz-copy-source-server-side-encryption-customer-key", true},
};

/* ASCII, without locale. */
static bool redacted_equal(const uint8_t *name, const char *row, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const uint8_t c =
            name[i] >= 'A' && name[i] <= 'Z' ? (uint8_t)(name[i] + ('a' - 'A')) : name[i];
        if (c != (uint8_t)row[i])
            return false;
    }
    return true;
}

bool cf_redacted(cf_slice name)
{
    for (size_t i = 0; i < sizeof(redacted_rows) / sizeof(redacted_rows[0]); i++) {
        const redacted_row *const row = &redacted_rows[i];
        const size_t len = strlen(row->name);
        if ((row->prefix ? name.len >= len : name.len == len) &&
            redacted_equal(name.ptr, row->name, len))
            return true;
    }
    return false;
}
