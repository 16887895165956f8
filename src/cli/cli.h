/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands. A command is a row of a table: its words for --help and the manual, and a function.
 */
#ifndef SRC_CLI_CLI_H
#define SRC_CLI_CLI_H

#include "chunkferry/chunkferry.h"
#include "cli/options.h"
#include "cli/output.h"

typedef struct cf_cli {
    const cf_ctx *ctx;
    cf_output *output;
    cf_values values;
    const char *(*env)(void *impl, const char *name);
    void *env_impl;
} cf_cli;

typedef struct cf_command {
    const char *name;
    const char *summary;     /* one line */
    const char *words;       /* behind the name in the synopsis: "latest|RUN --target DIR" */
    const char *description; /* paragraphs parted by an empty line */
    const char *example;
    const char *json; /* what --json prints: stable keys */
    unsigned args_min, args_max;
    cf_err (*run)(cf_cli *c, cf_error *e);
} cf_command;

const cf_command *cf_command_at(cf_command_id id);

cf_err cf_cli_init(cf_cli *c, cf_error *e);
cf_err cf_cli_backup(cf_cli *c, cf_error *e);
cf_err cf_cli_list(cf_cli *c, cf_error *e);
cf_err cf_cli_show(cf_cli *c, cf_error *e);
cf_err cf_cli_restore(cf_cli *c, cf_error *e);
cf_err cf_cli_diff(cf_cli *c, cf_error *e);
cf_err cf_cli_dump(cf_cli *c, cf_error *e);
cf_err cf_cli_verify(cf_cli *c, cf_error *e);
cf_err cf_cli_prune(cf_cli *c, cf_error *e);
cf_err cf_cli_tag(cf_cli *c, cf_error *e);
cf_err cf_cli_copy(cf_cli *c, cf_error *e);
cf_err cf_cli_status(cf_cli *c, cf_error *e);
cf_err cf_cli_unlock(cf_cli *c, cf_error *e);
cf_err cf_cli_inspect(cf_cli *c, cf_error *e);
cf_err cf_cli_bench(cf_cli *c, cf_error *e);
cf_err cf_cli_version(cf_cli *c, cf_error *e);

/* The flags of every command that goes to a repository. */
CF_NODISCARD cf_err cf_cli_remote(const cf_cli *c, cf_remote *ret, cf_error *e);
/* And of those that move much: --connections. */
CF_NODISCARD cf_err cf_cli_mover(const cf_cli *c, cf_remote *ret, cf_error *e);

void cf_manual_help(FILE *to, cf_command_id id);
void cf_manual_overview(FILE *to);
/* A manual page in roff; id CF_CMD_COUNT: chunkferry(1). The same tables as --help. */
void cf_manual_roff(FILE *to, cf_command_id id);

/* The whole program but main(): parses, runs, prints. Returns the exit code. env: value or NULL. */
int cf_cli_main(int argc, char *const *argv, const cf_ctx *ctx,
                const char *(*env)(void *impl, const char *name), void *env_impl, FILE *out,
                FILE *err);

#endif
