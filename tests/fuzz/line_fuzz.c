/* SPDX-License-Identifier: Apache-2.0
 *
 * A line from the store, as a file line and as a pack line. What is accepted must render, and its
 * text must be a fixed point.
 */
#include "repo/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(cf_slice text)
{
    CF_CLEANUP(cf_line_store_freep) cf_line_store *store = NULL;
    CF_CLEANUP(cf_buf_deinit) cf_buf first = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf second = {0};
    cf_file_line line = {0};
    cf_buf_init(&first, 2 * CF_LINE_LEN_MAX);
    cf_buf_init(&second, 2 * CF_LINE_LEN_MAX);
    if (cf_line_store_new(&store, NULL) != CF_OK ||
        cf_file_line_parse(text, store, &line, NULL) != CF_OK)
        return;
    CF_CHECK(cf_path_check(line.path, NULL) == CF_OK);
    CF_CHECK(cf_file_line_render(&line, &first, NULL) == CF_OK);
    CF_CHECK(cf_file_line_parse(cf_buf_slice(&first), store, &line, NULL) == CF_OK);
    CF_CHECK(cf_file_line_render(&line, &second, NULL) == CF_OK);
    CF_CHECK(cf_slice_eq(cf_buf_slice(&first), cf_buf_slice(&second)));
}

static void check_pack(cf_slice text)
{
    CF_CLEANUP(cf_line_store_freep) cf_line_store *store = NULL;
    CF_CLEANUP(cf_buf_deinit) cf_buf first = {0};
    cf_pack_line line = {0};
    cf_buf_init(&first, CF_LINE_LEN_MAX);
    if (cf_line_store_new(&store, NULL) != CF_OK ||
        cf_pack_line_parse(text, store, &line, NULL) != CF_OK)
        return;
    CF_CHECK(cf_pack_line_render(&line, &first, NULL) == CF_OK);
    CF_CHECK(cf_pack_line_parse(cf_buf_slice(&first), store, &line, NULL) == CF_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_file(cf_slice_of(data, size));
    check_pack(cf_slice_of(data, size));
    return 0;
}
