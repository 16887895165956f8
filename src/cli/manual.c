/* SPDX-License-Identifier: Apache-2.0
 *
 * Manual: --help and the manual pages, both from the tables of commands and options.
 */
#include <string.h>

#include "cli/cli.h"

static const struct {
    const char *code, *text;
} exits[] = {
    {"0", "done"},
    {"1", "failed: the network, the disk, a limit"},
    {"2", "wrong usage or configuration, credentials missing"},
    {"3", "the node is not fit to be backed up, or could not be read whole; nothing was committed"},
    {"4", "damage found in the repository"},
    {"10", "no repository there, or no such bucket"},
    {"11", "another run holds the node"},
    {"12", "the store refused the access key"},
    {"130", "interrupted"},
};

static const char *const environment[][2] = {
    {"CHUNKFERRY_REPO, CHUNKFERRY_NODE", "for --repo and --node"},
    {"AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL", "for --endpoint"},
    {"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
     "credentials; never taken from the command line"},
    {"AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE", "credentials from files"},
    {"AWS_REGION, AWS_DEFAULT_REGION, AWS_CA_BUNDLE", "for --region and --ca-bundle"},
    {"TMPDIR", "where a run spools lines of its manifest"},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Text broken at spaces into lines of width bytes behind indent spaces. */
static void wrap(FILE *const to, const char *text, const int indent, const int width)
{
    int column = 0;

    while (*text != '\0') {
        const int len = (int)strcspn(text, " \n");

        if (column > 0 && column + 1 + len > width) {
            (void)fputc('\n', to);
            column = 0;
        }
        if (column == 0)
            (void)fprintf(to, "%*s", indent, "");
        else
            (void)fputc(' ', to);
        (void)fprintf(to, "%.*s", len, text);
        column += len + (column > 0);
        text += len;
        if (strncmp(text, "\n\n", 2) == 0) {
            (void)fputs("\n\n", to);
            column = 0;
        }
        text += strspn(text, " \n");
    }
    (void)fputc('\n', to);
}

static void option_render(FILE *const to, const cf_option *const o)
{
    char words[64];
    char help[512];

    (void)snprintf(words, sizeof(words), "%c%c%s--%s%s%s", o->letter != 0 ? '-' : ' ',
                   o->letter != 0 ? o->letter : ' ', o->letter != 0 ? ", " : "  ", o->name,
                   o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
    (void)snprintf(help, sizeof(help), "%s%s%s%s%s%s", o->help, o->env[0] != NULL ? " [" : "",
                   o->env[0] != NULL ? o->env[0] : "", o->env[1] != NULL ? ", " : "",
                   o->env[1] != NULL ? o->env[1] : "", o->env[0] != NULL ? "]" : "");
    (void)fprintf(to, "  %s\n", words);
    wrap(to, help, 10, 88);
}

void cf_manual_overview(FILE *const to)
{
    (void)fputs("chunkferry ferries the data of a running KurrentDB / EventStoreDB node to S3 and "
                "back.\n\nusage: chunkferry COMMAND [OPTION...]\n\n",
                to);
    for (size_t i = 0; i < CF_CMD_COUNT; i++)
        (void)fprintf(to, "  %-9s %s\n", cf_command_at((cf_command_id)i)->name,
                      cf_command_at((cf_command_id)i)->summary);
    (void)fputs("\nchunkferry COMMAND --help tells more, with an example.\n", to);
}

void cf_manual_help(FILE *const to, const cf_command_id id)
{
    const cf_command *const c = cf_command_at(id);

    (void)fprintf(to, "chunkferry %s: %s\n\nusage: chunkferry %s [OPTION...] %s\n\n", c->name,
                  c->summary, c->name, c->words);
    wrap(to, c->description, 0, 98);
    (void)fputs("\noptions:\n", to);
    for (size_t i = 0; i < CF_OPT_COUNT; i++) {
        if ((cf_option_at((cf_option_id)i)->commands & (1u << id)) != 0)
            option_render(to, cf_option_at((cf_option_id)i));
    }
    (void)fprintf(to, "\nexample:\n  %s\n", c->example);
}

/* In roff a line must not begin with a dot or an apostrophe, and '-' and '\' are written behind a
 * backslash. */
static void roff_text(FILE *const to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strncmp(text, "\n\n", 2) == 0) {
            (void)fputs("\n.PP\n", to);
            text++;
        } else if (*text == '\\' || *text == '-') {
            (void)fprintf(to, "\\%c", *text);
        } else {
            (void)fputc(*text, to);
        }
    }
    (void)fputc('\n', to);
}

static void roff_item(FILE *const to, const char *const tag, const char *const text)
{
    (void)fputs(".TP\n.B ", to);
    roff_text(to, tag);
    roff_text(to, text);
}

static void roff_tables(FILE *const to)
{
    (void)fputs(".SH EXIT STATUS\n", to);
    for (size_t i = 0; i < LENGTH(exits); i++)
        roff_item(to, exits[i].code, exits[i].text);
    (void)fputs(".SH ENVIRONMENT\n", to);
    for (size_t i = 0; i < LENGTH(environment); i++)
        roff_item(to, environment[i][0], environment[i][1]);
}

static void roff_overview(FILE *const to)
{
    (void)fputs(
        ".TH CHUNKFERRY 1 \"\" \"chunkferry " CF_VERSION
        "\" \"User Commands\"\n.SH NAME\nchunkferry \\- ferries a node's data to S3 and back\n"
        ".SH SYNOPSIS\n.B chunkferry\n.I COMMAND\n[\\fIOPTION\\fR...]\n.SH COMMANDS\n",
        to);
    for (size_t i = 0; i < CF_CMD_COUNT; i++)
        roff_item(to, cf_command_at((cf_command_id)i)->name,
                  cf_command_at((cf_command_id)i)->summary);
    roff_tables(to);
}

void cf_manual_roff(FILE *const to, const cf_command_id id)
{
    if (id == CF_CMD_COUNT) {
        roff_overview(to);
        return;
    }
    const cf_command *const c = cf_command_at(id);

    (void)fprintf(to,
                  ".TH CHUNKFERRY\\-%s 1 \"\" \"chunkferry " CF_VERSION
                  "\" \"User Commands\"\n.SH NAME\nchunkferry\\-%s \\- %s\n",
                  c->name, c->name, c->summary);
    (void)fprintf(to, ".SH SYNOPSIS\n.B chunkferry %s\n[\\fIOPTION\\fR...] ", c->name);
    roff_text(to, c->words);
    (void)fputs(".SH DESCRIPTION\n", to);
    roff_text(to, c->description);
    (void)fputs(".SH OPTIONS\n", to);
    for (size_t i = 0; i < CF_OPT_COUNT; i++) {
        const cf_option *const o = cf_option_at((cf_option_id)i);
        char tag[64];

        if ((o->commands & (1u << id)) == 0)
            continue;
        (void)snprintf(tag, sizeof(tag), "--%s%s%s", o->name, o->arg != NULL ? " " : "",
                       o->arg != NULL ? o->arg : "");
        roff_item(to, tag, o->help);
    }
    (void)fputs(".SH JSON\nOne object a line, each with a \\fBtype\\fR. Types and keys: ", to);
    roff_text(to, c->json);
    (void)fputs(".SH EXAMPLE\n.nf\n", to);
    roff_text(to, c->example);
    (void)fputs(".fi\n", to);
    roff_tables(to);
}
