/* SPDX-License-Identifier: Apache-2.0
 *
 * Options: one table for parsing, --help, the manual pages and the tests.
 */
#ifndef SRC_CLI_OPTIONS_H
#define SRC_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3/err.h"
#include "s3/slice.h"

typedef enum cf_option_id {
    CF_OPT_REPO,
    CF_OPT_ENDPOINT,
    CF_OPT_REGION,
    CF_OPT_ADDRESSING,
    CF_OPT_CA_BUNDLE,
    CF_OPT_AWS_PROFILE,
    CF_OPT_NODE,
    CF_OPT_TO_REPO,
    CF_OPT_TO_ENDPOINT,
    CF_OPT_TO_REGION,
    CF_OPT_TO_ADDRESSING,
    CF_OPT_TO_CA_BUNDLE,
    CF_OPT_TO_AWS_PROFILE,
    CF_OPT_OTHER_REPO,
    CF_OPT_PROFILE,
    CF_OPT_DB,
    CF_OPT_INDEX,
    CF_OPT_SOURCE,
    CF_OPT_MODE,
    CF_OPT_WITHOUT_SECONDARY_INDEXES,
    CF_OPT_WITHOUT_EXISTENCE_FILTER,
    CF_OPT_ARCHIVE,
    CF_OPT_MAX_TRUNCATION,
    CF_OPT_COMPRESSION,
    CF_OPT_ADAPTIVE,
    CF_OPT_NO_VERIFY_SOURCE,
    CF_OPT_DIR,
    CF_OPT_EXCLUDE,
    CF_OPT_ONE_FILE_SYSTEM,
    CF_OPT_STRICT,
    CF_OPT_TAG,
    CF_OPT_ADD,
    CF_OPT_REMOVE,
    CF_OPT_KEEP_LAST,
    CF_OPT_KEEP_HOURLY,
    CF_OPT_KEEP_DAILY,
    CF_OPT_KEEP_WEEKLY,
    CF_OPT_KEEP_MONTHLY,
    CF_OPT_KEEP_YEARLY,
    CF_OPT_KEEP_WITHIN,
    CF_OPT_KEEP_TAG,
    CF_OPT_MAX_DELETE,
    CF_OPT_DROP_DAMAGED,
    CF_OPT_DELETE_VERSIONS,
    CF_OPT_READ_DATA,
    CF_OPT_READ_DATA_SUBSET,
    CF_OPT_RECHECK,
    CF_OPT_MAX_AGE,
    CF_OPT_FORCE,
    CF_OPT_WAIT_LOCK,
    CF_OPT_MAX_DURATION,
    CF_OPT_LIMIT_UPLOAD,
    CF_OPT_LIMIT_DOWNLOAD,
    CF_OPT_TARGET,
    CF_OPT_INDEX_TARGET,
    CF_OPT_OWNER,
    CF_OPT_SIZE,
    CF_OPT_MEMORY,
    CF_OPT_JOBS,
    CF_OPT_CONNECTIONS,
    CF_OPT_NICE,
    CF_OPT_IO_IDLE,
    CF_OPT_DRY_RUN,
    CF_OPT_JSON,
    CF_OPT_VERBOSE,
    CF_OPT_HELP,
    CF_OPT_COUNT,
} cf_option_id;

typedef enum cf_command_id {
    CF_CMD_INIT,
    CF_CMD_BACKUP,
    CF_CMD_LIST,
    CF_CMD_SHOW,
    CF_CMD_DIFF,
    CF_CMD_RESTORE,
    CF_CMD_DUMP,
    CF_CMD_VERIFY,
    CF_CMD_PRUNE,
    CF_CMD_TAG,
    CF_CMD_COPY,
    CF_CMD_STATUS,
    CF_CMD_UNLOCK,
    CF_CMD_INSPECT,
    CF_CMD_BENCH,
    CF_CMD_VERSION,
    CF_CMD_COUNT,
} cf_command_id;

typedef struct cf_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    const char *arg;  /* NULL: a switch */
    const char
        *env[2]; /* taken when the flag is absent, in this order; blank ones count as absent */
    unsigned commands; /* bit 1 << cf_command_id; the highest: may be given more than once */
    const char *help;
} cf_option;

/* CF_OPT_COUNT rows, by id. */
const cf_option *cf_option_at(cf_option_id id);

enum { CF_ARGS_MAX = 4, CF_MANY_MAX = 256 };

enum { CF_WORD_DISTANCE_MAX = 3 }; /* ours: further away it is no slip of the fingers */
/* Edit distance, for "did you mean"; 40 when either word is longer than that. */
unsigned cf_word_distance(cf_slice typed, const char *known);

typedef struct cf_values {
    const char *text[CF_OPT_COUNT]; /* NULL: not given; "" for a switch that is on; borrowed */
    unsigned times[CF_OPT_COUNT];   /* how often a switch was given */
    const char *arg[CF_ARGS_MAX];   /* words that are no options */
    unsigned arg_total;
    struct {
        cf_option_id id;
        const char *text;
    } many[CF_MANY_MAX]; /* each value of the options that may be given more than once, in order */
    unsigned many_total;
} cf_values;

/* Words behind the command's name. CF_ERR_USAGE names the word, with a suggestion when an option is
 * near it. env: value or NULL. */
CF_NODISCARD cf_err cf_values_parse(cf_command_id command, int argc, char *const *argv,
                                    const char *(*env)(void *impl, const char *name),
                                    void *env_impl, cf_values *ret, cf_error *e);

/* Typed views; defaults where the flag is absent. CF_ERR_USAGE names the flag, what was given and
 * what may be. */
CF_NODISCARD cf_err cf_values_size(const cf_values *v, cf_option_id id, uint64_t *ret_bytes,
                                   cf_error *e);
CF_NODISCARD cf_err cf_values_number(const cf_values *v, cf_option_id id, uint64_t min,
                                     uint64_t max, uint64_t *ret, cf_error *e);
/* 1..CF_LEVEL_MAX, or "off": CF_LEVEL_OFF. */
CF_NODISCARD cf_err cf_values_level(const cf_values *v, cf_option_id id, int *ret, cf_error *e);
/* "90s", "10m", "26h", "2d", "1w", or several of them in that order: "1d12h". At least a second. */
CF_NODISCARD cf_err cf_values_duration(const cf_values *v, cf_option_id id, uint64_t *ret_ms,
                                       cf_error *e);
/* All values of an option that may be given more than once, borrowed: fills ret (CF_MANY_MAX
 * entries), returns their number. */
unsigned cf_values_each(const cf_values *v, cf_option_id id, const char **ret);
/* *ret: index into words (NULL-terminated). */
CF_NODISCARD cf_err cf_values_choice(const cf_values *v, cf_option_id id, const char *const *words,
                                     unsigned *ret, cf_error *e);
static inline bool cf_values_on(const cf_values *v, cf_option_id id)
{
    return v->text[id] != NULL;
}

#endif
