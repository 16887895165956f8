/* SPDX-License-Identifier: Apache-2.0
 *
 * Packs: those that the target has not are sent, in the source's order; the journal has each, so
 * that a copy that is killed loses little.
 */
#include <stdio.h>

#include "copy/copy.h"
#include "repo/pack_name.h"
#include "s3/base/cleanup.h"

/* Journal and lease: what must happen now and then while bytes flow. */
static cf_err tick(cf_transfer *const t, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf open = {0};

    cf_buf_init(&open, CF_SEND_JOBS_MAX * 4096); /* a line of at most 2 KiB for each */
    CF_TRY(cf_lease_check(t->claim.lease, e));
    CF_TRY(cf_send_render_open(t->send, &open, e));
    CF_TRY(cf_journal_tick(t->journal, t->bytes_sent, cf_buf_slice(&open), e));
    cf_copy_progress(t, "copying");
    return CF_OK;
}

static cf_err on_pack(void *const impl, const cf_pack_line *const pack, cf_error *const e)
{
    cf_transfer *const t = impl;
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_pack_line line = *pack;

    line.used_bytes = 0; /* the manifest counts */
    cf_buf_init(&text, CF_LINE_LEN_MAX);
    CF_TRY(cf_pack_line_render(&line, &text, e));
    CF_TRY(cf_journal_add_line(t->journal, cf_buf_slice(&text), e));
    t->packs_sent++;
    t->bytes_sent += pack->stored_bytes;
    if (t->is_ending)
        return CF_OK;
    CF_TRY(cf_manifest_add_pack(t->manifest, pack, e));
    return tick(t, e);
}

static cf_err on_wait(void *const impl, cf_error *const e)
{
    return tick(impl, e);
}

/* The name that the next pack gets: our run and number, the source's tail. */
static cf_err name_make(cf_transfer *const t, const char *const source,
                        char ret[CF_RUN_OBJECT_LEN_MAX + 1], cf_error *const e)
{
    const uint32_t seq = cf_run_next_seq(&t->claim.run);

    CF_ENSURE(seq < CF_SEQ_MAX, e, CF_ERR_TOO_LARGE,
              "run %s has written %u objects, the most a run may", t->claim.run.id.text,
              (unsigned)seq);
    (void)snprintf(ret, CF_RUN_OBJECT_LEN_MAX + 1, "%s/%010u%s", t->claim.run.id.text,
                   (unsigned)seq, cf_pack_name_tail(source));
    return CF_OK;
}

static cf_err send_missing(cf_transfer *const t, cf_error *const e)
{
    const cf_pack_line *line = NULL;
    char target[CF_RUN_OBJECT_LEN_MAX + 1];

    for (;;) {
        CF_TRY(cf_transfer_of_source(t, cf_cursor_next_pack(t->packs, &line, e)));
        if (line == NULL)
            return cf_send_finish(t->send, e);
        if (cf_names_has(t->names, line->pack))
            continue;
        CF_TRY(name_make(t, line->pack, target, e));
        cf_names_set(t->names, line->pack, target);
        CF_TRY(cf_send_add(t->send, line, target, cf_names_first(line), e));
    }
}

cf_err cf_transfer_send(cf_transfer *const t, cf_error *const e)
{
    cf_copy *const c = t->c;
    const cf_manifest_opts manifest = {.repo = &c->to,
                                       .run = &t->claim.run,
                                       .parent = t->parent_packs != NULL ? t->claim.parent : NULL,
                                       .parent_packs = t->parent_packs,
                                       .adopted = t->claim.adopted};
    const cf_send_opts send = {
        .from = c->from.store,
        .to = c->to.store,
        .runs_prefix = c->runs_prefix,
        .world = c->ctx->world,
        .jobs = c->plan.jobs,
        .on_pack = on_pack,
        .on_wait = on_wait,
        .impl = t,
    };

    CF_TRY(cf_journal_new(&c->to, &t->claim.run, &t->journal, e));
    CF_TRY(cf_manifest_new(&manifest, &t->manifest, e));
    CF_TRY(cf_send_new(&send, &t->send, e));
    const cf_err err = send_missing(t, e);
    if (err != CF_OK && cf_send_failed_at_source(t->send))
        t->failed_at_source = true;
    return err;
}
