/* Lets the n-th writing system call below a folder fail; for LD_PRELOAD.
 *
 * fail_calls(folder, n, error, goes_on) starts counting: calls that open for writing, write, rename, remove, make a
 * folder, cut or flush files whose path begins with the folder. The n-th fails with the error; with goes_on all after
 * it fail too, as on a disk that is full. fail_count() gives the number so far, fail_name() the call that failed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long fatal, count;
static int failure, persists;
static const char *failed = "";

void fail_calls(const char *path, long n, int error, int goes_on) {
    strncpy(folder, path, sizeof folder - 1);
    fatal = n;
    failure = error;
    persists = goes_on;
    count = 0;
    failed = "";
}

long fail_count(void) { return count; }

const char *fail_name(void) { return failed; }

static int below(const char *path) {
    size_t length = strlen(folder);
    return length && path && strncmp(path, folder, length) == 0 && (path[length] == '/' || !path[length]);
}

static int passed(const char *name) {
    long now = __sync_add_and_fetch(&count, 1);
    if (fatal == 0 || now < fatal || (now > fatal && !persists)) return 0;
    if (!failed[0]) failed = name;
    errno = failure;
    return 1;
}

static int path_fails(const char *path, const char *name) { return below(path) && passed(name); }

static int file_fails(int descriptor, const char *name) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return path_fails(path, name);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT))

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return WRITES(flags) && path_fails(path, "open") ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return WRITES(flags) && path_fails(path, "open") ? -1 : REAL(open64)(path, flags, mode);
}

int openat(int place, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return WRITES(flags) && path_fails(path, "open") ? -1 : REAL(openat)(place, path, flags, mode);
}

int openat64(int place, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return WRITES(flags) && path_fails(path, "open") ? -1 : REAL(openat64)(place, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode) {
    return strpbrk(mode, "wa+") && path_fails(path, "open") ? NULL : REAL(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    return strpbrk(mode, "wa+") && path_fails(path, "open") ? NULL : REAL(fopen64)(path, mode);
}

ssize_t write(int file, const void *data, size_t size) {
    return file_fails(file, "write") ? -1 : REAL(write)(file, data, size);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    return file_fails(file, "write") ? -1 : REAL(pwrite64)(file, data, size, place);
}

ssize_t writev(int file, const struct iovec *parts, int number) {
    return file_fails(file, "write") ? -1 : REAL(writev)(file, parts, number);
}

int fsync(int file) { return file_fails(file, "fsync") ? -1 : REAL(fsync)(file); }

int fdatasync(int file) { return file_fails(file, "fsync") ? -1 : REAL(fdatasync)(file); }

int ftruncate64(int file, off64_t size) { return file_fails(file, "ftruncate") ? -1 : REAL(ftruncate64)(file, size); }

int rename(const char *old, const char *new) { return path_fails(new, "rename") ? -1 : REAL(rename)(old, new); }

int renameat(int from, const char *old, int to, const char *new) {
    return path_fails(new, "rename") ? -1 : REAL(renameat)(from, old, to, new);
}

int unlink(const char *path) { return path_fails(path, "unlink") ? -1 : REAL(unlink)(path); }

int unlinkat(int place, const char *path, int flags) {
    int fails = path[0] == '/' || place == AT_FDCWD ? path_fails(path, "unlink") : file_fails(place, "unlink");
    return fails ? -1 : REAL(unlinkat)(place, path, flags);
}

int rmdir(const char *path) { return path_fails(path, "rmdir") ? -1 : REAL(rmdir)(path); }

int mkdir(const char *path, mode_t mode) { return path_fails(path, "mkdir") ? -1 : REAL(mkdir)(path, mode); }
