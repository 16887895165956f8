/* SPDX-License-Identifier: Apache-2.0
 *
 * What the figures of a memory plan stand for. cf_memory_plan_make() is declared in pipe/upload.h;
 * this is for the pipelines and tests.
 */
#ifndef SRC_PIPE_MEMORY_PLAN_H
#define SRC_PIPE_MEMORY_PLAN_H

#include "pipe/upload.h"

enum {
    CF_BLOCK_BYTES = CF_FRAME_BYTES + CF_FRAME_BYTES / 256 + 64, /* ZSTD_COMPRESSBOUND of a frame */
    CF_MEMORY_FRAME_BYTES = CF_BLOCK_BYTES + 4096,               /* mapped in pages */
    CF_MEMORY_WORKER_BYTES =
        CF_MEMORY_FRAME_BYTES +
        2 * 1024 * 1024, /* spare block, zstd context of level 3: measured 1.3 MiB */
    /* Program, libraries, threads, items, the manifest's segments: docs/internals/memory.md has what
     * was measured. A small plan keeps fewer of the parent's segments. */
    CF_MEMORY_REST_BYTES = 27 * 1024 * 1024,
};

/* Everything the plan allows, the rest included; never more than what it was made from. */
uint64_t cf_memory_plan_bytes(const cf_memory_plan *p);

/* The plan for another level than 3, whose zstd contexts are larger: fewer frames, then fewer
 * workers. level 1..CF_UPLOAD_LEVEL_MAX. CF_ERR_USAGE when one worker and one frame do not fit. */
CF_NODISCARD cf_err cf_memory_plan_fit_level(cf_memory_plan *p, int level, cf_error *e);
/* Bytes of a worker at that level, or CF_UPLOAD_LEVEL_OFF. */
uint64_t cf_memory_worker_bytes(int level);
/* Of the parent's segments that a cursor keeps. memory_bytes 0: CF_MEMORY_DEFAULT_MIB. */
uint64_t cf_memory_cache_bytes(uint64_t memory_bytes);
uint32_t cf_memory_plan_least_mib(int level); /* the least --memory for it, whatever --jobs is */
/* The highest level that leaves the plan its workers, and each of them two frames. */
int cf_memory_plan_best_level(const cf_memory_plan *p);

/* Processors this process may run on, at least 1. */
uint32_t cf_cores(void);

#endif
