/* SPDX-License-Identifier: Apache-2.0
 *
 * Adaptive compression: the level of the next frame, from where the blocks of memory are held up.
 * zstd's own idea (zstd --adapt): what waits to be sent says that the network is slow, so there is
 * time to compress better; what waits to be compressed while nothing waits to be sent says that
 * there is none. Pure.
 */
#ifndef SRC_PIPE_ADAPT_H
#define SRC_PIPE_ADAPT_H

#include <stdint.h>

enum { CF_ADAPT_PATIENCE = 4 }; /* looks in a row that say the same, for one level */

typedef struct cf_adapt {
    int level, level_max; /* 1..level_max */
    int votes;            /* up: > 0, down: < 0; in a row */
} cf_adapt;

/* Where the pool's blocks are when a worker takes one. */
typedef struct cf_adapt_look {
    uint32_t blocks; /* of the pool */
    uint32_t raw;    /* read, and not taken by a worker */
    uint32_t unsent; /* compressed, and not taken by a lane */
} cf_adapt_look;

/* Counts the look and returns the level to use now. */
int cf_adapt_next(cf_adapt *a, const cf_adapt_look *look);

#endif
