/* SPDX-License-Identifier: Apache-2.0
 *
 * What all stores share: the rule for keys, ids and ranges, and reading a small object whole.
 */
#include "store/store.h"

#include "s3/base/hash.h"

static bool key_byte_ok(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static bool is_dots(cf_slice name)
{
    return cf_slice_eq(name, cf_slice_str(".")) || cf_slice_eq(name, cf_slice_str(".."));
}

bool cf_store_component_ok(cf_slice name)
{
    if (name.len == 0 || name.len > CF_KEY_COMPONENT_LEN_MAX || is_dots(name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!key_byte_ok(name.ptr[i]))
            return false;
    return true;
}

/* Checks the bytes of one component, and gives the message that fits. */
static cf_err component_check(const char *key, cf_slice name, cf_error *e)
{
    CF_ENSURE(name.len > 0, e, CF_ERR_USAGE, "key '%.*s' has an empty component", CF_KEY_LEN_MAX,
              key);
    CF_ENSURE(name.len <= CF_KEY_COMPONENT_LEN_MAX, e, CF_ERR_USAGE,
              "key '%.*s' has a component of %zu bytes, %d are allowed", CF_KEY_LEN_MAX, key,
              name.len, CF_KEY_COMPONENT_LEN_MAX);
    CF_ENSURE(!is_dots(name), e, CF_ERR_USAGE, "key '%.*s' has the component '%.*s'",
              CF_KEY_LEN_MAX, key, CF_SLICE_FMT(name));
    for (size_t i = 0; i < name.len; i++)
        CF_ENSURE(
            key_byte_ok(name.ptr[i]), e, CF_ERR_USAGE,
            "key '%.*s' has the byte 0x%02x, only A-Z, a-z, 0-9, '.', '_', '-' and '/' are allowed",
            CF_KEY_LEN_MAX, key, name.ptr[i]);
    return CF_OK;
}

cf_err cf_store_key_check(const char *key, cf_error *e)
{
    const size_t len = strlen(key);
    CF_ENSURE(len > 0, e, CF_ERR_USAGE, "a key is empty");
    CF_ENSURE(len <= CF_KEY_LEN_MAX, e, CF_ERR_USAGE, "a key has %zu bytes, %d are allowed", len,
              CF_KEY_LEN_MAX);
    const char *at = key;
    for (;;) {
        const size_t n = strcspn(at, "/");
        const cf_slice name = cf_slice_of(at, n);
        CF_TRY(component_check(key, name, e));
        CF_ENSURE(at != key || !cf_slice_eq(name, cf_slice_str(CF_STORE_TMP_NAME)), e, CF_ERR_USAGE,
                  "key '%s' is in '%s', which is reserved for unfinished files", key,
                  CF_STORE_TMP_NAME);
        if (at[n] == '\0')
            return CF_OK;
        at += n + 1;
    }
}

cf_err cf_store_id_make(const cf_put_opts *opts, const cf_world *world,
                        char ret[CF_STORE_ID_LEN + 1], cf_error *e)
{
    uint8_t bytes[CF_STORE_ID_LEN / 2];
    if (opts == NULL || opts->id == NULL)
        world->random(world->impl, bytes, sizeof(bytes));
    else
        CF_ENSURE(cf_hex_parse(cf_slice_str(opts->id), bytes, sizeof(bytes)), e, CF_ERR_USAGE,
                  "id '%.64s' is not %d hex digits", opts->id, CF_STORE_ID_LEN);
    cf_hex_render(cf_slice_of(bytes, sizeof(bytes)), ret);
    return CF_OK;
}

cf_err cf_store_range_check(const char *key, uint64_t size_bytes, uint64_t offset, uint64_t len,
                            uint64_t *ret_len, cf_error *e)
{
    CF_ENSURE(offset == 0 || offset < size_bytes, e, CF_ERR_DAMAGE,
              "object '%s' has %llu bytes, but byte %llu and more were expected", key,
              (unsigned long long)size_bytes, (unsigned long long)offset);
    CF_ENSURE(len <= size_bytes - offset, e, CF_ERR_DAMAGE,
              "object '%s' has %llu bytes, but %llu bytes at %llu were expected", key,
              (unsigned long long)size_bytes, (unsigned long long)len, (unsigned long long)offset);
    *ret_len = len == 0 ? size_bytes - offset : len;
    return CF_OK;
}

static cf_err append_sink(void *impl, cf_slice bytes, cf_error *e)
{
    cf_buf *const b = impl;
    return cf_buf_append(b, bytes, e);
}

cf_err cf_store_get_small(cf_store *s, const char *key, cf_buf *ret, cf_error *e)
{
    cf_buf_clear(ret);
    const cf_err err = s->ops->get(s, key, 0, 0, append_sink, ret, e);
    if (err == CF_OK)
        return CF_OK;
    cf_buf_clear(ret);
    cf_error_prefix(e, "read '%s'", key);
    return err;
}

cf_err cf_store_abort_none(cf_store *s, const char *key, const char *upload_id, cf_error *e)
{
    (void)s;
    (void)upload_id;
    return cf_store_key_check(key, e);
}

cf_err cf_store_uploads_none(cf_store *s, const char *prefix, cf_store_upload_fn fn, void *impl,
                             cf_error *e)
{
    (void)prefix;
    (void)fn;
    (void)impl;
    CF_FAIL(e, CF_ERR_UNSUPPORTED, "a repository of kind '%s' has no unfinished uploads to list",
            s->ops->kind);
}

cf_err cf_store_versioning_off(cf_store *s, bool *ret_on, cf_error *e)
{
    (void)s;
    (void)e;
    *ret_on = false;
    return CF_OK;
}

void cf_store_free(cf_store *s)
{
    if (s != NULL)
        s->ops->free(s);
}
