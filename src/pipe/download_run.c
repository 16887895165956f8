/* SPDX-License-Identifier: Apache-2.0
 *
 * How a file is cut into ranged GETs. Pure.
 */
#include "pipe/download_inner.h"

/* The next frames of the extent at the cursor, up to room stored bytes, at least one; without a
 * list, all of it. */
static cf_span span_next(const cf_extent *const x, cf_run_cursor *const c, const uint64_t room)
{
    cf_span s = {.file_offset = x->file_offset + c->file_done, .follows = c->file_end};

    if (x->frame_bytes == NULL) {
        s.stored_bytes = x->stored_bytes;
        s.file_bytes = x->file_bytes;
        c->frame = x->frame_total;
    }
    while (c->frame < x->frame_total &&
           (s.stored_bytes == 0 || s.stored_bytes + x->frame_bytes[c->frame] <= room)) {
        const uint64_t left = x->file_bytes - c->file_done - s.file_bytes;
        s.stored_bytes += x->frame_bytes[c->frame];
        s.file_bytes += left < CF_FRAME_BYTES ? left : CF_FRAME_BYTES;
        c->frame++;
    }
    c->stored_done += s.stored_bytes;
    c->file_done += s.file_bytes;
    c->file_end = s.file_offset + s.file_bytes;
    return s;
}

/* Does the next extent go on in the pack where the run ends? */
static bool goes_on(const cf_extent *const x, const cf_run_of_frames *const run,
                    const cf_run_cursor *const c)
{
    return strcmp(x->pack, run->pack) == 0 &&
           x->pack_offset + c->stored_done == run->pack_offset + run->stored_bytes;
}

bool cf_run_next(const cf_extent *const extents, const size_t total, const uint64_t room,
                 cf_run_cursor *const c, cf_run_of_frames *const ret)
{
    if (c->extent == total)
        return false;
    ret->pack = extents[c->extent].pack;
    ret->pack_offset = extents[c->extent].pack_offset + c->stored_done;
    ret->stored_bytes = 0;
    ret->span_total = 0;
    ret->behind = false;
    while (c->extent < total && ret->span_total < CF_RUN_SPANS_MAX) {
        const cf_extent *const x = &extents[c->extent];
        if (!goes_on(x, ret, c) || ret->stored_bytes >= room)
            break;
        if (ret->span_total > 0 && x->stored_bytes > room - ret->stored_bytes)
            break; /* it begins the next run, and is shared out from there */
        const cf_span s = span_next(x, c, room - ret->stored_bytes);
        ret->spans[ret->span_total++] = s;
        ret->stored_bytes += s.stored_bytes;
        if (c->file_done == x->file_bytes)
            *c = (cf_run_cursor){.extent = c->extent + 1, .file_end = c->file_end};
    }
    return true;
}

bool cf_run_extend(cf_run_of_frames *const run, struct cf_download_file *const file,
                   const cf_extent *const x)
{
    const uint64_t end = run->pack_offset + run->stored_bytes;

    if (run->span_total + 2 > CF_RUN_SPANS_MAX || strcmp(x->pack, run->pack) != 0 ||
        x->pack_offset < end || x->pack_offset - end > CF_BATCH_GAP_BYTES ||
        run->stored_bytes + (x->pack_offset - end) + x->stored_bytes > CF_RUN_STORED_BYTES)
        return false;
    if (x->pack_offset > end)
        run->spans[run->span_total++] = (cf_span){.stored_bytes = x->pack_offset - end};
    run->spans[run->span_total++] = (cf_span){.file = file,
                                              .stored_bytes = x->stored_bytes,
                                              .file_offset = x->file_offset,
                                              .file_bytes = x->file_bytes};
    run->stored_bytes = x->pack_offset + x->stored_bytes - run->pack_offset;
    return true;
}

static cf_err frames_check(const char *const name, const cf_extent *const x, cf_error *const e)
{
    const uint64_t expected = (x->file_bytes + CF_FRAME_BYTES - 1) / CF_FRAME_BYTES;
    uint64_t sum = 0;

    CF_ENSURE(x->frame_total == expected, e, CF_ERR_DAMAGE,
              "file '%s': the extent at %llu has %u frames, its length needs %llu", name,
              (unsigned long long)x->file_offset, x->frame_total, (unsigned long long)expected);
    for (uint32_t i = 0; i < x->frame_total; i++) {
        CF_ENSURE(x->frame_bytes[i] > 0, e, CF_ERR_DAMAGE,
                  "file '%s': the extent at %llu has an empty frame", name,
                  (unsigned long long)x->file_offset);
        sum += x->frame_bytes[i];
    }
    CF_ENSURE(sum == x->stored_bytes, e, CF_ERR_DAMAGE,
              "file '%s': the frames of the extent at %llu have %llu bytes, the extent %llu", name,
              (unsigned long long)x->file_offset, (unsigned long long)sum,
              (unsigned long long)x->stored_bytes);
    return CF_OK;
}

cf_err cf_extents_check(const cf_download_item *const item, cf_error *const e)
{
    uint64_t end = 0;

    CF_ENSURE(!item->ends_with_md5 || item->size_bytes >= CF_MD5_LEN, e, CF_ERR_DAMAGE,
              "file '%s': its %llu bytes cannot end with an MD5", item->name,
              (unsigned long long)item->size_bytes);
    for (size_t i = 0; i < item->extent_total; i++) {
        const cf_extent *const x = &item->extents[i];
        const unsigned long long at = x->file_offset;

        CF_ENSURE(x->file_bytes > 0, e, CF_ERR_DAMAGE, "file '%s': the extent at %llu is empty",
                  item->name, at);
        CF_ENSURE(x->stored_bytes > 0, e, CF_ERR_DAMAGE,
                  "file '%s': the extent at %llu has no stored bytes", item->name, at);
        CF_ENSURE(x->stored_bytes <= UINT64_MAX - x->pack_offset, e, CF_ERR_DAMAGE,
                  "file '%s': the extent at %llu leaves its pack", item->name, at);
        CF_ENSURE(x->file_offset >= end, e, CF_ERR_DAMAGE,
                  "file '%s': the extent at %llu begins before %llu, the end of the one before",
                  item->name, at, (unsigned long long)end);
        CF_ENSURE(x->file_offset <= item->size_bytes &&
                      x->file_bytes <= item->size_bytes - x->file_offset,
                  e, CF_ERR_DAMAGE,
                  "file '%s': the extent at %llu of %llu bytes leaves the file of %llu", item->name,
                  at, (unsigned long long)x->file_bytes, (unsigned long long)item->size_bytes);
        if (x->frame_bytes != NULL)
            CF_TRY(frames_check(item->name, x, e));
        end = x->file_offset + x->file_bytes;
    }
    return CF_OK;
}

cf_err cf_download_plan(const uint64_t memory_bytes, const uint32_t jobs,
                        uint32_t *const ret_workers, cf_error *const e)
{
    enum { CONNECTIONS_MIN = 4 };
    cf_memory_plan plan = {0}; /* made for its check only: one minimum, one message */
    const uint64_t total =
        memory_bytes != 0 ? memory_bytes : (uint64_t)CF_MEMORY_DEFAULT_MIB * 1024 * 1024;

    CF_TRY(cf_memory_plan_make(total, jobs, &plan, e));
    const uint64_t allowed = (total - CF_MEMORY_REST_BYTES) / CF_DOWNLOAD_WORKER_BYTES;
    const uint32_t cores = cf_cores();
    uint64_t wanted = jobs != 0 ? jobs : cores < CONNECTIONS_MIN ? CONNECTIONS_MIN : cores;
    if (wanted > CF_DOWNLOAD_WORKERS_MAX)
        wanted = CF_DOWNLOAD_WORKERS_MAX;
    *ret_workers = (uint32_t)(wanted < allowed ? wanted : allowed);
    return CF_OK;
}
