/* SPDX-License-Identifier: Apache-2.0
 *
 * A store WITHOUT conditional create. No fences; the root's PUT is unconditional; leases/<n>-<run>, one key a run.
 * prune: pass 1 marks garbage; pass 2, at least 7 days later, looks again and deletes only what pass 1 marked and is garbage still.
 *
 * Run 1 is dead and uncommitted; backups 2 and 3. A run that does not sleep keeps its lease live from its PUT to its commit; "7 days"
 * is that nobody but a sleeper outlives it. -DSLEEP: run 2 may sleep, its lease may run out at any step.
 * -DAWAIT: the protocol for one that slept: it PUTs its lease again, waits longer than a prune may take from its LIST of leases to its
 * last delete, LISTs all it names, and PUTs its root while that lease is live. -DSLEEPAGAIN: it sleeps again just there.
 * -DM_ONEPASS, -DM_ADOPTMARKED, -DM_NOLIST: steps left out. */
#define B(i)  (1 << (i))
#define NONE  7
#define LIVE  1
#define OUT   2                 /* run out */

byte root[4], names[4], lease[4], uses[4];
byte packs = 3;
byte adopting;                  /* backups whose lease adopts run 1 */
byte mark;                      /* runs marked as garbage: their roots or their objects */
bool pruning;                   /* a prune is between its LIST of leases and its last delete */
bool pre[4];                    /* the run waits for that prune: it began before the run's PUT of its lease */

#define NEWEST(m) ((m)&8 -> 3 : ((m)&4 -> 2 : ((m)&2 -> 1 : ((m)&1 -> 0 : NONE))))
#define ROOTS     ((root[0]==1) | ((root[1]==1)<<1) | ((root[2]==1)<<2) | ((root[3]==1)<<3))
#define NAMED(m)  (((m)&1)*names[0] | (((m)>>1)&1)*names[1] | (((m)>>2)&1)*names[2] | (((m)>>3)&1)*names[3])

inline check_all() { assert((NAMED(ROOTS) & ~packs) == 0) }

proctype sleep2() { end: do :: atomic { lease[2] == LIVE -> lease[2] = OUT } od }

proctype backup(byte me) {
  byte par, ad, M, R;
  d_step { R = ROOTS; M = mark }
  if :: NEWEST(R) < me :: else -> goto out fi;
again:
#ifdef M_ADOPTMARKED
  M = 0;
#endif
  atomic { par = NEWEST(R); ad = 0; if :: !(R & 2) && (packs & 2) && !(M & 2) -> ad = 1 :: ad = 0 fi }
  d_step { lease[me] = LIVE; uses[me] = par; if :: ad -> adopting = adopting | B(me) :: else -> adopting = adopting & ~B(me) fi }
  d_step { R = ROOTS; M = mark }
  atomic {
    if
    :: par != NEWEST(R) -> goto again
    :: ad && (R & 2) -> goto again
#ifndef M_ADOPTMARKED
    :: ad && (M & 2) -> goto again                          /* nobody adopts what is marked */
#endif
    :: else
    fi
  }
  atomic {
    names[me] = B(me);
    if :: ad && (packs & 2) -> names[me] = names[me] | 2 :: else fi;
    if :: names[me] = names[me] | names[par] :: skip fi
  }
  packs = packs | B(me);
look:
  if
  :: atomic { lease[me] == OUT ->
#ifdef M_NOLIST
       goto put }
#else
       skip }
#ifdef AWAIT
     atomic { lease[me] = LIVE; pre[me] = pruning }         /* the lease again */
     !pre[me] ->                                          /* waits out every prune that may have looked before */
#endif
     atomic { if :: names[me] & ~packs -> goto out :: else fi }   /* LISTs all it names */
#endif
  :: lease[me] == LIVE
  fi;
put:
  atomic {
#ifdef AWAIT
#ifndef SLEEPAGAIN
    if :: lease[me] == OUT -> goto look :: else fi;         /* the lease is live when the PUT arrives */
#endif
#endif
    root[me] = 1; check_all()
  }
  lease[me] = 0;
out: skip
}

proctype prune() {
  byte pass, may, newest, listed, U, P, A, R, D, G, i, marked_objects, marked_roots;
  do
  :: pass < 2 -> pass++;
#ifdef M_ONEPASS
    pass = 2;
#endif
    d_step { may = ROOTS; newest = NEWEST(may) }
    d_step { listed = packs }
    d_step {                                              /* LIST leases: the live ones protect */
      pruning = 1;
      U = ((lease[1]==LIVE)<<1) | ((lease[2]==LIVE)<<2) | ((lease[3]==LIVE)<<3);
      P = 0;
      if :: U & 4 -> P = P | B(uses[2]) :: else fi; if :: U & 8 -> P = P | B(uses[3]) :: else fi;
      A = adopting & U }
    d_step {                                              /* LIST snapshots last; decide */
      R = ROOTS; D = R & may & ~B(newest) & ~P;
#ifndef M_ONEPASS
      if :: pass == 2 -> D = D & marked_roots :: else fi;
#endif
      G = listed & ~NAMED(R & ~D) & ~U & ~(R & ~may);       /* committed meanwhile: no garbage */
      if :: A -> G = G & ~2 :: else fi;
      if
      :: pass == 2 ->
#ifdef M_ONEPASS
        skip
#else
        G = G & marked_objects
#endif
      :: else -> marked_roots = D; marked_objects = G; mark = G | D; D = 0; G = 0
      fi;
      may = 0; newest = 0; listed = 0; U = 0; P = 0; A = 0; R = 0 }
    skip;
    do :: D -> d_step { i = NEWEST(D); D = D & ~B(i); root[i] = 0; i = 0 } :: !D -> break od;
    skip;
    do :: G -> d_step { i = NEWEST(G); G = G & ~B(i); packs = packs & ~B(i); i = 0; check_all() } :: !G -> break od;
    skip;
    d_step { pruning = 0; pre[2] = 0; pre[3] = 0 }
  :: pass == 2 -> break
  od
}

init { atomic {
  root[0] = 1; names[0] = 1; lease[1] = OUT; names[1] = 2;
  run backup(2); run backup(3); run prune();
#ifdef SLEEP
  run sleep2();
#endif
} }
