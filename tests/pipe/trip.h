/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that was uploaded into a store in memory, and its way back through the download pipeline.
 */
#ifndef TESTS_PIPE_TRIP_H
#define TESTS_PIPE_TRIP_H

#include "tests/pipe/kit.h"

#include "pipe/download_inner.h"

typedef struct trip {
    kit_run run;
    uint8_t *bytes;
    size_t len; /* read_bytes */
    uint64_t size;
    cf_download_item item; /* ready to use, but for fd */
    size_t done_total;
    cf_err done_err;     /* of the last one */
    size_t fail_done_at; /* 1..: the callback answers CF_ERR_FENCED */
    uint32_t jobs;
    uint64_t memory_bytes;
} trip;

/* bytes with room for an MD5 behind them. */
KIT_UNUSED static void trip_init(trip *t, size_t len, uint64_t hole, kit_fill fill,
                                 cf_upload_how how, bool md5)
{
    *t = (trip){.len = len, .size = len + hole, .jobs = 3};
    t->bytes = calloc(1, len + 8);
    kit_run_init(&t->run);
    kit_fill_bytes(t->bytes, len, fill, 11);
    if (md5)
        assert_int_equal(cf_md5(cf_slice_of(t->bytes, len - 16), t->bytes + len - 16, NULL), CF_OK);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(t->bytes, len);
    const cf_upload_item item = {.name = "db/file",
                                 .how = how,
                                 .fd = fd,
                                 .read_bytes = len,
                                 .size_bytes = t->size,
                                 .own_pack = true,
                                 .pack_hint = "x"};
    t->run.level = 1;
    assert_int_equal(kit_upload(&t->run, &item, 1, NULL), CF_OK);
    const kit_result *const r = &t->run.results[0];
    t->item = (cf_download_item){.token = t,
                                 .name = "db/file",
                                 .fd = -1,
                                 .size_bytes = t->size,
                                 .extents = r->extents,
                                 .extent_total = r->extent_total,
                                 .ends_with_md5 = md5};
    memcpy(t->item.sha256, r->sha256, 32);
}

KIT_UNUSED static void trip_deinit(trip *t)
{
    kit_run_deinit(&t->run);
    free(t->bytes);
}

KIT_UNUSED static cf_err on_done(void *impl, const cf_download_result *r, cf_error *e)
{
    trip *const t = impl;
    t->done_total++;
    t->done_err = r->err;
    CF_ENSURE(t->done_total != t->fail_done_at, e, CF_ERR_FENCED, "the test's callback fails");
    return CF_OK;
}

KIT_UNUSED static cf_download_opts opts_of(trip *t)
{
    return (cf_download_opts){.store = t->run.store,
                              .fs = &t->run.fs.fs,
                              .world = &t->run.world.world,
                              .runs_prefix = KIT_RUNS,
                              .memory_bytes = t->memory_bytes,
                              .jobs = t->jobs,
                              .on_done = on_done,
                              .impl = t};
}

KIT_UNUSED static cf_err download(trip *t, const cf_download_item *items, size_t total, cf_error *e)
{
    const cf_download_opts opts = opts_of(t);
    CF_CLEANUP(cf_download_freep) cf_download *d = NULL;
    CF_TRY(cf_download_new(&opts, &d, e));
    for (size_t i = 0; i < total; i++)
        CF_TRY(cf_download_add(d, &items[i], e));
    return cf_download_finish(d, e);
}

/* One item into a fresh file; its descriptor is the caller's. */
KIT_UNUSED static cf_err download_one(trip *t, int *ret_fd, cf_error *e)
{
    *ret_fd = kit_file(NULL, 0);
    t->item.fd = *ret_fd;
    return download(t, &t->item, 1, e);
}

#endif
