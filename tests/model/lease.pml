/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of leases. Coarser than core.pml (LISTs and decisions of a prune are big steps), but the slots leases/<n> are real:
 * conditional create of highest+1, renewal by overwriting, possibly a slot that was taken over, cleared or created anew; lease
 * PUTs may be on the wire and land late. Nobody waits for anybody: a lease is taken over at any time, so also that of a decided run
 * (unlock), of a dead process, or one that has run out.
 *
 * S0 (run 0) has number 0. R1 (run 1), dead and uncommitted, owns slot 1; its root PUT and a renewal may still land. Backups 2 and 3.
 * NPASS: passes of prune. -DGHOST: an old lease PUT of backup 2 may land late. -DW_x: a looser wording. */
#define B(i)  (1 << (i))
#define NONE  7
#define NS    6                 /* slots 1 to 5 */
#ifndef NPASS
#define NPASS 2
#endif

byte root[4], names[4], number[4];   /* number: of the lease that the root names */
byte packs;
byte owner[NS], uses[NS];       /* slot: its run (0: none), the parent in its uses */
bool root_late = 1;             /* R1's root PUT is on the wire */
bool renewal_late = 1;          /* R1's renewal is on the wire, or R1 wakes to renew */
byte ghost, ghost_slot, ghost_uses;  /* an old lease PUT of backup 2 on the wire: 1 yes, 2 landed */

#define NEWEST(m) ((m)&8 -> 3 : ((m)&4 -> 2 : ((m)&2 -> 1 : ((m)&1 -> 0 : NONE))))
#define ROOTS     ((root[0]==1) | ((root[1]==1)<<1) | ((root[2]==1)<<2) | ((root[3]==1)<<3))
#define DECIDED   ((root[0]!=0) | ((root[1]!=0)<<1) | ((root[2]!=0)<<2) | ((root[3]!=0)<<3))
#define HIGHEST   (owner[5] -> 5 : (owner[4] -> 4 : (owner[3] -> 3 : (owner[2] -> 2 : (owner[1] -> 1 : 0)))))
#define WHOLE(r)  (root[r] != 1 || (names[r] & ~packs) == 0)

inline check_all() { assert(WHOLE(0)); assert(WHOLE(1)); assert(WHOLE(2)); assert(WHOLE(3)) }

proctype wire() {
end:
  do
  :: atomic { root_late -> root_late = 0; if :: root[1] == 0 -> root[1] = 1; number[1] = 1; check_all() :: else fi }
  :: d_step { renewal_late -> renewal_late = 0; owner[1] = 1; uses[1] = 0 }
#ifdef GHOST
  :: d_step { ghost == 1 -> ghost = 2; owner[ghost_slot] = 2; uses[ghost_slot] = ghost_uses }
#endif
  od
}

proctype backup(byte me) {
  byte n, par, R;
new:
  atomic {                                                /* LIST leases from the newest root's number on */
    R = ROOTS; par = NEWEST(R); n = HIGHEST;
    if :: n < number[par] -> n = number[par] :: else fi;
    n++;
    if :: n >= NS -> goto out :: else fi
  }
  atomic {                                                /* PUT the next, conditionally */
    if
    :: owner[n] == 0 -> owner[n] = me; uses[n] = par;
#ifdef GHOST
      if :: me == 2 && ghost == 0 -> ghost = 1; ghost_slot = n; ghost_uses = par :: skip fi
#endif
    :: else -> goto new
    fi
  }
again:
  atomic {                                                /* LIST snapshots again */
    R = ROOTS;
    if
    :: par != NEWEST(R) -> par = NEWEST(R);
#ifdef W_INPLACE
      owner[n] = me; uses[n] = par;                        /* uses changed within the number */
      goto again
#else
      goto new                                            /* a change of uses takes the next number */
#endif
    :: else
    fi
  }
  atomic { names[me] = B(me); if :: names[me] = names[me] | names[par] :: skip fi; packs = packs | B(me) }
  if :: d_step { owner[n] = me; uses[n] = par } :: skip fi;  /* renewal: overwrites its number, whatever is there by now */
  atomic { if :: root[me] == 0 -> root[me] = 1; number[me] = n; check_all() :: else fi }
out: skip
}

proctype prune() {
  byte pass, may, newest, decided, listed, R, D, G, i, P, C, from;
  do
  :: pass < NPASS -> pass++;
    atomic {                                              /* LIST snapshots, LIST objects, fences */
      may = ROOTS; newest = NEWEST(may); listed = packs; decided = DECIDED;
      i = 1;
      do
      :: i < 4 -> if :: root[i] == 0 && (packs & B(i)) -> root[i] = 2; decided = decided | B(i) :: skip fi; i++
      :: i == 4 -> break
      od;
      i = 0
    }
    atomic {                                              /* LIST leases again, all of them */
      from = 1;
#ifdef W_LISTN
      from = number[newest]; if :: from == 0 -> from = 1 :: else fi;    /* from the newest root's number on */
#endif
      i = from; P = 0; C = 0;
      do
      :: i < NS ->
        if
        :: owner[i] -> if :: root[owner[i]] == 0 -> P = P | B(uses[i]) :: else -> C = C | B(i) fi
        :: else
        fi;
        i++
      :: i == NS -> break
      od;
      i = 0;
#ifndef W_REUSE
      C = C & ~B(HIGHEST);                                 /* the highest number is never cleared */
#endif
    }
    atomic {                                              /* LIST snapshots last; decide */
      R = ROOTS; D = R & may & ~B(newest) & ~P;
      do :: i < 4 -> if :: D = D & ~B(i) :: D & B(i) fi; i++ :: i == 4 -> break od;
      G = listed & decided;
      if :: (R & ~D) & 1 -> G = G & ~names[0] :: else fi; if :: (R & ~D) & 2 -> G = G & ~names[1] :: else fi;
      if :: (R & ~D) & 4 -> G = G & ~names[2] :: else fi; if :: (R & ~D) & 8 -> G = G & ~names[3] :: else fi;
      i = 0; R = 0; may = 0; newest = 0; decided = 0; listed = 0; P = 0
    }
    atomic { do :: D -> i = NEWEST(D); D = D & ~B(i); root[i] = 2 :: !D -> break od; packs = packs & ~G; G = 0; i = 0; check_all() }
    atomic { i = 1; do :: i < NS -> if :: C & B(i) -> owner[i] = 0; uses[i] = 0 :: else fi; i++ :: i == NS -> break od; i = 0; C = 0 }
  :: pass == NPASS -> break
  od
}

init { atomic {
  root[0] = 1; names[0] = 1; names[1] = 3; packs = 3; owner[1] = 1; uses[1] = 0;
  run wire(); run backup(2); run backup(3); run prune()
} }
