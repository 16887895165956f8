/* SPDX-License-Identifier: Apache-2.0
 *
 * Names: the packs of the snapshot that is copied, and what each is called in the target. 60 bytes
 * a pack: what a copy keeps of every one.
 *
 * A pack is known again by the name that it was written under first, wherever that was: `origin` of
 * its line, else its own name; and by its length.
 */
#ifndef SRC_COPY_NAMES_H
#define SRC_COPY_NAMES_H

#include "repo/line.h"
#include "s3/base/cleanup.h"
#include "s3/err.h"

typedef struct cf_names cf_names;
CF_NODISCARD cf_err cf_names_new(cf_names **ret, cf_error *e);
void cf_names_free(cf_names *n); /* NULL is fine */
CF_DEFINE_FREEP(cf_names, cf_names_free)

/* The source's pack lines, in their order. CF_ERR_TOO_LARGE above CF_PACK_TOTAL_MAX. */
CF_NODISCARD cf_err cf_names_add(cf_names *n, const cf_pack_line *line, cf_error *e);
/* No more come: from here on offers are taken. */
void cf_names_seal(cf_names *n);
/* A pack that the target has: those of ours that are the same get its name, unless they have one.
 */
void cf_names_offer(cf_names *n, const cf_pack_line *theirs);

/* The name under which a pack is known everywhere: borrowed from line. */
const char *cf_names_first(const cf_pack_line *line);
/* Is source's pack there under another name? source: of a line that was added. */
bool cf_names_has(const cf_names *n, const char *source);
/* Was it added? */
bool cf_names_knows(const cf_names *n, const char *source);
/* From now on it is called so. */
void cf_names_set(cf_names *n, const char *source, const char *target);
/* What the target calls source's pack, with source's tail: ret has CF_RUN_OBJECT_LEN_MAX + 1 bytes.
 * false: it was never added, or has no name yet. The length is that of source. */
bool cf_names_translate(const cf_names *n, const char *source, char *ret);

#endif
