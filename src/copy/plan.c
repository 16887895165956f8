/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a copy: what the upload pipeline gives to frames and compressors is part buffers here.
 */
#include "copy/copy.h"
#include "pipe/memory_plan.h"

enum {
    MIB = 1024 * 1024,
    MANIFEST_MIB = 12, /* ours: a cursor on each side more than a backup has... */
    MANIFEST_PART = 6, /* ...but less where the caches of cursors are smaller */
    PARTS_MIN = 2,
    PARTS_MAX = 32, /* 32 of 8 MiB in flight fill 10 Gbit/s at 200 ms */
    JOBS_USUAL = 4,
};

cf_err cf_copy_plan_make(const uint64_t memory_bytes, const uint32_t jobs, cf_copy_plan *const ret,
                         cf_error *const e)
{
    const uint64_t total = memory_bytes != 0 ? memory_bytes : (uint64_t)CF_MEMORY_DEFAULT_MIB * MIB;
    cf_memory_plan upload = {0};

    CF_TRY(cf_memory_plan_make(total, jobs, &upload, e)); /* the same least, the same part size */
    const uint64_t most = (uint64_t)MANIFEST_MIB * MIB;
    const uint64_t manifest = total / MANIFEST_PART < most ? total / MANIFEST_PART : most;
    const uint64_t rest = CF_MEMORY_REST_BYTES + manifest;
    const uint64_t parts = (total - rest) / upload.part_bytes;
    const uint32_t cores = cf_cores();
    const uint32_t wish = jobs != 0 ? jobs : cores > JOBS_USUAL ? cores : JOBS_USUAL;
    cf_copy_plan p = {.part_bytes = upload.part_bytes};

    p.parts_in_flight = (uint32_t)(parts < PARTS_MIN   ? PARTS_MIN
                                   : parts > PARTS_MAX ? PARTS_MAX
                                                       : parts);
    p.jobs = wish < p.parts_in_flight ? wish : p.parts_in_flight;
    *ret = p;
    return CF_OK;
}
