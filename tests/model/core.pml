/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit, fence and prune protocol on ONE node of a repository with conditional create.
 *
 * Runs, by their ids: 0 = S0, committed; 1 = R1, dead and uncommitted (-DTWO: also 2 = R1b, dead, which had adopted R1);
 * then the backups. A run writes one pack (-DSEGMENTS: and one segment). A dead run's root PUT may still be on the wire.
 *
 * No clock: prune may hold ANY uncommitted run for dead, so every timing of leases and grace is over-approximated. To die or
 * to sleep is to take no step (for long). Each request to the store is a step, and everything interleaves.
 *
 * Steps are numbered B1.. (backup and copy), C1.. (commit), P1.. (prune), T1.. (tag), R1.. (reader) and U1 (unlock):
 * docs/internals/commit.md has the same numbers. Default: the protocol. -DM_x: a step left out. -DW_x: a looser wording. */
#ifndef NB
#define NB 2            /* backups */
#endif
#ifndef NP
#define NP 1            /* prunes, not kept apart: a prune's own lease carries no safety */
#endif
#ifndef FULL
#define FULL 9          /* this backup has the whole commit: lost answers, retries, PUTs on the wire */
#endif
#ifdef TWO
#define N     5
#define FIRST 3         /* backup */
#define DEAD  6         /* bits of R1 and R1b */
#else
#define N     4
#define FIRST 2
#define DEAD  2
#endif
#ifdef SEGMENTS
#define SET   short
#define OF(m) ((m) | ((m) << N))   /* the objects of a set of runs: packs, and above them segments */
#else
#define SET   byte
#define OF(m) (m)
#endif
#define B(i)  (1 << (i))
#define NONE  7

byte root[N];           /* at the root's key: 0 nothing, 1 root, 2 fence */
SET  names[N];          /* objects that the root of r names: fixed before its PUT */
SET  there;             /* objects that exist */
byte leases;            /* runs that have a lease */
byte uses[N];           /* the parent in r's lease */
byte adopts[N];         /* the adopted runs in r's lease */
byte flight;            /* root PUTs on the wire, their senders gave up waiting or died */
byte said[N];           /* what a run told its user: 0 nothing, 1 committed, 2 failed */
bool reading;           /* a read lease on snapshot read_id */
byte read_id;
byte marks;             /* keep marks (-DTAGS) */
byte kept;              /* snapshots whose `tag` said: kept */
byte pruning;           /* prunes whose own lease is live: only tag looks at it */

#define NEWEST(m) ((m)&16 -> 4 : ((m)&8 -> 3 : ((m)&4 -> 2 : ((m)&2 -> 1 : ((m)&1 -> 0 : NONE)))))
#define AT(r,v)   (root[r] == v -> B(r) : 0)
#ifdef TWO
#define ALL(v)    (AT(0,v) | AT(1,v) | AT(2,v) | AT(3,v) | AT(4,v))
#else
#define ALL(v)    (AT(0,v) | AT(1,v) | AT(2,v) | AT(3,v))
#endif
#define WHOLE(r)  (root[r] != 1 || (names[r] & ~there) == 0)

/* Property 1: every object of every root exists. Looked at when a root is born and at each delete. */
inline check_all() {
  assert(WHOLE(0)); assert(WHOLE(1)); assert(WHOLE(2)); assert(WHOLE(3));
#ifdef TWO
  assert(WHOLE(4))
#endif
}
/* Property 5: never "failed" while the root stands. */
inline born(r) { root[r] = 1; assert(WHOLE(r)); assert(said[r] != 2) }

/* A LIST is one step, or (-DPAGED) one key a page, ascending. */
#ifdef PAGED
#define PAGE(r,R,F) d_step { R = R | AT(r,1); F = F | AT(r,2) }
#ifdef TWO
#define LIST(R,F) R = 0; F = 0; PAGE(0,R,F); PAGE(1,R,F); PAGE(2,R,F); PAGE(3,R,F); PAGE(4,R,F)
#else
#define LIST(R,F) R = 0; F = 0; PAGE(0,R,F); PAGE(1,R,F); PAGE(2,R,F); PAGE(3,R,F)
#endif
#else
#define LIST(R,F) d_step { R = ALL(1); F = ALL(2) }
#endif

/* A root PUT that is on the wire: it arrives some day, or never. */
proctype net(byte r) {
end:
  atomic { (flight & B(r)) -> flight = flight & ~B(r);
#ifdef M_UNCOND
    born(r)
#else
    if :: root[r] == 0 -> born(r) :: else fi
#endif
  }
}

/* --- backup, and copy's side in the target --- */

/* uses never changes within a number: a second PUT stands for the next number (lease.pml has the numbers). */
inline put_lease() {
  d_step { leases = leases | B(me); uses[me] = par; adopts[me] = ad }
}

/* Any part of the dead runs that are seen undecided and left objects. */
inline choose_adopted() {
  ad = 0;
#ifndef NOADOPT
#ifdef REDUCE
  if :: me == FIRST -> ad = DEAD & there & ~(R | F) :: else fi;
#else
  if :: ad = DEAD & there & ~(R | F)
     :: ad = 0
#ifdef TWO
     :: ad = 2 & there & ~(R | F)
     :: ad = 4 & there & ~(R | F)
#endif
  fi;
#endif
#endif
}

inline put_root_once() {   /* "on the wire after its sender's death" is the same as this step taken late */
  atomic {
#ifdef M_UNCOND
    born(me); said[me] = 1
#else
    if :: root[me] == 0 -> born(me); said[me] = 1 :: root[me] == 1 -> said[me] = 1 :: root[me] == 2 -> said[me] = 2 fi
#endif
#ifdef TAGGED
#ifndef M_TAGLATE
    ; if :: me == FIRST && said[me] == 1 -> kept = kept | B(me) :: else fi
#endif
#endif
  }
}

proctype backup(byte me) {
  byte R, F, par, ad, tries;
  par = NONE;
  LIST(R, F);                                             /* B1 LIST snapshots; the run's id is made above the newest */
#ifndef NOGUARD
  atomic { if :: NEWEST(R) < me || NEWEST(R) == NONE :: else -> goto out fi }
#endif
again:
  atomic {
    par = NEWEST(R);                                      /* B2 choose the parent and whom to adopt */
#ifdef M_PARENT
    if :: par = NEWEST(R) :: (R & 1) -> par = 0 :: (R & 2) -> par = 1 fi;
#endif
    choose_adopted();
#ifdef M_PACKFIRST
    there = there | B(me);
#endif
  }
  put_lease();                                            /* B3 PUT the lease with uses: parent and adopted runs */
#ifndef M_LEASE_AFTER
  LIST(R, F);                                             /* B4 LIST snapshots again */
  atomic {                                                /* B5 check; else again with the next number */
    if
#ifdef W_THERE
    :: par != NONE && !(R & B(par)) -> goto again          /* "the parent must be there" */
#else
    :: par != NEWEST(R) -> goto again                      /* the parent must still be the NEWEST */
#endif
#ifndef M_ADCHECK
    :: ad & (R | F) -> goto again                          /* adopted runs neither committed nor fenced */
#endif
    :: else
    fi
  }
#endif
  atomic {                                                /* B6 LIST the adopted runs' objects; all names are fixed here */
    names[me] = OF(B(me));
#ifdef M_TRANS
    if :: (ad & there & 2) -> names[me] = names[me] | names[1] :: else fi;  /* also what the journal names elsewhere */
#ifdef TWO
    if :: (ad & there & 4) -> names[me] = names[me] | names[2] :: else fi;
#endif
#else
    names[me] = names[me] | (ad & there);                  /* only packs below its own runs/<run>/ */
#endif
    if                                                    /* the parent's: nothing, packs, or packs and equal segments */
    :: par != NONE -> names[me] = names[me] | names[par]
#ifdef SEGMENTS
    :: par != NONE -> names[me] = names[me] | (names[par] & (B(N) - 1))
#endif
    :: skip
    fi;
#ifdef REACH_A
    assert(!(me == FIRST+1 && par == FIRST && ad && names[me] == 15));
#endif
#ifdef REACH_AA
    assert((names[me] & DEAD) != DEAD);
#endif
#ifdef REACH_S
    assert(!(par != NONE && par != 0 && (names[me] & B(N + par)) && (names[me] & B(N))));
#endif
    R = 0; F = 0; ad = 0; par = 0
  }
  there = there | B(me);                                  /* B7 PUT packs */
#ifdef SEGMENTS
  there = there | B(N + me);                              /* B8 PUT segments */
#endif
#ifdef TAGGED
#ifndef M_TAGLATE
  if :: me == FIRST -> marks = marks | B(me) :: else fi;   /* B9 PUT the run's own keep mark: before its root */
#endif
#endif
  if
  :: me == FULL ->
    do
    :: tries < 2 -> tries++;
      if
      :: atomic {                                         /* C1 PUT the root: it arrives now, its answer or not */
#ifdef M_UNCOND
          born(me); if :: said[me] = 1; goto out :: skip fi
#else
          if :: root[me] == 0 -> born(me); if :: said[me] = 1; goto out :: skip fi
             :: else
          fi
#endif
        }
      :: atomic { !(flight & B(me)) -> flight = flight | B(me) }     /* no answer; it arrives later, or never */
      fi;
      atomic {                                            /* C2 HEAD settles */
        if :: root[me] == 1 -> said[me] = 1; goto out
           :: root[me] == 2 -> said[me] = 2; goto out
           :: else
        fi
      }
    :: tries > 0 ->
#ifdef W_GIVEUP
      atomic { if :: root[me] == 1 -> said[me] = 1 :: else -> said[me] = 2 fi; goto out }
#else
      if
      :: goto out                                         /* C4 the store does not answer: says "unknown" */
      :: atomic {                                         /* C3 PUT a fence of its own, then says "failed" */
          if :: root[me] == 0 -> root[me] = 2; said[me] = 2
             :: root[me] == 1 -> said[me] = 1
             :: root[me] == 2 -> said[me] = 2
          fi; goto out }
      fi
#endif
    od
  :: else -> put_root_once()
  fi;
#ifdef M_LEASE_AFTER
  skip;
#endif
#ifdef TAGGED
#ifdef M_TAGLATE
  if :: me == FIRST && said[me] == 1 -> marks = marks | B(me); kept = kept | B(me) :: else fi;
#endif
#endif
out: skip
}

/* --- prune --- */

inline highest(m) { i = 2 * N - 1; do :: !(m & B(i)) -> i-- :: else -> break od }

/* Objects of roots that stay are kept. */
inline keep_names(r) { if :: (R & ~D) & B(r) ->
#ifdef M_NOSEGS
    G = G & ~(names[r] & (B(N) - 1))                       /* packs only: segments are thought to be their run's own */
#else
    G = G & ~names[r]
#endif
  :: else fi }

proctype prune(byte k) {
  byte may, newest, decided, L, A, R, F, D, U, C, M, i, par[N], ad[N];
  SET listed, G;
  newest = NONE;
#ifdef TAGS
#ifdef M_MARKSFIRST
  M = marks;
#endif
  pruning = pruning | B(k);                               /* P1 PUT its own lease (for tag, and to spare work) */
#endif
                                                          /* P2 LIST leases: "may think anyone dead" */
#ifndef W_ROOTS_LAST
  LIST(may, F);                                           /* P3 LIST snapshots: only these, without the newest, may go */
  d_step { newest = NEWEST(may); decided = may | F; F = 0 }
#endif
#ifdef M_NO2ND
  d_step { L = leases; i = 0; do :: i < N -> par[i] = uses[i]; ad[i] = adopts[i]; i++ :: else -> break od; i = 0 }
#endif
#ifndef M_RELIST
#ifdef PAGED
  do :: d_step { i < N -> listed = listed | (there & OF(B(i))); i++ } :: i == N -> break od;
#else
  listed = there;                                         /* P4 LIST objects */
#endif
#endif
#ifndef M_NOFENCE
  i = 1;
  do                                                      /* P5 fence any uncommitted run that left a trace, or not */
  :: i < N ->
    if
    :: atomic { root[i] == 0 && ((leases | there) & B(i)) -> root[i] = 2; decided = decided | B(i); i++ }
    :: atomic { root[i] != 0 && !(decided & B(i)) -> decided = decided | B(i); i++ }      /* 412: decided by another */
    :: i++
    fi
  :: i == N -> break
  od;
#endif
  i = 0;
#ifndef M_NO2ND
#ifdef PAGED
  i = 1;
  do
  :: i < N -> d_step { if :: leases & B(i) -> L = L | B(i); par[i] = uses[i]; ad[i] = adopts[i] :: else fi; i++ }
  :: i == N -> i = 0; break
  od;
#else
  d_step {                                                /* P6 LIST leases again, and GET each; reads too (P7) */
    L = leases;
    do :: i < N -> if :: L & B(i) -> par[i] = uses[i]; ad[i] = adopts[i] :: else fi; i++ :: else -> break od;
    i = 0 }
#endif
#endif
#ifdef M_SNAPFIRST
  R = may;
  d_step { F = ALL(2) }                                    /* it knows the fences it met */
#else
  LIST(R, F);                                             /* P8 LIST snapshots, last */
#endif
#ifdef TAGS
#ifndef M_MARKSFIRST
  M = marks;                                              /* P9 LIST marks */
#endif
#endif
#ifdef M_RELIST
  listed = there;
#endif
  atomic {                                                /* P10 GET every root that stays; decide */
#ifdef W_ROOTS_LAST
    may = R; newest = NEWEST(R); decided = decided | R;
#endif
#ifdef W_GETLATE
    R = R & ALL(1);                                        /* a listed root that another prune fenced: skipped, not started again */
#endif
    U = L & ~(R | F);                                     /* undecided runs that have a lease, however old */
#ifdef M_NOFENCE
    i = 1;                                                /* "dead" by the clock alone */
    do :: i < N -> if :: U = U & ~B(i); F = F | (B(i) & ~R); decided = decided | B(i) :: skip fi; i++ :: i == N -> break od;
    i = 0;
#endif
#ifdef M_EXPIRED
    i = 1; do :: i < N -> if :: U = U & ~B(i) :: skip fi; i++ :: i == N -> break od; i = 0;    /* expired ones not protected */
#endif
    D = R & may & ~(newest == NONE -> 0 : B(newest)) & ~M;
#ifdef M_LASTNEWEST
    D = R & ~B(NEWEST(R));                                 /* as W_ROOTS_LAST, keeps both newest */
#endif
#ifndef M_NOUSES
    i = 1; do :: i < N -> if :: (U & B(i)) && par[i] != NONE -> D = D & ~B(par[i]) :: else fi; i++ :: else -> break od; i = 0;
#endif
    if :: reading -> D = D & ~B(read_id) :: else fi;
#ifndef REDUCE
    do :: i < N -> if :: D = D & ~B(i) :: (D & B(i)) fi; i++ :: i == N -> break od; i = 0;     /* any policy */
#endif
    G = listed;
    keep_names(0); keep_names(1); keep_names(2); keep_names(3);
#ifdef TWO
    keep_names(4);
#endif
#ifndef M_OWN
#ifdef OWN_BY_LEASE
    G = G & ~OF(U);
#else
#ifdef M_EXPIRED
    G = G & ~OF(U);
#else
#ifdef W_FENCELAST
    G = G & OF(R | F);                                     /* an unfenced run's own objects stay; fenced = by the LAST list */
#else
    G = G & OF(decided);                                   /* only of runs seen decided BEFORE the second LIST of leases */
#endif
#endif
#endif
#endif
#ifndef M_NOADOPT
    i = 1; do :: i < N -> if :: U & B(i) -> A = A | ad[i] :: else fi; i++ :: else -> break od; i = 0;
    G = G & ~OF(A);
#endif
    C = L & (R | F);                                      /* leases of decided runs */
#ifdef W_CLEAR
    C = L;
#endif
    d_step {
      may = 0; decided = 0; listed = 0; L = 0; A = 0; R = 0; F = 0; U = 0; M = 0; newest = 0; i = 0;
      do :: i < N -> par[i] = 0; ad[i] = 0; i++ :: else -> break od; i = 0 }
  }
  do                                                      /* P11 fences OVER the roots that go, newest first */
#ifdef W_DELFENCE
  :: D -> d_step { i = NEWEST(D); D = D & ~B(i); root[i] = 0 }
     atomic { if :: root[i] == 0 -> root[i] = 2 :: else fi; i = 0 }
#else
  :: D ->
#ifdef SLEEPS
     if :: pruning & B(k) :: else -> goto out fi;          /* its lease is looked at, then it sleeps */
#endif
     atomic {
#ifdef RUNOUT
#ifndef SLEEPS
       if :: pruning & B(k) :: else -> goto out fi;
#endif
#endif
       i = NEWEST(D); D = D & ~B(i);
#ifdef REACH_D
       assert(i != FIRST);
#endif
       assert(!(kept & B(i)));                             /* property 6: what `tag` called kept is kept */
#ifdef W_DELROOT
       if :: root[i] == 1 -> root[i] = 0 :: else fi;
#else
       root[i] = 2;
#endif
       assert(NEWEST(ALL(1)) != NONE && NEWEST(ALL(1)) > i);         /* property 2: a newer root stands whenever a root goes */
       i = 0 }
#endif
  :: !D -> break
  od;
#ifdef TAGS
  pruning = pruning & ~B(k);                              /* (its lease ends behind the last fence) */
#endif
  do                                                      /* P12 DELETE objects, one by one */
  :: G -> d_step { highest(G); G = G & ~B(i); there = there & ~B(i);
#ifdef REACH_G
       assert(i != REACH_G);
#endif
       i = 0; check_all() }
  :: !G -> break
  od;
#ifdef LEASECLEAR
  do                                                      /* P13 DELETE leases of decided runs */
  :: C -> d_step { i = NEWEST(C); C = C & ~B(i); leases = leases & ~B(i); adopts[i] = 0; i = 0 }
  :: !C -> break
  od;
#endif
out: skip
}

/* --- restore, verify, the source of a copy --- */

#ifdef READER
inline read_pack(i) { atomic { assert(!(names[s] & B(i)) || (there & B(i))) } }
proctype reader() {
  byte R, F, s;
  LIST(R, F);                                             /* R1 LIST, choose */
  atomic {
    s = NEWEST(R);
#ifdef READ_OLD
    if :: (R & 1) -> s = 0 :: s = NEWEST(R) fi
#endif
  }
  d_step { reading = 1; read_id = s }                      /* R2 PUT the read lease */
  LIST(R, F);                                             /* R3 LIST again: still there, and the newest */
  atomic {
    if
#ifndef READ_OLD
#ifndef W_READTHERE
    :: s != NEWEST(R) -> goto out
#endif
#endif
    :: !(R & B(s)) -> goto out
    :: else
    fi
  }
  read_pack(0); read_pack(1); read_pack(2); read_pack(3);   /* R4 GET every pack */
out: skip
}
#endif

/* --- tag --add keep, and a proof: what may be promised of a mark --- */

#ifdef TAGS
proctype tag() {
  byte s;
  atomic { if :: root[0] == 1 -> s = 0 :: root[FIRST] == 1 -> s = FIRST :: else -> goto out fi }
#ifdef M_TAGORDER
  pruning == 0;
#endif
  marks = marks | B(s);                                   /* T1 PUT the mark */
#ifndef M_TAGORDER
#ifndef M_TAGWAIT
  pruning == 0;                                           /* T2 LIST prunes: none live, else wait, or say so and fail */
#endif
#endif
#ifdef M_TAGHEAD
  d_step { kept = kept | B(s); assert(root[s] == 1) };
#else
  atomic { if :: root[s] == 1 -> kept = kept | B(s) :: else fi };    /* T3 HEAD the root: a fence means it came too late */
#endif
out: skip
}
#endif
#ifdef RUNOUT
proctype clock() { end: do :: d_step { pruning -> pruning = 0 } od }   /* a prune's lease may run out at any time */
#endif

/* --- unlock: anybody fences a run that has a lease, at any time --- */

#ifdef UNLOCK
proctype unlock() {
  byte i;
end:
  do
  :: atomic { root[1] == 0 && (leases & 2) -> root[1] = 2 }
  :: atomic { root[FIRST] == 0 && (leases & B(FIRST)) -> root[FIRST] = 2 }
  :: atomic { root[FIRST+1] == 0 && (leases & B(FIRST+1)) -> root[FIRST+1] = 2 }
  od
}
#endif

init { atomic {
  root[0] = 1; names[0] = OF(1); there = OF(1 | DEAD);
  names[1] = OF(2);
#ifndef REDUCE
  if :: names[1] = OF(3) :: names[1] = OF(2) | 1 :: skip fi;
#endif
  leases = 2; flight = 2; run net(1);
#ifdef TWO
  names[2] = OF(4) | 3; leases = leases | 4; adopts[2] = 2; flight = flight | 4; run net(2);
#endif
  run backup(FIRST);
  if :: NB > 1 -> run backup(FIRST+1) :: else fi;
  if :: FULL < 9 -> run net(FULL) :: else fi;
  run prune(0);
  if :: NP > 1 -> run prune(1) :: else fi;
#ifdef READER
  run reader();
#endif
#ifdef TAGS
  run tag();
#endif
#ifdef RUNOUT
  run clock();
#endif
#ifdef UNLOCK
  run unlock();
#endif
} }
