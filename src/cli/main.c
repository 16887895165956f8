/* SPDX-License-Identifier: Apache-2.0
 *
 * main: signals, then the program.
 */
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include "cli/cli.h"
#include "s3/base/env.h"
#include "s3/base/fs.h"

/* The first wish to stop ends the run cleanly, the second at once: the repository stays valid
 * either way. */
static void on_signal(int number)
{
    const cf_world *const world = cf_world_real();

    (void)number;
    if (world->stopping(world->impl))
        _exit(130);
    cf_world_request_stop();
}

int main(int argc, char **argv)
{
    const struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    const cf_ctx ctx = {0};

    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    /* A terminal that is closed, or a reader of our output that is gone, is no reason to stop: a
     * backup that was started by hand ends as if under nohup. */
    (void)sigaction(SIGHUP, &ignore, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    cf_fs_fill_standard();
#ifdef M_ARENA_MAX
    /* What is large comes from pools of our own; an arena a thread would be 2 MiB of leftovers. */
    (void)mallopt(M_ARENA_MAX, 2);
#endif
    return cf_cli_main(argc, argv, &ctx, cf_env_get, NULL, stdout, stderr);
}
