/* SPDX-License-Identifier: Apache-2.0
 *
 * Run: one execution that writes, and the names it gives: its id, its sequence numbers, its keys.
 *
 * An id is YYYYMMDDThhmmssZ-xxxxxxxx and sorts by time: the later of the store's time and the
 * newest id of the node plus one second. Ids only order; the true time stands in the root.
 */
#ifndef SRC_REPO_RUN_H
#define SRC_REPO_RUN_H

#include <stdatomic.h>
#include <stdint.h>

#include "s3/err.h"
#include "s3/slice.h"
#include "s3/world.h"
#include "store/store.h"

enum {
    CF_RUN_ID_LEN = 25,
    CF_NODE_NAME_LEN_MAX = 63, /* [a-z0-9][a-z0-9._-]{0,62} */
    CF_SEQ_MAX = 2000000000,   /* ours: ten digits, and a u32 */
    CF_RUN_OBJECT_LEN_MAX =
        256, /* ours: "<run>/<seq>-<kind>-<hint><suffix>": 26 + 10 + 10 + 65 + 20, with room */
    CF_HINT_LEN_MAX = 64,
};

typedef struct cf_run_id {
    char text[CF_RUN_ID_LEN + 1];
} cf_run_id;

/* false unless text is exactly one id: a real time of day and eight lower-case hex digits. */
bool cf_run_id_parse(cf_slice text, cf_run_id *ret);
/* newest: "" or NULL when the node has none. The year 9999 is the end: from there on ids only
 * differ by their random digits. */
void cf_run_id_make(int64_t store_utc_ms, const cf_run_id *newest, uint32_t random, cf_run_id *ret);
/* The smallest id of that second: to LIST after. */
void cf_run_id_floor(int64_t utc_ms, cf_run_id *ret);

/* CF_ERR_USAGE with the rule. */
CF_NODISCARD cf_err cf_node_name_check(const char *node, cf_error *e);

typedef struct cf_run {
    char node[CF_NODE_NAME_LEN_MAX + 1];
    cf_run_id id;
    atomic_uint seq; /* last number given */
} cf_run;

uint32_t cf_run_next_seq(cf_run *r); /* 1.. ; any thread */

/* Keys. ret holds CF_KEY_LEN_MAX + 1 bytes. */
void cf_key_descriptor(char *ret);                                   /* chunkferry.json */
void cf_key_root(char *ret, const char *node, const cf_run_id *run); /* nodes/N/snapshots/RUN */
void cf_key_lease(char *ret, const char *node, uint64_t n);          /* nodes/N/leases/0000000001 */
/* folder: "leases", "prunes". run: NULL, or of a repository whose store has no conditional create:
 * nodes/N/leases/0000000001-RUN, so that no run ever writes another's. */
void cf_key_claim(char *ret, const char *node, const char *folder, uint64_t n,
                  const cf_run_id *run);
void cf_key_read(char *ret, const char *node, const char *id); /* nodes/N/reads/ID */
/* nodes/N/runs/RUN/0000000017-pack-chunk-000017.000002.zst; kind "pack", "files", "packs",
 * "journal"; hint "" or text; suffix "" or ".zst" (the dot is added when it is missing). Bytes of
 * hint outside [A-Za-z0-9._-] become '_'; it is cut at 64 bytes. */
void cf_key_run_object(char *ret, const cf_run *r, uint32_t seq, const char *kind, const char *hint,
                       const char *suffix);
/* nodes/N/runs/RUN/0000000017-journal.jsonl.zst */
void cf_key_journal(char *ret, const char *node, const cf_run_id *run, uint32_t seq);
/* Prefixes to LIST: nodes/N/snapshots/, nodes/N/leases/, nodes/N/runs/. folder without slash. */
void cf_key_folder(char *ret, const char *node, const char *folder);

/* What the manifest calls an object is its key below nodes/N/runs/: "<run>/<seq>-<kind>...". */
void cf_key_of_object(char *ret, const char *node, const char *name);
/* The other way: borrowed from key; NULL when key is not below nodes/<any>/runs/. */
const char *cf_key_object_name(const char *key);
/* Takes such a name apart; false unless it has exactly that shape, so that no key can point
 * elsewhere. ret_* may be NULL; kind is borrowed from name. */
bool cf_object_name_parse(cf_slice name, cf_run_id *ret_run, uint32_t *ret_seq, cf_slice *ret_kind);

#endif
