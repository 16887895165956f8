/* SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot on its way: its beginning, its end, and what its steps say.
 */
#include <stdarg.h>
#include <stdio.h>

#include "copy/copy.h"
#include "s3/base/cleanup.h"

cf_err cf_transfer_of_source(cf_transfer *const t, const cf_err err)
{
    t->failed_at_source = t->failed_at_source || err != CF_OK;
    return err;
}

/* A medium or key that may only be read has no leases; nor has it a prune that could disturb. */
static cf_err read_lease_take(cf_transfer *const t, cf_error *const e)
{
    cf_error why = {0};
    const cf_err err = cf_read_lease_acquire(&t->c->from, t->c->node, &t->id, &t->read_lease, &why);

    if (err == CF_ERR_ACCESS || err == CF_ERR_DENIED) {
        cf_copy_log(t->c, CF_LOG_INFO,
                    "the source may only be read, so no reader's lease is written: a prune of it "
                    "should not run now");
        return CF_OK;
    }
    if (err != CF_OK && e != NULL)
        *e = why;
    return err;
}

cf_err cf_transfer_open(cf_transfer *const t, cf_error *const e)
{
    const cf_copy *const c = t->c;

    if (!c->opts->dry_run)
        CF_TRY_AS(read_lease_take(t, e), e, "the source");
    CF_TRY(cf_transfer_of_source(
        t, cf_snapshot_load(&c->from, c->node, &t->id, &t->source, e))); /* behind the lease */
    t->origin = cf_copy_origin(&c->from, t->source);
    return cf_cursor_new(&c->from, c->node, t->source, CF_SEGMENT_PACKS, &t->packs, e);
}

static void log_claim(void *const impl, const cf_log_level level, const char *const text)
{
    cf_copy_log(impl, level, "the target: %s", text);
}

cf_err cf_transfer_claim(cf_transfer *const t, cf_error *const e)
{
    cf_copy *const c = t->c;
    const cf_claim_opts opts = {
        .node = c->node,
        .adopt = true,
        .wait_ms = c->opts->wait_lock_ms,
        .log = log_claim,
        .impl = c,
    };

    CF_TRY_AS(c->opts->dry_run ? cf_claim_look(&c->to, &opts, &t->claim, e)
                               : cf_claim_take(&c->to, &opts, &t->claim, e),
              e, "the target");
    return CF_OK;
}

void cf_transfer_release(cf_transfer *const t)
{
    cf_error why = {0};

    if (cf_claim_release(&t->claim, &why) != CF_OK)
        cf_copy_log(t->c, CF_LOG_WARN,
                    "the target's lease could not be released: %s\nHINT: it runs out by itself in "
                    "%d minutes",
                    why.message, CF_LEASE_TTL_S / 60);
    if (t->read_lease != NULL && cf_read_lease_release(CF_STEAL(t->read_lease), &why) != CF_OK)
        cf_copy_log(t->c, CF_LOG_WARN, "the source's: %s", why.message);
}

/* Last words: the journal gets every pack that is there, so that the next run sends none again. */
static void journal_end(cf_transfer *const t)
{
    cf_error why = {0};

    if (t->is_committed || t->journal == NULL || t->send == NULL)
        return;
    t->is_ending = true;
    cf_send_stop(t->send);
    if (cf_journal_end(t->journal, &why) != CF_OK)
        cf_copy_log(t->c, CF_LOG_WARN,
                    "the last journal could not be written, a few packs will be sent again: %s",
                    why.message);
}

void cf_transfer_deinit(cf_transfer *const t)
{
    journal_end(t);
    cf_send_free(t->send);
    cf_manifest_free(t->manifest);
    cf_cursor_free(t->parent_packs);
    cf_journal_free(t->journal);
    cf_names_free(t->names);
    cf_cursor_free(t->packs);
    cf_claim_deinit(&t->claim);
    cf_root_free(t->source);
    cf_read_lease_abandon(t->read_lease);
}

void cf_copy_log(const cf_copy *const c, const cf_log_level level, const char *const fmt, ...)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;

    if (c->ctx->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    c->ctx->log(c->ctx->impl, level, text);
}

void cf_copy_progress(const cf_transfer *const t, const char *const phase)
{
    const cf_copy *const c = t->c;

    if (c->ctx->progress == NULL)
        return;
    const cf_progress p = {
        .phase = phase,
        .done_bytes = t->send != NULL ? cf_send_get_bytes(t->send) : 0,
        .total_bytes = t->bytes_missing,
        .done_files = t->packs_sent,
        .total_files = t->packs_missing,
        .things = "packs",
    };
    c->ctx->progress(c->ctx->impl, &p);
}
