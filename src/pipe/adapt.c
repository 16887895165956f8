/* SPDX-License-Identifier: Apache-2.0
 *
 * Half of the blocks wait to be sent: up. None does, and a quarter waits to be compressed: down.
 * Between the two the level is right. A level is left only after several looks in a row, since what
 * a change does is seen only once the blocks of before have gone.
 */
#include "pipe/adapt.h"

static int vote_of(const cf_adapt_look *const look)
{
    if (look->unsent * 2 >= look->blocks)
        return 1;
    return look->unsent == 0 && look->raw * 4 >= look->blocks ? -1 : 0;
}

int cf_adapt_next(cf_adapt *const a, const cf_adapt_look *const look)
{
    const int vote = vote_of(look);

    a->votes = vote * a->votes > 0 ? a->votes + vote : vote;
    if (a->votes * vote < CF_ADAPT_PATIENCE)
        return a->level;
    a->votes = 0;
    a->level += vote;
    if (a->level < 1)
        a->level = 1;
    if (a->level > a->level_max)
        a->level = a->level_max;
    return a->level;
}
