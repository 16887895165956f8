/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress, under weak fairness. Leases exclude (conditional create) and run out only when their owner is dead; prune loops for ever
 * and fences every uncommitted run without a live lease; its retention keeps the newest only.
 *
 * Run 1 is dead and uncommitted, backups 2 and 3 wait for a free lease: ended, run out, or of a decided run.
 * -DFAULTS: backups may die at any step. -DSTUCK: run 1 hangs and its lease never runs out; somebody unlocks it (a fence).
 * -DM_NOFENCE, -DM_HELD (a decided run's lease is not free): steps left out. */
#define B(i)  (1 << (i))
#define NONE  7
#define LIVE  1
#define OUT   2                 /* run out */
#define ENDED 3

byte root[4], names[4], lease[4], uses[4];
byte packs = 3;
byte adopting;                  /* backups whose lease adopts run 1 */
byte dead = 2;

#define NEWEST(m) ((m)&8 -> 3 : ((m)&4 -> 2 : ((m)&2 -> 1 : ((m)&1 -> 0 : NONE))))
#define ROOTS     ((root[0]==1) | ((root[1]==1)<<1) | ((root[2]==1)<<2) | ((root[3]==1)<<3))
#define DECIDED   ((root[0]!=0) | ((root[1]!=0)<<1) | ((root[2]!=0)<<2) | ((root[3]!=0)<<3))
#define NAMED     ((root[0]==1)*names[0] | (root[1]==1)*names[1] | (root[2]==1)*names[2] | (root[3]==1)*names[3])
#ifdef M_HELD
#define FREE(r)   (lease[r] != LIVE)
#else
#define FREE(r)   (lease[r] != LIVE || root[r] != 0)
#endif
#ifdef FAULTS
#define MAY_DIE   if :: atomic { dead = dead | B(me); goto out } :: skip fi
#else
#define MAY_DIE   skip
#endif

proctype backup(byte me) {
  byte other; bool adopted;
  other = 5 - me;
  atomic { NEWEST(ROOTS) < me };                           /* else a new id: not modelled */
  MAY_DIE;
  atomic {                                                /* waits for the others' leases */
    FREE(other) && FREE(1) -> lease[me] = LIVE; uses[me] = NEWEST(ROOTS);
    if :: root[1] == 0 -> adopting = adopting | B(me); adopted = 1 :: skip fi
  }
  MAY_DIE;
  do                                                      /* LIST again; the next number with other uses */
  :: atomic { uses[me] != NEWEST(ROOTS) || (adopted && root[1] != 0) ->
              uses[me] = NEWEST(ROOTS); adopted = 0; adopting = adopting & ~B(me) }
  :: atomic { uses[me] == NEWEST(ROOTS) && !(adopted && root[1] != 0) -> break }
  od;
  names[me] = B(me) | names[uses[me]] | (adopted -> 2 : 0);
  packs = packs | B(me);
  MAY_DIE;
  atomic { if :: root[me] == 0 -> root[me] = 1; assert((names[me] & ~packs) == 0) :: else fi }
  MAY_DIE;
  lease[me] = ENDED;
out: skip
}

active proctype clock() {
end:
  do
#ifdef STUCK
  :: atomic { root[1] == 0 -> root[1] = 2 }                /* unlock */
#else
  :: atomic { lease[1] == LIVE -> lease[1] = OUT }
#endif
  :: atomic { lease[2] == LIVE && (dead & 4) -> lease[2] = OUT }
  :: atomic { lease[3] == LIVE && (dead & 8) -> lease[3] = OUT }
  od
}

inline fence_dead() {
  i = 1;
  do
  :: i < 4 ->
    atomic {
      if
#ifndef M_NOFENCE
      :: root[i] == 0 && lease[i] != LIVE && ((packs & B(i)) || lease[i]) -> root[i] = 2; decided = decided | B(i)
#endif
      :: root[i] != 0 -> decided = decided | B(i)
      :: else
      fi;
      i++
    }
  :: i == 4 -> i = 0; break
  od
}
inline keep_uses(r) { if :: lease[r] && root[r] == 0 -> P = P | B(uses[r]); A = A | (adopting & B(r)) :: else fi }
inline keep_names(r) { if :: (R & ~D) & B(r) -> G = G & ~names[r] :: else fi }

proctype prune() {
  byte may, newest, decided, listed, P, A, R, D, G, i;
  do
  :: d_step { may = ROOTS; newest = NEWEST(may); decided = DECIDED; listed = packs }
    fence_dead();
    skip;
    d_step { P = 0; A = 0; keep_uses(1); keep_uses(2); keep_uses(3) }
    d_step {
      R = ROOTS; D = R & may & ~B(newest) & ~P; G = listed & decided;
      keep_names(0); keep_names(1); keep_names(2); keep_names(3);
      if :: A -> G = G & ~2 :: else fi;
      may = 0; newest = 0; decided = 0; listed = 0; P = 0; A = 0; R = 0 }
    d_step {
      do :: D -> i = NEWEST(D); D = D & ~B(i); root[i] = 2 :: else -> break od;
      skip;
      packs = packs & ~G; G = 0; i = 0;
      assert((NAMED & ~packs) == 0) }
  od
}

init { atomic {
  root[0] = 1; names[0] = 1; lease[1] = LIVE; uses[1] = 0; names[1] = 3;
  run backup(2); run backup(3); run prune()
} }

ltl progress { <> (root[2] == 1 || root[3] == 1) }           /* property 3: a backup commits */
ltl gone1 { <> [] (!(packs & 2) || (NAMED & 2)) }            /* property 4: what nobody names goes, in the end */
ltl gone2 { <> [] (!(packs & 4) || (NAMED & 4)) }
