/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers, times, hex, base64, percent-encoding, UTF-8: what is parsed and rendered again must be
 * equal.
 */
#include <stdlib.h>

#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"
#include "s3/base/utf8.h"
#include "s3/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_time(cf_slice s)
{
    char text[CF_TIME_SIZE];
    int64_t ms = 0;
    int64_t back = 0;
    if (cf_time_parse_iso(s, &ms)) {
        cf_time_render_iso(ms, text);
        if (!cf_time_parse_iso(cf_slice_str(text), &back) || back > ms || ms - back > 999)
            abort();
    }
    if (cf_time_parse_basic(s, &ms)) {
        cf_time_render_basic(ms, text);
        if (!cf_slice_eq(s, cf_slice_str(text)))
            abort();
    }
    (void)cf_time_parse_http(s, &ms);
    if (s.len >= sizeof(ms)) {
        memcpy(&ms, s.ptr, sizeof(ms));
        cf_time_render_iso(ms, text);
        cf_time_render_basic(ms, text);
    }
}

static void fuzz_base64(cf_slice s)
{
    uint8_t bytes[256];
    char text[sizeof(bytes) / 3 * 4 + 8];
    size_t len = 0;
    if (!cf_base64_parse(s, bytes, sizeof(bytes), &len))
        return;
    cf_base64_render(cf_slice_of(bytes, len), text);
    if (!cf_slice_eq(s, cf_slice_str(text)))
        abort();
}

static void fuzz_uri(cf_slice s)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf encoded = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf decoded = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf path = {0};
    cf_buf_init(&encoded, 1 << 20);
    cf_buf_init(&decoded, 1 << 20);
    cf_buf_init(&path, 1 << 20);
    if (s3_uri_encode(s, /* keep_slash= */ true, &encoded, NULL) != CF_OK)
        return;
    if (s3_uri_decode(cf_buf_slice(&encoded), /* plus_is_space= */ false, &decoded, NULL) !=
            CF_OK ||
        !cf_slice_eq(s, cf_buf_slice(&decoded)))
        abort();
    (void)!s3_uri_render_path(s, S3_URI_PATH_GENERIC, &path, NULL);
    (void)!s3_uri_render_path(s, S3_URI_PATH_S3, &path, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const cf_slice s = cf_slice_of(data, size);
    char text[CF_SIZE_TEXT_SIZE];
    uint64_t u = 0;
    int64_t i = 0;
    uint8_t bytes[16];
    if (cf_u64_parse(s, &u) && cf_i64_parse(s, &i) && (uint64_t)i != u)
        abort();
    if (cf_size_parse(s, &u))
        (void)cf_size_render(u, text);
    (void)cf_hex_parse(s, bytes, sizeof(bytes));
    (void)cf_utf8_valid(s);
    fuzz_time(s);
    fuzz_base64(s);
    fuzz_uri(s);
    return 0;
}
