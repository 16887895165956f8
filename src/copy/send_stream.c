/* SPDX-License-Identifier: Apache-2.0
 *
 * One pack, from the source's get to the target's put. The digest of its line is computed while it
 * passes, in the form that line has, and decides before the put is finished: what is damaged never
 * appears in the target.
 */
#include <stdio.h>

#include "copy/send_inner.h"
#include "s3/base/cleanup.h"
#include "store/digest.h"

typedef struct stream {
    cf_send *s;
    cf_send_slot *slot;
    const cf_store_ops *ops; /* of the target */
    cf_store_put *put;       /* aborted unless it was finished */
    cf_digest_check check;
    bool target_failed;
} stream;

static void stream_deinit(stream *const x)
{
    if (x->put != NULL)
        x->ops->put_abort(x->put);
    cf_digest_check_deinit(&x->check);
}

static cf_err stop_check(const cf_send *const s, cf_error *const e)
{
    CF_ENSURE(!atomic_load(&s->ended), e, CF_ERR_INTERRUPTED, "the copy was given up");
    CF_ENSURE(!s->opts.world->stopping(s->opts.world->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

static cf_err pass_on(stream *const x, const cf_slice bytes, cf_error *const e)
{
    CF_TRY(x->ops->put_write(x->put, bytes, e));
    return cf_send_note_upload(x->s, x->slot, x->ops->put_upload_id(x->put), e);
}

static cf_err sink(void *const impl, const cf_slice bytes, cf_error *const e)
{
    stream *const x = impl;

    CF_TRY(stop_check(x->s, e));
    CF_ENSURE(bytes.len <= x->slot->stored_bytes - x->check.bytes, e, CF_ERR_DAMAGE,
              "it has more than the %llu bytes that its line says",
              (unsigned long long)x->slot->stored_bytes);
    CF_TRY(cf_digest_check_add(&x->check, bytes, e));
    const cf_err err = pass_on(x, bytes, e);
    x->target_failed = err != CF_OK;
    if (err == CF_OK)
        (void)atomic_fetch_add(&x->s->bytes, bytes.len);
    return err;
}

static cf_err key_make(const cf_send *const s, const char *const name, char ret[CF_KEY_LEN_MAX + 1],
                       cf_error *const e)
{
    const int len = snprintf(ret, CF_KEY_LEN_MAX + 1, "%s%s", s->opts.runs_prefix, name);

    CF_ENSURE(len > 0 && len <= CF_KEY_LEN_MAX, e, CF_ERR_TOO_LARGE,
              "key '%s%s' has more than %d bytes", s->opts.runs_prefix, name, CF_KEY_LEN_MAX);
    return CF_OK;
}

/* All bytes through the sink, and the verdict on them. */
static cf_err pass(stream *const x, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];

    CF_TRY(key_make(x->s, x->slot->source, key, e));
    const cf_err err = x->s->opts.from->ops->get(x->s->opts.from, key, /* offset= */ 0,
                                                 /* len= */ 0, sink, x, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND || x->target_failed, e, CF_ERR_DAMAGE, "it is gone");
    CF_TRY(err);
    return cf_digest_check_end(&x->check, e);
}

cf_err cf_send_stream(cf_send *const s, cf_send_slot *const slot, cf_stored *const ret,
                      bool *const ret_at_source, cf_error *const e)
{
    CF_CLEANUP(stream_deinit) stream x = {.s = s, .slot = slot, .ops = s->opts.to->ops};
    const cf_put_opts opts = {.create_only = true};
    const cf_stored expected = {slot->stored_bytes, slot->digest};
    cf_stored stored = {0};
    char key[CF_KEY_LEN_MAX + 1];

    *ret_at_source = false;
    CF_TRY(stop_check(s, e));
    CF_TRY(key_make(s, slot->target, key, e));
    CF_TRY(cf_digest_check_begin(&x.check, &expected, e));
    CF_TRY_AS(x.ops->put_open(s->opts.to, key, &opts, &x.put, e), e, "write pack '%s'",
              slot->target);
    const cf_err err = pass(&x, e);
    *ret_at_source = err != CF_OK && !x.target_failed;
    if (err != CF_OK)
        cf_error_prefix(e, "%s pack '%s'", x.target_failed ? "write" : "the source's",
                        x.target_failed ? slot->target : slot->source);
    CF_TRY(err);
    CF_TRY_AS(x.ops->put_finish(CF_STEAL(x.put), &stored, e), e, "write pack '%s'", slot->target);
    CF_ENSURE(stored.size_bytes == slot->stored_bytes, e, CF_ERR_PROTOCOL,
              "pack '%s': the store has %llu bytes, %llu were sent", slot->target,
              (unsigned long long)stored.size_bytes, (unsigned long long)slot->stored_bytes);
    *ret = stored;
    return CF_OK;
}
