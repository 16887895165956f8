/* SPDX-License-Identifier: Apache-2.0
 *
 * Adaptive compression: the level of the next frame, from how long the workers had nothing to do.
 * zstd's own idea (zstd --adapt): workers that wait do so because the network (or the source) is
 * slow, so there is time to compress better; workers that never wait hold everything else up. Pure.
 *
 * Not the number of blocks that wait to be sent: a part buffer of 8 MiB swallows ten compressed
 * frames at once, so on a slow network there are mostly none. Measured, and it went down there.
 */
#ifndef SRC_PIPE_ADAPT_H
#define SRC_PIPE_ADAPT_H

#include <stdint.h>

enum { CF_ADAPT_FRAMES = 8 }; /* between two looks: about what one part of S3 takes */

typedef struct cf_adapt {
    int level, level_max; /* 1..level_max */
    uint32_t workers;
    uint32_t frames;            /* since the last look; and */
    uint64_t began_ms, idle_ms; /* when it was, and the sum of all workers' waiting */
} cf_adapt;

/* A worker has waited idle_ms for a frame and has it now. Returns the level for it. */
int cf_adapt_next(cf_adapt *a, uint64_t now_ms, uint64_t idle_ms);

#endif
