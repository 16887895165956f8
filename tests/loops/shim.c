/* SPDX-License-Identifier: Apache-2.0
 *
 * A library for LD_PRELOAD: the nth call of the kind asked for fails, or the process dies there.
 * Only for tests; linked into nothing. It begins with main and ends with it.
 *
 * environment  SHIM_KIND    change: calls that change the disk; disk: all calls on files;
 *                           alloc: allocations, save those of the libraries below
 *              SHIM_AT      1..: the call that is meant; 0 or absent: none
 *              SHIM_DO      kill-before, kill-after, interrupt, short, null, or an errno: ENOSPC, EIO, EINTR
 *              SHIM_ALL     set: all calls from that one on, not only it (no kill)
 *              SHIM_BELOW   only names below these folders (':' between); absent: all
 *              SHIM_COUNT   a file that gets the number of calls counted, at the end of main
 *              SHIM_TRACE   a file that gets one line a counted call
 *              SHIM_DELAY   up to so many microseconds of sleep before each counted call
 *              SHIM_SEED    of these sleeps
 *              SHIM_HURRY   the monotonic clocks run so many times faster, and waits are shorter
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum kind { KIND_NONE, KIND_CHANGE, KIND_DISK, KIND_ALLOC };
enum deed { DO_ERRNO, DO_KILL_BEFORE, DO_KILL_AFTER, DO_INTERRUPT, DO_SHORT };
enum { RANGES_MAX = 64, NS_PER_S = 1000000000 };

static struct {
    enum kind kind;
    enum deed deed;
    int number; /* errno */
    unsigned long at;
    bool all;
    const char *below, *count, *trace;
    long hurry, delay_us;
    struct timespec born, booted; /* by the monotonic clock, and by that which counts suspension */
    size_t ranges;
    uintptr_t from[RANGES_MAX], to[RANGES_MAX]; /* code whose allocations are not ours to fail */
} shim;
static atomic_ulong counted;
static atomic_ullong dice; /* of the sleeps */
static atomic_bool on;

/* ---- who is meant ---- */

/* Allocations of these are left alone: docs/TESTING.md says why. */
static const char *const foreign[] = {"libcrypto",  "libssl",    "libcurl",  "libgnutls",
                                      "libicu",     "libstdc++", "ld-linux", "libnettle",
                                      "libhogweed", "libkrb5"};

static int range_add(struct dl_phdr_info *const info, const size_t size, void *const impl)
{
    (void)size;
    (void)impl;
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (strstr(info->dlpi_name, foreign[i]) == NULL)
            continue;
        for (int p = 0; p < info->dlpi_phnum && shim.ranges < RANGES_MAX; p++) {
            const ElfW(Phdr) *const h = &info->dlpi_phdr[p];
            if (h->p_type != PT_LOAD || (h->p_flags & PF_X) == 0)
                continue;
            shim.from[shim.ranges] = info->dlpi_addr + h->p_vaddr;
            shim.to[shim.ranges++] = info->dlpi_addr + h->p_vaddr + h->p_memsz;
        }
    }
    return 0;
}

static bool is_foreign(const void *const caller)
{
    const uintptr_t at = (uintptr_t)caller;
    for (size_t i = 0; i < shim.ranges; i++) {
        if (at >= shim.from[i] && at < shim.to[i])
            return true;
    }
    return false;
}

/* The folder of fd, and name within it; name NULL: the file fd itself. */
static bool is_below(const int fd, const char *const name)
{
    char link[64];
    char path[PATH_MAX * 2] = "";
    size_t len = 0;
    if (shim.below == NULL)
        return true;
    if (name == NULL || name[0] != '/') {
        (void)snprintf(link, sizeof(link), fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d",
                       fd);
        const ssize_t n = readlink(link, path, PATH_MAX - 1);
        len = n > 0 ? (size_t)n : 0;
    }
    if (name != NULL)
        (void)snprintf(path + len, sizeof(path) - len, "/%s", name[0] == '/' ? name + 1 : name);
    for (const char *p = shim.below; *p != '\0';) {
        const size_t n = strcspn(p, ":");
        if (strncmp(path, p, n) == 0 && (path[n] == '/' || path[n] == '\0' || path[n] == ' '))
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

static void die(void)
{
    (void)syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        (void)syscall(SYS_pause);
}

static void tell(const unsigned long n, const char *const what, const char *const name,
                 const void *const caller)
{
    char line[PATH_MAX];
    const int fd =
        (int)syscall(SYS_openat, AT_FDCWD, shim.trace, O_WRONLY | O_CREAT | O_APPEND, 0600);
    const int len =
        snprintf(line, sizeof(line), "%lu %s %s %p\n", n, what, name == NULL ? "" : name, caller);
    (void)syscall(SYS_write, fd, line, len);
    (void)syscall(SYS_close, fd);
}

/* Steele, Lea, Flood 2014: splitmix64. Which thread comes first is not in the seed. */
static unsigned long long throw(void)
{
    unsigned long long x = atomic_fetch_add(&dice, 0x9e3779b97f4a7c15ULL);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

static void dawdle(void)
{
    const long us = (long)(throw() % (unsigned long long)shim.delay_us);
    const struct timespec nap = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)syscall(SYS_nanosleep, &nap, NULL);
}

/* Counts a call; true: it is the one. */
static bool is_it(const char *const what, const char *const name, const void *const caller)
{
    const unsigned long n = atomic_fetch_add(&counted, 1) + 1;
    if (shim.delay_us > 0)
        dawdle();
    if (shim.trace != NULL)
        tell(n, what, name, caller);
    if (shim.at == 0 || n < shim.at || (n > shim.at && !shim.all))
        return false;
    if (shim.deed == DO_KILL_BEFORE)
        die();
    if (shim.deed == DO_INTERRUPT) {
        const struct timespec nap = {.tv_nsec =
                                         50 * 1000000}; /* the others get on with what is done */
        (void)syscall(SYS_nanosleep, &nap, NULL);
        (void)syscall(SYS_kill, getpid(), SIGINT);
    }
    return true;
}

static bool meant(const enum kind kind, const char *const what, const int fd,
                  const char *const name)
{
    if (!atomic_load(&on) || (shim.kind != KIND_DISK && shim.kind != KIND_CHANGE) ||
        kind > shim.kind)
        return false;
    const int kept = errno;
    const bool it = is_below(fd, name) && is_it(what, name, NULL);
    errno = kept;
    return it;
}

/* After the real call of the one that is meant. */
#define REAL(type, name) type (*const real)() = (type(*)())dlsym(RTLD_NEXT, name)
#define ACT(type, kind, what, fd, path, ...)                                                       \
    REAL(type, what);                                                                              \
    if (!meant(kind, what, fd, path))                                                              \
        return real(__VA_ARGS__);                                                                  \
    if (shim.deed == DO_ERRNO) {                                                                   \
        errno = shim.number;                                                                       \
        return -1;                                                                                 \
    }                                                                                              \
    const type result = real(__VA_ARGS__);                                                         \
    if (shim.deed == DO_KILL_AFTER)                                                                \
        die();                                                                                     \
    return result

/* ---- calls on files ---- */

int openat(int dir_fd, const char *name, int flags, ...)
{
    va_list words;
    va_start(words, flags);
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(words, mode_t) : 0;
    va_end(words);
    ACT(int, (flags & (O_CREAT | O_TRUNC)) != 0 ? KIND_CHANGE : KIND_DISK, "openat", dir_fd, name,
        dir_fd, name, flags, mode);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    REAL(ssize_t, "pwrite");
    if (!meant(KIND_CHANGE, "pwrite", fd, NULL))
        return real(fd, bytes, len, offset);
    if (shim.deed == DO_ERRNO) {
        errno = shim.number;
        return -1;
    }
    /* A short write, also in the instant of death: half of it stands. */
    const size_t part = len > 1 ? len / 2 : len;
    const ssize_t done = real(fd, bytes, shim.deed == DO_SHORT ? part : len, offset);
    if (shim.deed == DO_KILL_AFTER)
        die();
    return done;
}

ssize_t pread(int fd, void *bytes, size_t len, off_t offset)
{
    REAL(ssize_t, "pread");
    if (!meant(KIND_DISK, "pread", fd, NULL))
        return real(fd, bytes, len, offset);
    if (shim.deed == DO_ERRNO) {
        errno = shim.number;
        return -1;
    }
    return real(fd, bytes, shim.deed == DO_SHORT && len > 1 ? len / 2 : len, offset);
}

int ftruncate(int fd, off_t len)
{
    ACT(int, KIND_CHANGE, "ftruncate", fd, NULL, fd, len);
}
int fsync(int fd)
{
    ACT(int, KIND_CHANGE, "fsync", fd, NULL, fd);
}
int mkdirat(int dir_fd, const char *name, mode_t mode)
{
    ACT(int, KIND_CHANGE, "mkdirat", dir_fd, name, dir_fd, name, mode);
}
int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    ACT(int, KIND_CHANGE, "linkat", to_fd, to, from_fd, from, to_fd, to, flags);
}
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    ACT(int, KIND_CHANGE, "renameat", to_fd, to, from_fd, from, to_fd, to);
}
int unlinkat(int dir_fd, const char *name, int flags)
{
    ACT(int, KIND_CHANGE, "unlinkat", dir_fd, name, dir_fd, name, flags);
}
int symlinkat(const char *target, int dir_fd, const char *name)
{
    ACT(int, KIND_CHANGE, "symlinkat", dir_fd, name, target, dir_fd, name);
}
int fchmod(int fd, mode_t mode)
{
    ACT(int, KIND_CHANGE, "fchmod", fd, NULL, fd, mode);
}
int futimens(int fd, const struct timespec times[2])
{
    ACT(int, KIND_CHANGE, "futimens", fd, NULL, fd, times);
}
int flock(int fd, int how)
{
    ACT(int, KIND_DISK, "flock", fd, NULL, fd, how);
}
int fstatat(int dir_fd, const char *name, struct stat *ret, int flags)
{
    ACT(int, KIND_DISK, "fstatat", dir_fd, name, dir_fd, name, ret, flags);
}
int fstat(int fd, struct stat *ret)
{
    ACT(int, KIND_DISK, "fstat", fd, NULL, fd, ret);
}
int close(int fd)
{
    /* A close that fails has closed all the same. */
    REAL(int, "close");
    const bool it = meant(KIND_DISK, "close", fd, NULL);
    const int result = real(fd);
    if (it && shim.deed == DO_ERRNO) {
        errno = shim.number;
        return -1;
    }
    return result;
}

/* ---- allocations ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static bool denied(const char *const what, const void *const caller)
{
    if (shim.kind != KIND_ALLOC || !atomic_load(&on) || is_foreign(caller))
        return false;
    if (!is_it(what, NULL, caller))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return denied("malloc", __builtin_return_address(0)) ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    return denied("calloc", __builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}
void *realloc(void *ptr, size_t size)
{
    return denied("realloc", __builtin_return_address(0)) ? NULL : __libc_realloc(ptr, size);
}
int posix_memalign(void **ret, size_t alignment, size_t size)
{
    void *const ptr = denied("posix_memalign", __builtin_return_address(0))
                          ? NULL
                          : __libc_memalign(alignment, size);
    if (ptr == NULL)
        return ENOMEM;
    *ret = ptr;
    return 0;
}
void *aligned_alloc(size_t alignment, size_t size)
{
    return denied("aligned_alloc", __builtin_return_address(0)) ? NULL
                                                                : __libc_memalign(alignment, size);
}

/* ---- time ---- */

static int64_t ns_of(const struct timespec *const t)
{
    return (int64_t)t->tv_sec * NS_PER_S + t->tv_nsec;
}
static struct timespec of_ns(const int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    REAL(int, "clock_gettime");
    const int bad = real(clock, ret);
    const struct timespec *const from = clock == CLOCK_MONOTONIC  ? &shim.born
                                        : clock == CLOCK_BOOTTIME ? &shim.booted
                                                                  : NULL;
    if (bad == 0 && from != NULL && shim.hurry > 1)
        *ret = of_ns(ns_of(from) + (ns_of(ret) - ns_of(from)) * shim.hurry);
    return bad;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *nap, struct timespec *left)
{
    REAL(int, "clock_nanosleep");
    const struct timespec less =
        shim.hurry > 1 && flags == 0 ? of_ns(ns_of(nap) / shim.hurry) : *nap;
    return real(clock, flags, &less, left);
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                           const struct timespec *until)
{
    REAL(int, "pthread_cond_timedwait");
    /* Of the monotonic clock, which began with the machine; the other began in 1970. */
    const bool hurried = shim.hurry > 1 && until->tv_sec < 1000000000;
    const struct timespec sooner =
        hurried ? of_ns(ns_of(&shim.born) + (ns_of(until) - ns_of(&shim.born)) / shim.hurry)
                : *until;
    return real(cond, lock, &sooner);
}

int poll(struct pollfd *fds, nfds_t total, int ms)
{
    REAL(int, "poll");
    return real(fds, total, shim.hurry > 1 && ms > 1 ? (int)(ms / shim.hurry) + 1 : ms);
}

/* ---- begin and end ---- */

static int (*real_main)(int, char **, char **);

static void configure(void)
{
    static const struct {
        const char *word;
        int number;
    } errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EINTR", EINTR}};
    const char *const kind = getenv("SHIM_KIND");
    const char *const deed = getenv("SHIM_DO");
    if (kind != NULL)
        shim.kind = strcmp(kind, "change") == 0 ? KIND_CHANGE
                    : strcmp(kind, "disk") == 0 ? KIND_DISK
                                                : KIND_ALLOC;
    if (deed != NULL && strcmp(deed, "kill-before") == 0)
        shim.deed = DO_KILL_BEFORE;
    else if (deed != NULL && strcmp(deed, "kill-after") == 0)
        shim.deed = DO_KILL_AFTER;
    else if (deed != NULL && strcmp(deed, "interrupt") == 0)
        shim.deed = DO_INTERRUPT;
    else if (deed != NULL && strcmp(deed, "short") == 0)
        shim.deed = DO_SHORT;
    for (size_t i = 0; deed != NULL && i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(deed, errors[i].word) == 0)
            shim.number = errors[i].number;
    }
    shim.at = getenv("SHIM_AT") != NULL ? strtoul(getenv("SHIM_AT"), NULL, 10) : 0;
    shim.all = getenv("SHIM_ALL") != NULL;
    shim.below = getenv("SHIM_BELOW");
    shim.count = getenv("SHIM_COUNT");
    shim.trace = getenv("SHIM_TRACE");
    shim.hurry = getenv("SHIM_HURRY") != NULL ? strtol(getenv("SHIM_HURRY"), NULL, 10) : 0;
    shim.delay_us = getenv("SHIM_DELAY") != NULL ? strtol(getenv("SHIM_DELAY"), NULL, 10) : 0;
    atomic_store(&dice, getenv("SHIM_SEED") != NULL ? strtoull(getenv("SHIM_SEED"), NULL, 10) : 1);
    (void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &shim.born);
    (void)syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &shim.booted);
    (void)dl_iterate_phdr(range_add, NULL);
}

static int shim_main(int argc, char **argv, char **env)
{
    configure();
    atomic_store(&on, true);
    const int code = real_main(argc, argv, env);
    atomic_store(&on, false);
    if (shim.count != NULL) {
        char text[32];
        const int len = snprintf(text, sizeof(text), "%lu\n", atomic_load(&counted));
        const int fd =
            (int)syscall(SYS_openat, AT_FDCWD, shim.count, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        (void)syscall(SYS_write, fd, text, len);
        (void)syscall(SYS_close, fd);
    }
    return code;
}

int __libc_start_main(int (*main_)(int, char **, char **), int argc, char **argv,
                      void (*init)(void), void (*fini)(void), void (*rtld)(void), void *stack_end)
{
    int (*const real)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                      void (*)(void), void *) =
        (int (*)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                 void (*)(void), void *))dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = main_;
    return real(shim_main, argc, argv, init, fini, rtld, stack_end);
}
