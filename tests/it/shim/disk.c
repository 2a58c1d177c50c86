/* A disk that can lose power and can fail, for the tests in tests/it/crash. Loaded into a program with LD_PRELOAD (Linux).
 *
 * It stands between the program and three files: the ledger (LAVA_DISK_LEDGER), its -wal and its -shm. All other files pass untouched.
 *
 * Power. With LAVA_DISK_DURABLE=<folder>, that folder gets a copy of the ledger and its -wal which holds what a disk surely has: a page of 4 KiB
 * reaches it when a sync of its file has completed, and not before. After a kill, the files are what the program wrote, the copies what was durable.
 * A kill in the middle of a sync leaves some of its pages in the copy, as a loss of power would.
 * With LAVA_DISK_LAZY=1 a sync of the -wal is answered without being done; it is made up for before the ledger itself is written, because a
 * checkpoint syncs first. This is what SQLite does with synchronous=NORMAL.
 *
 * Trouble. LAVA_DISK_CONTROL=<file of 64 bytes>, shared with the test: what fails, from when on, and how often it has failed (see `struct control`).
 * After a failed sync the pages that were to be synced count as clean and are lost, as on Linux: a later sync does not bring them back.
 *
 * LAVA_DISK_FLUSH_US=<n> makes a sync take that long.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum trouble { NONE, WRITES_FAIL, FULL_AFTER_BYTES, GROWTH_FAILS, SYNCS_FAIL, SYNCS_HANG };

struct control {
    volatile uint64_t trouble;
    volatile uint64_t bytes_left; /* for FULL_AFTER_BYTES */
    volatile uint64_t failed;     /* calls that were made to fail */
    volatile uint64_t synced;     /* syncs that were done */
};

#define PAGE 4096
#define PAGES_MAX (1 << 17)
#define FDS_MAX 65536

struct file {
    int fd;      /* to read back what the program wrote */
    int durable; /* the copy, or -1 */
    int is_open;
    off_t pages;
    unsigned char dirty[PAGES_MAX];
};

enum which { LEDGER, WAL, SHM, FILES };

static struct file files[FILES];
static unsigned char file_of[FDS_MAX]; /* 0: not ours, else which + 1 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *ledger, *durable_folder;
static struct control *control, no_control;
static int is_lazy;
static useconds_t flush_us;

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name && !(real_##name = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))) abort()

static void die(const char *what) {
    perror(what);
    abort();
}

static int open_plainly(const char *path, int flags, mode_t mode) {
    REAL(int, open, const char *, int, ...);
    int fd = real_open(path, flags | O_CLOEXEC, mode);
    if (fd < 0) die(path);
    return fd;
}

static void start(void) {
    static int is_started;
    if (is_started) return;
    is_started = 1;
    control = &no_control;
    ledger = getenv("LAVA_DISK_LEDGER");
    durable_folder = getenv("LAVA_DISK_DURABLE");
    is_lazy = getenv("LAVA_DISK_LAZY") != NULL;
    if (getenv("LAVA_DISK_FLUSH_US")) flush_us = atoi(getenv("LAVA_DISK_FLUSH_US"));
    if (getenv("LAVA_DISK_CONTROL")) {
        int fd = open_plainly(getenv("LAVA_DISK_CONTROL"), O_RDWR, 0);
        control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (control == MAP_FAILED) die("mapping the control file");
        close(fd);
    }
}

static struct file *tracked(int fd) {
    return fd >= 0 && fd < FDS_MAX && file_of[fd] ? &files[file_of[fd] - 1] : NULL;
}

static off_t size_of(int fd) {
    struct stat stat;
    if (fstat(fd, &stat)) die("fstat");
    return stat.st_size;
}

static ssize_t write_plainly(int fd, const void *data, size_t size, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return real_pwrite(fd, data, size, at);
}

/* Copies every dirty page to the durable copy. */
static void make_durable(struct file *file) {
    char page[PAGE];
    off_t size = size_of(file->fd);
    REAL(int, ftruncate, int, off_t);
    if (file->durable < 0) return;
    for (off_t at = 0; at < file->pages; at++) {
        if (!file->dirty[at]) continue;
        ssize_t n = pread(file->fd, page, PAGE, at * PAGE);
        if (n < 0 || write_plainly(file->durable, page, n, at * PAGE) != n) die("the durable copy");
        file->dirty[at] = 0;
    }
    if (real_ftruncate(file->durable, size)) die("the length of the durable copy");
    file->pages = 0;
}

static void wrote(struct file *file, off_t from, off_t to) {
    if (to <= from || file->durable < 0) return;
    off_t last = (to - 1) / PAGE;
    if (last >= PAGES_MAX) abort();
    for (off_t at = from / PAGE; at <= last; at++) file->dirty[at] = 1;
    if (file->pages <= last) file->pages = last + 1;
}

static int fail(int error) {
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return -1;
}

/* How many of `size` bytes at `at` the disk takes; -1 for none. */
static ssize_t accepted(struct file *file, int fd, size_t size, off_t at) {
    if (is_lazy && file == &files[LEDGER] && files[WAL].is_open) make_durable(&files[WAL]);
    switch (control->trouble) {
    case WRITES_FAIL:
        return fail(ENOSPC);
    case FULL_AFTER_BYTES:
        if (control->bytes_left == 0) return fail(ENOSPC);
        if (size > control->bytes_left) size = control->bytes_left;
        control->bytes_left -= size;
        return size;
    case GROWTH_FAILS:
        return at + (off_t)size > size_of(fd) ? fail(ENOSPC) : (ssize_t)size;
    default:
        return size;
    }
}

static ssize_t write_at(struct file *file, int fd, const void *data, size_t size, off_t at) {
    pthread_mutex_lock(&lock);
    ssize_t n = accepted(file, fd, size, at);
    if (n > 0) n = write_plainly(fd, data, n, at);
    if (n > 0) wrote(file, at, at + n);
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    struct file *file = tracked(fd);
    return file ? write_at(file, fd, data, size, at) : write_plainly(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    struct file *file = tracked(fd);
    if (!file) return real_write(fd, data, size);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = write_at(file, fd, data, size, at);
    if (n > 0) lseek(fd, at + n, SEEK_SET);
    return n;
}

int ftruncate(int fd, off_t length) {
    REAL(int, ftruncate, int, off_t);
    struct file *file = tracked(fd);
    if (!file) return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    off_t size = size_of(fd);
    int is_refused = length > size && accepted(file, fd, length - size, size) < length - size;
    int result = is_refused ? fail(ENOSPC) : real_ftruncate(fd, length);
    if (!result) wrote(file, size < length ? size : length, size < length ? length : size);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

static int sync_file(struct file *file) {
    if (flush_us) usleep(flush_us);
    if (control->trouble == SYNCS_HANG) fail(EAGAIN);
    while (control->trouble == SYNCS_HANG) usleep(1000);
    pthread_mutex_lock(&lock);
    int result = 0;
    if (control->trouble == SYNCS_FAIL) {
        memset(file->dirty, 0, file->pages);
        file->pages = 0;
        result = fail(EIO);
    } else if (!(is_lazy && file == &files[WAL])) {
        make_durable(file);
        __atomic_add_fetch(&control->synced, 1, __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) {
    REAL(int, fsync, int);
    struct file *file = tracked(fd);
    return file ? sync_file(file) : real_fsync(fd);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    struct file *file = tracked(fd);
    return file ? sync_file(file) : real_fdatasync(fd);
}

static int which_file(const char *path) {
    static const char *suffix[FILES] = {"", "-wal", "-shm"};
    start();
    if (!ledger || strncmp(path, ledger, strlen(ledger))) return FILES;
    int which = 0;
    while (which < FILES && strcmp(path + strlen(ledger), suffix[which])) which++;
    return which;
}

static void opened(int fd, const char *path) {
    int which = which_file(path);
    if (which == FILES || fd < 0) return;
    if (fd >= FDS_MAX) abort();
    struct file *file = &files[which];
    pthread_mutex_lock(&lock);
    if (!file->is_open) {
        file->is_open = 1;
        file->durable = -1;
        if (durable_folder && which != SHM) {
            char copy[PATH_MAX];
            snprintf(copy, sizeof copy, "%s%s", durable_folder, strrchr(path, '/'));
            /* Not closed again: that would drop the locks which SQLite has on the ledger. */
            file->fd = open_plainly(path, O_RDONLY, 0);
            file->durable = open_plainly(copy, O_RDWR | O_CREAT | O_TRUNC, 0600);
            /* What is there when the program begins survived what came before. */
            wrote(file, 0, size_of(file->fd));
            make_durable(file);
        }
    }
    file_of[fd] = which + 1;
    pthread_mutex_unlock(&lock);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments); \
        int fd = real_##name(path, flags, mode); \
        opened(fd, path); \
        return fd; \
    }

OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(int, close, int);
    if (fd >= 0 && fd < FDS_MAX) file_of[fd] = 0;
    return real_close(fd);
}

/* The last connection to close removes the -wal; the copy stays until there is a new one. */
int unlink(const char *path) {
    REAL(int, unlink, const char *);
    int which = which_file(path);
    if (which != FILES) files[which].is_open = 0;
    return real_unlink(path);
}
