/* SPDX-License-Identifier: Apache-2.0
 *
 * A journal that somebody else wrote, as one object and in two halves: whatever it holds, reading it
 * ends, and the second pass ends as the first did. Of a damaged frame the first may see more: it was
 * fed in blocks, and zstd gives nothing of a bad frame that it has whole.
 */
#include "repo/journal_read.h"
#include "repo/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines and their bytes; parsed as what they say they are. */
typedef struct seen {
    size_t lines, bytes;
    cf_err end;
} seen;

static seen read_all(cf_journal_reader *r)
{
    CF_CLEANUP(cf_line_store_freep) cf_line_store *store = NULL;
    seen s = {0};
    CF_CHECK(cf_line_store_new(&store, NULL) == CF_OK);
    for (;;) {
        cf_journal_kind kind = CF_JOURNAL_END;
        cf_slice text = {NULL, 0};
        cf_file_line file = {0};
        cf_pack_line pack = {0};
        s.end = cf_journal_reader_next(r, &kind, &text, NULL);
        if (s.end != CF_OK || kind == CF_JOURNAL_END)
            return s;
        CF_CHECK(text.len > 0 && text.len <= CF_LINE_LEN_MAX);
        s.lines++;
        s.bytes += text.len;
        const cf_err err = kind == CF_JOURNAL_FILE   ? cf_file_line_parse(text, store, &file, NULL)
                           : kind == CF_JOURNAL_PACK ? cf_pack_line_parse(text, store, &pack, NULL)
                                                     : CF_OK;
        CF_CHECK(err == CF_OK || err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT ||
                 err == CF_ERR_NO_MEMORY);
    }
}

static void put(cf_store *store, const cf_run_id *run, cf_journal_object *o, const uint8_t *data)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_journal(key, "n", run, o->seq);
    CF_CHECK(store->ops->put(store, key, cf_slice_of(data, (size_t)o->stored_bytes), NULL, NULL,
                             NULL) == CF_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_CLEANUP(cf_store_freep) cf_store *store = NULL;
    cf_run_id run = {"20261121T153040Z-0123abcd"};
    cf_journal_object objects[2] = {{size / 2, 1}, {size - size / 2, 2}};
    CF_CHECK(cf_store_memory_new(NULL, &store, NULL) == CF_OK);
    const cf_repo repo = {.store = store, .world = cf_world_real(), .conditional = true};
    put(store, &run, &objects[0], data);
    put(store, &run, &objects[1], data + size / 2);
    for (int keep = 0; keep < 2; keep++) {
        CF_CLEANUP(cf_journal_reader_freep) cf_journal_reader *r = NULL;
        CF_CHECK(cf_journal_reader_new(&repo, "n", &run, objects, 2, keep != 0, &r, NULL) == CF_OK);
        const seen first = read_all(r);
        CF_CHECK(cf_journal_reader_rewind(r, NULL) == CF_OK);
        const seen second = read_all(r);
        CF_CHECK(first.end == second.end);
        CF_CHECK(first.end != CF_OK ||
                 (first.lines == second.lines && first.bytes == second.bytes));
    }
    return 0;
}
