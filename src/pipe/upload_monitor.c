/* SPDX-License-Identifier: Apache-2.0
 *
 * The monitor: who waits, who is woken, and how the first error ends it all.
 */
#include "pipe/upload_inner.h"
#include "s3/base/cond.h"

void cf_upload_lock(cf_upload *const u)
{
    CF_CHECK(pthread_mutex_lock(&u->lock) == 0);
}

void cf_upload_unlock(cf_upload *const u)
{
    CF_CHECK(pthread_mutex_unlock(&u->lock) == 0);
}

void cf_upload_wait(cf_upload *const u, const cf_stage stage)
{
    CF_CHECK(pthread_cond_wait(&u->wake[stage], &u->lock) == 0);
}

bool cf_upload_wait_ms(cf_upload *const u, const cf_stage stage, const uint64_t ms)
{
    return cf_cond_wait_ms(&u->wake[stage], &u->lock, ms);
}

void cf_upload_wake(cf_upload *const u, const cf_stage stage)
{
    CF_CHECK(pthread_cond_signal(&u->wake[stage]) == 0);
}

void cf_upload_wake_all(cf_upload *const u, const cf_stage stage)
{
    CF_CHECK(pthread_cond_broadcast(&u->wake[stage]) == 0);
}

bool cf_upload_ended(const cf_upload *const u)
{
    return u->failed != CF_OK || u->leaving;
}

void cf_upload_fail(cf_upload *const u, const cf_err code, const cf_error *const error)
{
    CF_UPLOAD_HOLD(u);
    if (u->failed == CF_OK) {
        u->failed = code;
        u->error = *error;
    }
    for (int stage = 0; stage < CF_STAGE_TOTAL; stage++)
        cf_upload_wake_all(u, (cf_stage)stage);
}

cf_err cf_upload_check_stop(const cf_upload *const u, cf_error *const e)
{
    CF_ENSURE(!u->opts.world->stopping(u->opts.world->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

void cf_upload_give_block(cf_upload *const u, cf_block *const block)
{
    block->next = u->free_blocks;
    u->free_blocks = block;
    cf_upload_wake(u, CF_STAGE_READ);
}
