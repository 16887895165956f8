/* SPDX-License-Identifier: Apache-2.0
 *
 * Send: the monitor, the workers' loop and the caller's side. send_inner.h is the map.
 */
#include "copy/send.h"

#include "copy/send_inner.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/cond.h"

enum { CF_SEND_WAIT_MS = 1000 };

static void unlockp(cf_send **const s)
{
    CF_CHECK(pthread_mutex_unlock(&(*s)->lock) == 0);
}

static cf_send *hold(cf_send *const s)
{
    CF_CHECK(pthread_mutex_lock(&s->lock) == 0);
    return s;
}

/* Lock until the end of the scope. */
#define HOLD(s)                                                                                    \
    CF_CLEANUP(unlockp)                                                                            \
    cf_send *held_ = hold(s);                                                                      \
    (void)held_

static cf_send_slot *slot_at(cf_send *const s, const uint64_t i)
{
    return &s->slots[i % CF_SEND_WINDOW];
}

/* The first error counts. */
static void fail(cf_send *const s, const cf_err code, const cf_error *const error,
                 const bool at_source)
{
    HOLD(s);
    if (s->failed == CF_OK) {
        s->failed = code;
        s->error = *error;
        s->failed_at_source = at_source;
    }
    atomic_store(&s->ended, true);
    CF_CHECK(pthread_cond_broadcast(&s->work) == 0);
    CF_CHECK(pthread_cond_broadcast(&s->caller) == 0);
}

/* ---- workers ---- */

/* The oldest pack is always taken, so that what is held back behind it gets free. */
static bool may_take(const cf_send *const s)
{
    return s->taken < s->added && (s->held_bytes < CF_SEND_HELD_BYTES || s->taken == s->told);
}

/* NULL: there will be nothing more to do. */
static cf_send_slot *slot_take(cf_send *const s)
{
    HOLD(s);
    while (s->failed == CF_OK && !s->leaving && !may_take(s))
        CF_CHECK(pthread_cond_wait(&s->work, &s->lock) == 0);
    return s->failed == CF_OK && !s->leaving ? slot_at(s, s->taken++) : NULL;
}

static void slot_acknowledge(cf_send *const s, cf_send_slot *const slot,
                             const cf_stored *const stored)
{
    HOLD(s);
    slot->stored = *stored;
    slot->is_sent = true;
    s->held_bytes += stored->size_bytes;
    CF_CHECK(pthread_cond_signal(&s->caller) == 0);
}

cf_err cf_send_note_upload(cf_send *const s, cf_send_slot *const slot, const char *const id,
                           cf_error *const e)
{
    if (id[0] == '\0' || slot->upload_id != NULL) /* only this thread sets it */
        return CF_OK;
    char *const copy = cf_strdup(id);
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "allocate an upload id");
    HOLD(s);
    slot->upload_id = copy;
    return CF_OK;
}

static void *run_worker(void *const send)
{
    cf_send *const s = send;

    for (cf_send_slot *slot = slot_take(s); slot != NULL; slot = slot_take(s)) {
        cf_stored stored = {0};
        cf_error e = {0};
        bool at_source = false;
        const cf_err err = cf_send_stream(s, slot, &stored, &at_source, &e);

        if (err == CF_OK)
            slot_acknowledge(s, slot, &stored);
        else
            fail(s, err, &e, at_source);
    }
    return NULL;
}

/* ---- making and ending ---- */

static cf_err monitor_init(cf_send *const s, cf_error *const e)
{
    CF_ENSURE(pthread_mutex_init(&s->lock, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a lock");
    s->sync_total++;
    CF_ENSURE(pthread_cond_init(&s->work, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a condition");
    s->sync_total++;
    CF_ENSURE(cf_cond_init(&s->caller), e, CF_ERR_NO_MEMORY, "make a condition");
    s->sync_total++;
    return CF_OK;
}

static void freep(cf_send **const s)
{
    cf_send_free(*s);
}

cf_err cf_send_new(const cf_send_opts *const opts, cf_send **const ret, cf_error *const e)
{
    CF_CLEANUP(freep) cf_send *s = NULL;

    CF_CHECK(opts->jobs >= 1 && opts->jobs <= CF_SEND_JOBS_MAX);
    CF_NEW(s, e);
    s->opts = *opts;
    CF_TRY(monitor_init(s, e));
    for (; s->started_total < opts->jobs; s->started_total++)
        CF_ENSURE(pthread_create(&s->threads[s->started_total], NULL, run_worker, s) == 0, e,
                  CF_ERR_NO_MEMORY, "start thread %u", s->started_total + 1);
    *ret = CF_STEAL(s);
    return CF_OK;
}

static void workers_join(cf_send *const s)
{
    if (s->started_total > 0) {
        HOLD(s);
        s->leaving = true;
        atomic_store(&s->ended, true);
        CF_CHECK(pthread_cond_broadcast(&s->work) == 0);
    }
    for (uint32_t i = 0; i < s->started_total; i++)
        CF_CHECK(pthread_join(s->threads[i], NULL) == 0);
    s->started_total = 0;
}

void cf_send_free(cf_send *const s)
{
    if (s == NULL)
        return;
    workers_join(s);
    for (size_t i = 0; i < CF_SEND_WINDOW; i++)
        cf_free(s->slots[i].upload_id);
    if (s->sync_total > 2)
        (void)pthread_cond_destroy(&s->caller);
    if (s->sync_total > 1)
        (void)pthread_cond_destroy(&s->work);
    if (s->sync_total > 0)
        (void)pthread_mutex_destroy(&s->lock);
    cf_free(s);
}

/* ---- the caller's side ---- */

typedef enum event {
    EVENT_ROOM,    /* at most so many are left */
    EVENT_SENT,    /* the oldest: to be told */
    EVENT_NOTHING, /* for a second */
} event;

/* With the lock. */
static event event_find(cf_send *const s, const uint64_t left_max, cf_send_slot **const ret)
{
    *ret = slot_at(s, s->told);
    if (s->told < s->taken && (*ret)->is_sent)
        return EVENT_SENT;
    return s->added - s->told <= left_max ? EVENT_ROOM : EVENT_NOTHING;
}

static cf_err event_wait(cf_send *const s, const uint64_t left_max, event *const ret,
                         cf_send_slot **const ret_slot, cf_error *const e)
{
    HOLD(s);
    for (bool waited = false;; waited = true) {
        if (s->failed != CF_OK) {
            if (e != NULL)
                *e = s->error;
            return s->failed;
        }
        *ret = event_find(s, left_max, ret_slot);
        if (*ret != EVENT_NOTHING || waited)
            return CF_OK;
        (void)cf_cond_wait_ms(&s->caller, &s->lock, CF_SEND_WAIT_MS);
    }
}

static cf_pack_line line_of(const cf_send_slot *const slot)
{
    return (cf_pack_line){.pack = slot->target,
                          .stored_bytes = slot->stored.size_bytes,
                          .used_bytes = slot->stored.size_bytes,
                          .digest = slot->stored.digest,
                          .origin = slot->origin};
}

static void slot_give_back(cf_send *const s, cf_send_slot *const slot)
{
    HOLD(s);
    s->held_bytes -= slot->stored.size_bytes;
    cf_free(slot->upload_id);
    *slot = (cf_send_slot){0};
    s->told++;
    CF_CHECK(pthread_cond_broadcast(&s->work) == 0);
}

/* A slot that was sent is the caller's alone: no lock is held while it is told. */
static cf_err event_tell(cf_send *const s, const event what, cf_send_slot *const slot,
                         cf_error *const e)
{
    if (what == EVENT_NOTHING)
        return s->opts.on_wait(s->opts.impl, e);
    const cf_pack_line line = line_of(slot);
    CF_TRY(s->opts.on_pack(s->opts.impl, &line, e));
    slot_give_back(s, slot);
    return CF_OK;
}

static cf_err tell_until(cf_send *const s, const uint64_t left_max, cf_error *const e)
{
    for (;;) {
        event what = EVENT_NOTHING;
        cf_send_slot *slot = NULL;
        cf_error own = {0};

        CF_TRY(event_wait(s, left_max, &what, &slot, e));
        if (what == EVENT_ROOM)
            return CF_OK;
        const cf_err err = event_tell(s, what, slot, &own);
        if (err != CF_OK)
            fail(s, err, &own, /* at_source= */ false);
    }
}

cf_err cf_send_add(cf_send *const s, const cf_pack_line *const from, const char *const target,
                   const char *const origin, cf_error *const e)
{
    CF_TRY(tell_until(s, CF_SEND_WINDOW - 1, e));
    HOLD(s);
    cf_send_slot *const slot = slot_at(s, s->added);
    memcpy(slot->source, from->pack, strlen(from->pack) + 1);
    memcpy(slot->target, target, strlen(target) + 1);
    memcpy(slot->origin, origin, strlen(origin) + 1);
    slot->stored_bytes = from->stored_bytes;
    slot->digest = from->digest;
    s->added++;
    CF_CHECK(pthread_cond_signal(&s->work) == 0);
    return CF_OK;
}

cf_err cf_send_finish(cf_send *const s, cf_error *const e)
{
    return tell_until(s, /* left_max= */ 0, e);
}

void cf_send_stop(cf_send *const s)
{
    workers_join(s);
    for (uint64_t i = s->told; i < s->taken; i++) {
        cf_send_slot *const slot = slot_at(s, i);
        const cf_pack_line line = line_of(slot);

        if (slot->is_sent)
            (void)s->opts.on_pack(s->opts.impl, &line, /* e= */ NULL);
    }
}

bool cf_send_failed_at_source(cf_send *const s)
{
    HOLD(s);
    return s->failed_at_source;
}

uint64_t cf_send_get_bytes(const cf_send *const s)
{
    return atomic_load(&s->bytes);
}

cf_err cf_send_render_open(cf_send *const s, cf_buf *const ret, cf_error *const e)
{
    HOLD(s);
    for (uint64_t i = s->told; i < s->taken; i++) {
        const cf_send_slot *const slot = slot_at(s, i);
        if (slot->upload_id != NULL && !slot->is_sent)
            CF_TRY(cf_buf_printf(ret, e, "%s%s %s\n", s->opts.runs_prefix, slot->target,
                                 slot->upload_id));
    }
    return CF_OK;
}
