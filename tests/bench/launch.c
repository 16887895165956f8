/* SPDX-License-Identifier: Apache-2.0
 *
 * Run one program and say what it cost.
 *
 *   bench_launch OUT PROGRAM [ARGUMENT...]
 *
 * Writes "wall_s user_s sys_s rss_kib status" to the file OUT, status as a shell says it. CPU time
 * and peak memory are those of the program and of all it waited for.
 *
 * Why not from Python: a process keeps the peak of the one it was before exec, so a child of an
 * interpreter of 20 MiB never shows less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double now_s(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench_launch OUT PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    const double began_s = now_s();
    const pid_t pid = fork();
    if (pid < 0) {
        perror("bench_launch: fork");
        return 1;
    }
    if (pid == 0) {
        (void)execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    struct rusage usage = {0};
    int status = 0;
    if (wait4(pid, &status, 0, &usage) != pid) {
        perror("bench_launch: wait4");
        return 1;
    }
    const double wall_s = now_s() - began_s;
    FILE *out = fopen(argv[1], "we");
    if (out == NULL) {
        perror(argv[1]);
        return 1;
    }
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    (void)fprintf(out, "%.6f %.6f %.6f %ld %d\n", wall_s, seconds_of(usage.ru_utime),
                  seconds_of(usage.ru_stime), usage.ru_maxrss, code);
    return fclose(out) == 0 ? 0 : 1;
}
