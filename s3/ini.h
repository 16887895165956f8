/* SPDX-License-Identifier: Apache-2.0
 *
 * The format of ~/.aws/config and ~/.aws/credentials. A pure function over text; no file is opened
 * here.
 *
 * Rules: "[profile x]" and "[default]" in config, "[x]" in credentials, "[sso-session x]" and
 * "[services x]" in config; keys are case-insensitive (kept in lower case); the last of equal keys
 * wins; sections of one name are one; a section or key with a bad name is skipped with what belongs
 * to it; " #" and " ;" begin a comment, a line that begins with '#' or ';' is one; an indented line
 * continues the value above it (its comments belong to it), and must be "name = value" when that
 * value is empty. In config "[profile default]" makes "[default]" void.
 *
 * The text may hold secrets: it is copied once, into memory that deinit wipes.
 * Source: AWS SDKs and tools reference guide "Shared config and credentials files"; the cases of
 * smithy-rs.
 */
#ifndef S3_INI_H
#define S3_INI_H

#include <stdbool.h>
#include <stddef.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"

enum {
    S3_INI_TEXT_MAX = 1024 * 1024, /* ours: a file of 10,000 lines has 500 KiB */
    S3_INI_ROW_TOTAL_MAX = 20000,  /* ours: properties, and as many sections */
    S3_INI_NAME_LEN_MAX = 255,     /* ours: of a section or key */
};

typedef enum s3_ini_form { S3_INI_CONFIG, S3_INI_CREDENTIALS } s3_ini_form;
typedef enum s3_ini_kind {
    S3_INI_PROFILE,
    S3_INI_SSO_SESSION,
    S3_INI_SERVICES,
    S3_INI_SKIPPED
} s3_ini_kind;

typedef struct s3_ini_section {
    s3_ini_kind kind;
    bool prefixed;    /* "[profile x]", not "[x]" */
    const char *name; /* borrowed from text */
} s3_ini_section;

typedef struct s3_ini_row {
    size_t section;          /* index */
    const char *key, *value; /* borrowed from text; key in lower case */
} s3_ini_row;

/* Zero it; owned. */
typedef struct s3_ini {
    cf_buf text;
    s3_ini_section *sections;
    size_t section_total;
    s3_ini_row *rows;
    size_t row_total;
} s3_ini;

/* CF_ERR_PARSE with the line's number; CF_ERR_TOO_LARGE above a limit; CF_ERR_NO_MEMORY. *ret
 * untouched then. Messages never quote the text: a line may be a secret in the wrong place. */
CF_NODISCARD cf_err s3_ini_parse(cf_slice text, s3_ini_form form, s3_ini *ret, cf_error *e);
void s3_ini_deinit(s3_ini *ini); /* wipes */

bool s3_ini_has(const s3_ini *ini, s3_ini_kind kind, const char *name);
/* Value or NULL; borrowed from ini. key in lower case. */
const char *s3_ini_get(const s3_ini *ini, s3_ini_kind kind, const char *name, const char *key);
/* Does this section count (false: skipped, or a "[default]" beside a "[profile default]")? */
bool s3_ini_visible(const s3_ini *ini, size_t section);

/* Value of a sub-property inside a value that is a block ("\nname = value\n..."): a slice of it,
 * ptr NULL when absent.
 */
cf_slice s3_ini_block_get(const char *block, const char *key);

#endif
